# SPDX-License-Identifier: Apache-2.0
"""Deprecated alias of `fusion_mamba_ros.ros.detector.pairing_filter`, kept for one release."""

from __future__ import annotations

import warnings

from fusion_mamba_ros.ros.detector.pairing_filter import PairingFilter, ReceivedImage

__all__ = ["PairingFilter", "ReceivedImage"]

warnings.warn(
    "fusion_mamba_ros.ros.pairing_filter is deprecated: import from fusion_mamba_ros.ros.detector.pairing_filter",
    DeprecationWarning,
    stacklevel=2,
)
