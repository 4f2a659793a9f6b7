# SPDX-License-Identifier: Apache-2.0
"""A child process of a replay, with its log file and exit code."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

_STOP_SEC = 5.0
# Like the installed executables, whose location differs between machines.
_RUN = "import sys; from fusion_mamba_ros.ros.{module} import main; sys.exit(main())"


class ReplayError(RuntimeError):
    """Raised if a replay fails. The message is one sentence."""


class ChildProcess:
    """A child process of this package that writes its output to a file. Leaving the context ends the process.

    ``module`` is the module that contains `main`, relative to `fusion_mamba_ros.ros`.
    """

    def __init__(self, module: str, arguments: list[str], logs: Path) -> None:
        self.name = module.rpartition(".")[2]
        self.log = logs / f"{self.name}.log"
        with self.log.open("wb") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-c", _RUN.format(module=module), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._child.poll()

    def require_alive(self) -> None:
        """Raise `ReplayError` if the process has ended."""
        code = self.poll()
        if code is not None:
            raise ReplayError(f"{self.name} ended with code {code}: {self.last_line()}")

    def require_success(self) -> None:
        """Raise `ReplayError` unless the process has ended with code 0."""
        code = self.poll()
        if code != 0:
            raise ReplayError(f"{self.name} ended with code {code}: {self.last_line()}")

    def last_line(self) -> str:
        """Return the last error line of the output, or the last line if there is no error, for an error message."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        said = [line for line in lines if "ERROR" in line or "failed" in line] or lines
        return re.sub(r"^\[\w+\] \[[\d.]+\] \[[^\]]*\]: ", "", said[-1]) if said else f"no output in {self.log}"

    def stop(self) -> None:
        """End the process by SIGINT, then SIGTERM, then SIGKILL. Wait at most five seconds after each signal."""
        for request in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.poll() is not None:
                return
            self._child.send_signal(request)
            try:
                self._child.wait(_STOP_SEC)
            except subprocess.TimeoutExpired:
                continue
