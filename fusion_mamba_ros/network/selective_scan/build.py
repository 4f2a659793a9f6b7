# SPDX-License-Identifier: Apache-2.0
"""Compile the C kernel of the selective scan: `python -m fusion_mamba_ros.network.selective_scan.build`.

There are two libraries: the kernel for PyTorch (`cpu.py`), and the kernel as a custom operator of ONNX Runtime
(`deployment/onnxruntime_engine.py`), which needs neither PyTorch nor a package of ONNX Runtime to build.

The build needs only a C compiler: `$CC`, otherwise cc, gcc or clang. This module imports only the standard library,
because setup.py runs it before torch is installed. Each library contains code for every supported instruction set of
the architecture and selects one at run time. Therefore it is compiled without -march.
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
# Relative to this folder. It is beside the engine that loads it, because importing this package needs PyTorch.
OPERATOR_LIBRARY = "../../deployment/libfusion_mamba_onnxruntime.so"
OPERATOR_SOURCES = ("onnxruntime.c", *SOURCES)


class BuildError(RuntimeError):
    """Report that the kernel could not be compiled; the message gives the reason and the remedy."""


def compiler() -> list[str]:
    """Return the command line of the C compiler. Raises ``BuildError`` if none is installed."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise BuildError("no C compiler found (cc, gcc, clang): install one or set CC, then build the scan kernel again")


def build_operator(target: Path = PACKAGE / OPERATOR_LIBRARY) -> Path:
    """Compile the custom operator of ONNX Runtime into ``target`` and return ``target``. Raises ``BuildError``."""
    return build(target.resolve(), sources=OPERATOR_SOURCES)


def build(
    target: Path = PACKAGE / LIBRARY_NAME, extra_flags: tuple[str, ...] = (), sources: tuple[str, ...] = SOURCES
) -> Path:
    """Compile the kernel into ``target`` and return ``target``.

    If the compilation fails, an existing library stays in place and ``BuildError`` is raised with the end of the
    compiler's output.
    """
    if platform.system() == "Windows":
        raise BuildError("the scan kernel needs GCC or Clang vector extensions and POSIX threads: not built on Windows")
    target.parent.mkdir(parents=True, exist_ok=True)
    command = compiler()
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".scan_build_") as scratch:
        result = Path(scratch) / target.name
        files = [str(PACKAGE / "kernel" / name) for name in sources]
        command += [*FLAGS, *extra_flags, "-shared", "-o", str(result), *files]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            raise BuildError(f"C compiler '{command[0]}' does not start: {error}") from error
        if done.returncode != 0:
            raise BuildError(f"'{command[0]}' could not compile the scan kernel: {done.stderr.strip()[-2000:]}")
        os.replace(result, target)
    return target


def main() -> None:
    """Build both libraries in the package folder and print their paths."""
    try:
        print(build())
        print(build_operator())
    except BuildError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
