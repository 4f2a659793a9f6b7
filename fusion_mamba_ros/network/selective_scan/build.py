# SPDX-License-Identifier: Apache-2.0
"""Compile the C kernel of the selective scan: `python -m fusion_mamba_ros.network.selective_scan.build`.

Needs a C compiler only (`$CC`, else cc, gcc or clang) and imports nothing but the standard library, so that setup.py
can run this file before torch is there. The kernel holds every instruction set of its architecture and chooses when it
runs; therefore it is compiled without -march.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = ("run.c", "baseline.c", "avx2.c", "avx512.c")
FLAGS = (
    "-O3",
    "-std=gnu11",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-pthread",
    "-Wall",
    "-Wno-psabi",
    "-Wno-unknown-pragmas",
)
PACKAGE = Path(__file__).resolve().parent
LIBRARY_NAME = "libfusion_mamba_scan.so"


class BuildError(RuntimeError):
    """The kernel could not be compiled; the message says why and what to do."""


def compiler() -> list[str]:
    """Return the command of the C compiler; raises ``BuildError`` if there is none."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise BuildError("no C compiler found (cc, gcc, clang): install one, or set CC, and build the scan kernel again")


def build(target: Path = PACKAGE / LIBRARY_NAME, extra_flags: tuple[str, ...] = ()) -> Path:
    """Compile the kernel into ``target`` and return it; an old kernel stays in place if that fails.

    Raises ``BuildError`` with the compiler's last words.
    """
    if platform.system() == "Windows":
        raise BuildError("the scan kernel needs GCC or Clang vector extensions and POSIX threads: not built on Windows")
    target.parent.mkdir(parents=True, exist_ok=True)
    command = compiler()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".scan_build_") as scratch:
        result = Path(scratch) / target.name
        sources = [str(PACKAGE / "kernel" / name) for name in SOURCES]
        command += [*FLAGS, *extra_flags, "-shared", "-o", str(result), *sources]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise BuildError(f"C compiler '{command[0]}' does not start: {error}") from error
        if done.returncode != 0:
            raise BuildError(f"'{command[0]}' could not compile the scan kernel: {done.stderr.strip()[-2000:]}")
        os.replace(result, target)
    return target


def main() -> None:
    """Build in place and say where."""
    try:
        print(build())
    except BuildError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
