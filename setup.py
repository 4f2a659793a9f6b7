# SPDX-License-Identifier: Apache-2.0
"""Compiles the scan kernel into the package; everything else is in pyproject.toml.

`pip install .` and `pip install -e .` do it by themselves, `python setup.py build_ext --inplace` does it alone. Where
it cannot be compiled, the installation continues with a warning and the package runs on its slow reference.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

KERNEL = Path("fusion_mamba_ros/network/selective_scan")

_spec = importlib.util.spec_from_file_location("scan_build", Path(__file__).parent / KERNEL / "build.py")
assert _spec is not None and _spec.loader is not None
scan_build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(scan_build)


class BuildKernel(build_ext):
    """Builds plain shared libraries instead of Python extension modules: ctypes and ONNX Runtime load them."""

    def run(self) -> None:
        """Compile the kernel for PyTorch and for ONNX Runtime, in the source tree or into the wheel."""
        in_place = self.inplace or getattr(self, "editable_mode", False)
        root = Path(__file__).parent if in_place else Path(self.build_lib)
        try:
            self.announce(f"scan kernel: {scan_build.build(root / KERNEL / scan_build.LIBRARY_NAME)}", level=2)
            operator = scan_build.build_operator(root / KERNEL / scan_build.OPERATOR_LIBRARY)
            self.announce(f"operator of ONNX Runtime: {operator}", level=2)
        except scan_build.BuildError as error:
            self.warn(f"the selective scan will run on its slow reference, and exported models will not run: {error}")

    def get_outputs(self) -> list[str]:
        """Return nothing: the libraries are optional."""
        return []

    def get_output_mapping(self) -> dict[str, str]:
        """Return nothing: the libraries are optional."""
        return {}


class PlatformWheel(bdist_wheel):
    """A wheel for this platform and any Python 3: the libraries know nothing of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag with this platform only."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[Extension("fusion_mamba_ros.network.selective_scan.kernel", sources=[])],
    cmdclass={"build_ext": BuildKernel, "bdist_wheel": PlatformWheel},
)
