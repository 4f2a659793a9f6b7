# SPDX-License-Identifier: Apache-2.0
"""Read RGB-thermal pairs in order from two images, two folders or two videos."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.image_files import IMAGE_SUFFIXES, list_images, read_rgb, read_thermal
from fusion_mamba_ros.datasets.image_sequence import VIDEO_SUFFIXES, VideoFrames, natural_key, same_rate
from fusion_mamba_ros.datasets.problems import DatasetError, UnreadableImageError

# Default rate for a video without a frame rate.
_RATE_HZ = 30.0
_CAMERAS = ("rgb", "thermal")
_NAMES_SHOWN = 10


class PairSourceError(DatasetError):
    """Raised if the inputs give no pairs. The message is one sentence for the user."""


@dataclass(frozen=True)
class ImagePair:
    """Images of one moment.

    ``rgb`` is (H, W, 3) uint8 RGB, ``thermal`` is (h, w) uint8 or uint16. One of them may be None.
    """

    name: str
    rgb: npt.NDArray[np.uint8] | None
    thermal: npt.NDArray[Any] | None


@dataclass
class PairSource:
    """The pairs in order. Can be iterated only once.

    ``kind`` is ``image``, ``folder`` or ``video``. ``count`` is the expected number of pairs, for a video according to
    its header. ``rate_hz`` is the frame rate of a video. ``notes`` are messages for the user, one sentence each. They
    are complete only after the iteration.
    """

    kind: str
    count: int
    pairs: Iterator[ImagePair]
    rate_hz: float = 0.0
    notes: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[ImagePair]:
        return self.pairs


def open_pairs(rgb: Path | None, thermal: Path | None, *, continue_alone: bool = False) -> PairSource:
    """Return the pairs of two images, of two folders (matched by stem) or of two videos (frame by frame).

    ``rgb`` or ``thermal`` may be None. Then this modality is None in every pair. In folders, an image without a partner
    is skipped and named in the notes. A longer video stops where the shorter one ends. With ``continue_alone``, images
    without a partner and the last frames of the longer video are returned alone. Pairs of a folder with an unreadable
    image are skipped and named in the notes. Raises :class:`PairSourceError` if nothing can be read.
    """
    given = {camera: path for camera, path in zip(_CAMERAS, (rgb, thermal), strict=True) if path is not None}
    if not given:
        raise PairSourceError("no input: give --rgb, --thermal or both")
    kinds = {camera: _kind(camera, path) for camera, path in given.items()}
    if len(set(kinds.values())) > 1:
        raise PairSourceError(
            f"rgb '{rgb}' is {_article(kinds['rgb'])} and thermal '{thermal}' is {_article(kinds['thermal'])}: "
            "give two images, two folders or two videos"
        )
    kind = next(iter(kinds.values()))
    if kind == "image":
        return _open_images(given)
    if kind == "folder":
        return _open_folders(given, continue_alone)
    return _open_videos(given, continue_alone)


def _kind(camera: str, path: Path) -> str:
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise PairSourceError(f"{camera} input '{path}' does not exist")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return "video"
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return "image"
    raise PairSourceError(
        f"{camera} input '{path}' is neither a folder nor an image ({', '.join(sorted(IMAGE_SUFFIXES))}) nor a video "
        f"({', '.join(sorted(VIDEO_SUFFIXES))})"
    )


def _article(kind: str) -> str:
    return f"an {kind}" if kind == "image" else f"a {kind}"


def _read(name: str, files: dict[str, Path]) -> ImagePair:
    return ImagePair(
        name,
        read_rgb(files["rgb"]) if "rgb" in files else None,
        read_thermal(files["thermal"]) if "thermal" in files else None,
    )


def _open_images(given: dict[str, Path]) -> PairSource:
    # Read immediately, so that a bad image is reported before a model is loaded.
    pair = _read(next(iter(given.values())).stem, given)
    return PairSource("image", 1, iter([pair]))


def _open_folders(given: dict[str, Path], continue_alone: bool) -> PairSource:
    notes: list[str] = []
    files: dict[str, dict[str, Path]] = {}
    for camera, folder in given.items():
        images = list_images(folder)
        if not images:
            raise PairSourceError(f"{camera} folder '{folder}' holds no image")
        for stem, paths in images.items():
            if len(paths) > 1:
                notes.append(f"{camera}: {len(paths)} files are named {stem}, {paths[0].name} is used")
            files.setdefault(stem, {})[camera] = paths[0]
    for camera in given:
        lone = [stem for stem, found in files.items() if len(given) > 1 and set(found) == {camera}]
        if lone:
            what = "come alone" if continue_alone else "are left out"
            notes.append(f"{len(lone)} {camera} images have no partner and {what}: {_listed(lone)}")
    stems = sorted(
        (stem for stem, found in files.items() if continue_alone or len(found) == len(given)), key=natural_key
    )
    if not stems:
        raise PairSourceError(
            f"folders '{given['rgb']}' and '{given['thermal']}' have no file name in common: pairs are matched by "
            "name without extension"
        )

    def read_all() -> Iterator[ImagePair]:
        read = 0
        for stem in stems:
            try:
                pair = _read(stem, files[stem])
            except UnreadableImageError as error:
                notes.append(f"left out: {error}")
                continue
            read += 1
            yield pair
        if not read:
            raise PairSourceError(f"none of the {len(stems)} pairs could be read: {notes[-1]}")

    return PairSource("folder", len(stems), read_all(), notes=notes)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN])
    return shown if len(names) <= _NAMES_SHOWN else f"{shown} and {len(names) - _NAMES_SHOWN} more"


def _open_videos(given: dict[str, Path], continue_alone: bool) -> PairSource:
    videos = {camera: VideoFrames(path, thermal=camera == "thermal") for camera, path in given.items()}
    counts = [video.announced_count for video in videos.values()]
    rates = [video.frames_per_second or _RATE_HZ for video in videos.values()]
    notes: list[str] = []
    if len(videos) == 2 and not same_rate(videos["rgb"], videos["thermal"]):
        notes.append(f"rgb has {rates[0]:g} frames per second, thermal {rates[1]:g}: frames are paired by number")

    def read_all() -> Iterator[ImagePair]:
        streams = {camera: iter(video) for camera, video in videos.items()}
        for number in itertools.count():
            frames = {camera: item[1] for camera, stream in streams.items() if (item := next(stream, None)) is not None}
            ended = [camera for camera in streams if camera not in frames]
            if ended and frames:
                note = f"{ended[0]} video '{given[ended[0]].name}' ends after {number} frames, before the other"
                notes.append(f"{note}: the other continues alone" if continue_alone else f"{note}: stopped there")
            if not frames or (ended and not continue_alone):
                return
            for camera in ended:
                del streams[camera]
            yield ImagePair(f"{number:06d}", frames.get("rgb"), frames.get("thermal"))

    return PairSource("video", (max if continue_alone else min)(counts), read_all(), rates[0], notes)
