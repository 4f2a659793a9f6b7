# SPDX-License-Identifier: Apache-2.0
"""A child process of a replay: its log, its end, and what it said last."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType

_STOP_SEC = 5.0
# As the installed executables do; those lie elsewhere on each kind of machine.
_RUN = "import sys; from fusion_mamba_ros.ros.{module} import main; sys.exit(main())"


class ReplayError(RuntimeError):
    """A replay that did not come to its end; the message is one sentence."""


class ChildProcess:
    """A child process of this package whose output goes to a file; a context manager that ends it.

    ``module`` is the module of its `main`, below `fusion_mamba_ros.ros`.
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
        """Return the exit code, None while the process runs."""
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
        """Return what the process said last, for an error message."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        said = [line for line in lines if "ERROR" in line or "failed" in line] or lines
        return re.sub(r"^\[\w+\] \[[\d.]+\] \[[^\]]*\]: ", "", said[-1]) if said else f"no output in {self.log}"

    def stop(self) -> None:
        """End the process, politely first; returns in bounded time."""
        for request in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self.poll() is not None:
                return
            self._child.send_signal(request)
            try:
                self._child.wait(_STOP_SEC)
            except subprocess.TimeoutExpired:
                continue
