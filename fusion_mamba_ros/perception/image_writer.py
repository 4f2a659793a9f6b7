# SPDX-License-Identifier: Apache-2.0
"""Write an image file, or say why it cannot be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.atomic_write import write_atomically

JPEG_QUALITY = 92


def write_image(path: str | os.PathLike[str], rgb: npt.NDArray[Any], *, jpeg_quality: int = JPEG_QUALITY) -> None:
    """Write ``rgb`` (H, W, 3) uint8 to ``path``, encoded by its suffix, as a whole or not at all.

    OpenCV's own writer reports a full disk nowhere and crashes on a file name that is not UTF-8, so OpenCV only
    encodes. Raises ``OSError`` that names the file.
    """
    suffix = Path(path).suffix
    settings = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if suffix.lower() in (".jpg", ".jpeg") else []
    try:
        encoded, data = cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), settings)
    except cv2.error as error:
        raise OSError(f"image {os.fspath(path)!r} cannot be encoded: {error.err}") from error
    if not encoded:
        raise OSError(f"image {os.fspath(path)!r} cannot be encoded as {suffix or 'a file without suffix'}")
    write_atomically(path, np.asarray(data).tobytes(), durable=False)
