# SPDX-License-Identifier: Apache-2.0
"""Find the images of a prepared batch that stand for a missing image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.modality import known_modalities, modality_named


def missing_images(images: Mapping[str, npt.NDArray[np.uint8]]) -> dict[str, list[bool]]:
    """Return for each image of a prepared batch (B, C, H, W) whether it is missing, by modality.

    An image is missing if every pixel has the missing value of its modality. A camera image of that value, for example
    a black one with a black lens cap, is the same input to the network. Modalities without a missing image have no
    entry.
    """
    known = known_modalities()
    found = {}
    for name, batch in images.items():
        if name in known:
            value = modality_named(name).missing_value
            rows = [_is_constant(image, value) for image in batch]
            if any(rows):
                found[name] = rows
    return found


def _is_constant(image: npt.NDArray[np.uint8], value: int) -> bool:
    # A few pixels decide for nearly every camera image.
    if (image[:, ::16, ::16] != value).any():
        return False
    return bool(image.min() == value and image.max() == value)
