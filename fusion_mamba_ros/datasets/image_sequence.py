# SPDX-License-Identifier: Apache-2.0
"""Read the frames of one camera in time order, from a video file or a folder of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.image_files import IMAGE_SUFFIXES, read_rgb, read_thermal

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mkv", ".mov", ".m4v", ".mpg", ".mpeg", ".webm", ".ts", ".wmv"})

Image = npt.NDArray[Any]


class ImageSequenceError(ValueError):
    """Raised if a video or folder cannot be read. The message is one sentence."""


class VideoFrames:
    """The frames of a video file.

    Iteration yields (index, frame). A frame is (H, W, 3) uint8 RGB. With ``thermal`` it is converted to luma, (H, W)
    uint8. ``frames_per_second`` is the rate of the file, None if unknown. ``announced_count`` is the number of frames
    in the file header, which may be wrong. Raises `ImageSequenceError` if the file cannot be opened.
    """

    def __init__(self, path: Path, *, thermal: bool) -> None:
        self.path, self.thermal = path, thermal
        if not str(path).isprintable():  # OpenCV aborts the process if the path is not UTF-8.
            raise ImageSequenceError(f"video {str(path)!r} cannot be opened: rename it, its path is not printable text")
        capture = cv2.VideoCapture(str(path))
        try:
            if not capture.isOpened():
                raise ImageSequenceError(f"video '{path}' cannot be opened: it is damaged, or in a format unknown here")
            rate = capture.get(cv2.CAP_PROP_FPS)
            self.frames_per_second: float | None = float(rate) if 0 < rate < 1000 else None
            self.announced_count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        finally:
            capture.release()

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        """Yield (index, frame) until the video ends. Raises `ImageSequenceError` if the video has no frames."""
        capture = cv2.VideoCapture(str(self.path))
        code = cv2.COLOR_BGR2GRAY if self.thermal else cv2.COLOR_BGR2RGB
        index = 0
        try:
            while True:
                read, frame = capture.read()
                if not read:
                    break
                yield index, (cv2.cvtColor(frame, code) if frame.ndim == 3 else frame)
                index += 1
        finally:
            capture.release()
        if index == 0:
            raise ImageSequenceError(f"video '{self.path}' holds no frame that can be decoded")


class FolderFrames:
    """The images of a folder in the natural order of their names.

    Iteration yields (index, image). An image is RGB (H, W, 3) uint8, or thermal (H, W) uint8 or uint16 as stored. The
    index is the position of the stem in ``timeline``. By default, ``timeline`` is the folder's own ``stems``. A common
    timeline of two cameras keeps their folders synchronised even if images are missing. Raises `ImageSequenceError` if
    the folder has no images.
    """

    frames_per_second: float | None = None

    def __init__(self, path: Path, *, thermal: bool) -> None:
        self.path, self.thermal = path, thermal
        files = [p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")]
        if not files:
            raise ImageSequenceError(f"folder '{path}' holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})")
        self._files = {file.stem: file for file in sorted(files, key=lambda file: natural_key(file.stem))}
        self.timeline = self.stems
        self.announced_count = len(self._files)

    @property
    def stems(self) -> list[str]:
        """Names of the images without suffix, in natural order."""
        return list(self._files)

    def __iter__(self) -> Iterator[tuple[int, Image]]:
        """Yield (index, image). Raises ``UnreadableImageError`` with the name of a damaged file."""
        places = {stem: index for index, stem in enumerate(self.timeline)}
        for stem, file in self._files.items():
            yield places[stem], read_thermal(file) if self.thermal else read_rgb(file)


ImageSequence = VideoFrames | FolderFrames


def open_image_sequence(path: Path, *, thermal: bool) -> ImageSequence:
    """Open a video file or a folder of images. Raises `ImageSequenceError` if it cannot be read."""
    if path.is_dir():
        return FolderFrames(path, thermal=thermal)
    if not path.exists():
        raise ImageSequenceError(f"'{path}' does not exist: give a video file or a folder of images")
    return VideoFrames(path, thermal=thermal)


def align_folders(rgb: FolderFrames, thermal: FolderFrames) -> list[str]:
    """Set the union of the stems as timeline of both folders. Return the stems that only one folder has.

    Raises `ImageSequenceError` if they have no stem in common.
    """
    rgb_stems, thermal_stems = set(rgb.stems), set(thermal.stems)
    if not rgb_stems & thermal_stems:
        raise ImageSequenceError(
            f"no image of '{rgb.path}' has the name of one in '{thermal.path}' "
            f"(for example {rgb.stems[0]!r} and {thermal.stems[0]!r}): name the two images of a pair alike"
        )
    timeline = sorted(rgb_stems | thermal_stems, key=natural_key)
    rgb.timeline = thermal.timeline = timeline
    return [stem for stem in timeline if stem not in rgb_stems or stem not in thermal_stems]


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key for natural order, which sorts `frame_10` after `frame_9`."""
    parts = re.split(r"(\d+)", name)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


def same_rate(first: ImageSequence, second: ImageSequence) -> bool:
    """Return whether the frame rates of both sequences are known and equal."""
    rates = (first.frames_per_second, second.frames_per_second)
    return rates[0] is not None and rates[1] is not None and bool(np.isclose(rates[0], rates[1], rtol=1e-3))
