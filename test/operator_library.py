# SPDX-License-Identifier: Apache-2.0
"""The library with the scan as an operator of ONNX Runtime, compiled if it is not there."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.deployment.onnxruntime_engine import OPERATOR_LIBRARY
from fusion_mamba_ros.network.selective_scan import build


def compiled_library() -> Path:
    """Return the path of the library of this package."""
    if not OPERATOR_LIBRARY.exists():
        build.build_operator()
    return OPERATOR_LIBRARY
