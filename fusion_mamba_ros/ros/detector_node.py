# SPDX-License-Identifier: Apache-2.0
"""Deprecated alias of `fusion_mamba_ros.ros.detector.detector_node`, kept for one release."""

from __future__ import annotations

import warnings

from fusion_mamba_ros.ros.detector.detector_node import DetectorNode, main

__all__ = ["DetectorNode", "main"]

warnings.warn(
    "fusion_mamba_ros.ros.detector_node is deprecated: import from fusion_mamba_ros.ros.detector.detector_node",
    DeprecationWarning,
    stacklevel=2,
)
