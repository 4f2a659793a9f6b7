# SPDX-License-Identifier: Apache-2.0
"""Deprecated alias of `fusion_mamba_ros.streams.frozen_image`, kept for one release."""

from __future__ import annotations

import warnings

from fusion_mamba_ros.streams.frozen_image import FrozenImage

__all__ = ["FrozenPicture"]

FrozenPicture = FrozenImage

warnings.warn(
    "streams.frozen_picture is deprecated: import FrozenImage from fusion_mamba_ros.streams.frozen_image",
    DeprecationWarning,
    stacklevel=2,
)
