# SPDX-License-Identifier: Apache-2.0
"""Encode and write image files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.atomic_write import write_atomically

JPEG_QUALITY = 92


def encode_image(
    image: npt.NDArray[Any], suffix: str, *, jpeg_quality: int = JPEG_QUALITY, png_compression: int = 3
) -> bytes:
    """Return ``image`` encoded in the format of ``suffix``.

    ``image`` is (H, W, 3) uint8 RGB, or (H, W) uint8 or uint16. Raises ``OSError``, for example for a JPEG of more than
    65 500 pixels per edge.
    """
    settings = {
        ".jpg": [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality],
        ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality],
        ".png": [cv2.IMWRITE_PNG_COMPRESSION, png_compression],
    }
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    shape = "x".join(map(str, image.shape[1::-1]))
    try:
        encoded, data = cv2.imencode(suffix, pixels, settings.get(suffix.lower(), []))
    except cv2.error as error:
        raise OSError(f"image of {shape} pixels cannot be encoded as {suffix or 'a file without suffix'}") from error
    if not encoded:
        raise OSError(f"image of {shape} pixels cannot be encoded as {suffix}")
    return np.asarray(data, np.uint8).tobytes()


def write_image(path: str | os.PathLike[str], rgb: npt.NDArray[Any], *, jpeg_quality: int = JPEG_QUALITY) -> None:
    """Write ``rgb`` (H, W, 3) uint8 atomically to ``path``. The suffix of ``path`` selects the format.

    OpenCV only encodes the image: its file writer does not report a full disk, and it ends the process if the file name
    is not UTF-8. Raises ``OSError`` that names the file.
    """
    try:
        data = encode_image(rgb, Path(path).suffix, jpeg_quality=jpeg_quality)
    except OSError as error:
        raise OSError(f"{os.fspath(path)!r} could not be written: {error}") from error
    write_atomically(path, data, durable=False)
