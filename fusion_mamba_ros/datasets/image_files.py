# SPDX-License-Identifier: Apache-2.0
"""Read image files as arrays and reject damaged files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.problems import UnreadableImageError
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.streams.decoder_output import lost_data, run_decoder
from fusion_mamba_ros.streams.image_headers import find_damage, is_jpeg, is_png, read_header

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
# Some cameras add padding or a few bytes of their own after the end marker of a JPEG.
_END_SEARCH_BYTES = 4096


def list_images(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of ``folder`` by stem. More than one file of a stem means duplicates."""
    images: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."):
            images.setdefault(path.stem, []).append(path)
    return images


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Return the image as (H, W, 3) uint8 RGB. Raises ``UnreadableImageError`` with the file name."""
    rgb: npt.NDArray[np.uint8] = cv2.cvtColor(_decode(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return rgb


def read_thermal(path: Path) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Return the image as (H, W), uint8 or uint16 as stored. A colour image is converted to luminance.

    Raises ``UnreadableImageError`` with the file name.
    """
    return _read_single_channel(path, "thermal")


def read_image(path: Path, modality: str) -> npt.NDArray[Any]:
    """Return an image of a modality: RGB (H, W, 3) for three channels, otherwise (H, W) with 8 or 16 bits.

    Raises ``UnreadableImageError`` with the file name.
    """
    entry = modality_named(modality)
    return read_rgb(path) if entry.channels == 3 else _read_single_channel(path, entry.title)


def _read_single_channel(path: Path, title: str) -> npt.NDArray[Any]:
    image = _decode(path, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE)
    if image.dtype not in (np.uint8, np.uint16):
        raise UnreadableImageError(f"{title} image {str(path)!r} holds {image.dtype}: store it as 8 or 16 bit integers")
    return image


def check_complete(path: Path) -> None:
    """Raise ``UnreadableImageError`` if the file is missing, empty or cut short. Does not decode it."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _END_SEARCH_BYTES))
            end = file.read()
    except OSError as error:
        raise UnreadableImageError(f"image {str(path)!r} cannot be read: {error.strerror}") from error
    _check_ends(path, start, end)


def _check_ends(path: Path, start: bytes, end: bytes) -> None:
    """Raise ``UnreadableImageError`` if a file is empty, or if a JPEG or PNG has no end marker.

    OpenCV decodes files without an end marker and fills the missing part with grey.
    """
    if not start:
        raise UnreadableImageError(f"image {str(path)!r} is empty")
    truncated_jpeg = start.startswith(_JPEG_START) and _JPEG_END not in end
    truncated_png = start.startswith(_PNG_START) and _PNG_END not in end
    if truncated_jpeg or truncated_png:
        raise UnreadableImageError(f"image {str(path)!r} is cut short: its end marker is missing")


def _decode(path: Path, flags: int) -> npt.NDArray[Any]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f"image {str(path)!r} cannot be read: {error.strerror}") from error
    _check_ends(path, data[:8], data[-_END_SEARCH_BYTES:])
    what = f"image {str(path)!r}"
    if is_jpeg(data) or is_png(data):
        header = read_header(data)
        fault = "is damaged: it names no size" if header is None else header.fault(len(data)) or find_damage(data)
        if fault is not None:
            raise UnreadableImageError(f"{what} {fault}")
    # Ignore the orientation tag: labels refer to the stored pixels, so the image must not be rotated.
    image: npt.NDArray[Any] | None
    try:
        image, printed = run_decoder(
            lambda: cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
        )
    except (cv2.error, MemoryError) as error:
        raise UnreadableImageError(f"{what} cannot be decoded: {getattr(error, 'err', 'out of memory')}") from error
    lost = lost_data(printed)
    if lost is not None:
        raise UnreadableImageError(f"{what} is damaged: {lost}")
    if image is None:
        raise UnreadableImageError(f"{what} is not an image that OpenCV can decode")
    return image
