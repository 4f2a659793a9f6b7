# SPDX-License-Identifier: Apache-2.0
"""Hold unlabelled images of each modality in memory and draw them at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from fusion_mamba_ros.datasets.image_files import list_images, read_image
from fusion_mamba_ros.datasets.image_sequence import open_image_sequence
from fusion_mamba_ros.datasets.problems import DatasetError
from fusion_mamba_ros.perception.letterbox import Size
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

Image = npt.NDArray[np.uint8]

_FIELDS = ("path", "list", "every", "share")


@dataclass(frozen=True)
class ImageSource:
    """One entry of an image list.

    ``path`` is a folder of images or a video. ``names`` are the stems to use from the folder, None for all. ``every``
    is n to use every n-th image. ``share`` is the sampling weight of this source relative to the other sources of the
    modality. If it is None, the weight is the number of images.
    """

    path: Path
    names: frozenset[str] | None = None
    every: int = 1
    share: float | None = None


class UnlabelledImages:
    """The images of one modality by source, as 8-bit levels: (H, W, 3) for three channels, otherwise (H, W)."""

    def __init__(self, sources: Sequence[Sequence[Image]], shares: Sequence[float]):
        self.sources = [list(source) for source in sources]
        total = sum(shares)
        self.probabilities = [share / total for share in shares]

    def __len__(self) -> int:
        return sum(len(source) for source in self.sources)

    def draw(self, size: Size, generator: np.random.Generator) -> Image:
        """Return a random crop of a random image, resized to ``size`` (width, height). See `random_crop`."""
        source = self.sources[generator.choice(len(self.sources), p=self.probabilities)]
        return random_crop(source[generator.integers(len(source))], size, generator)


def random_crop(image: Image, size: Size, generator: np.random.Generator, *, least_area: float = 0.25) -> Image:
    """Return a random crop that is resized to ``size`` (width, height), mirrored with probability 0.5.

    The crop has the aspect ratio of ``size``. Its area is at least the fraction ``least_area`` of the largest crop that
    fits into the image.
    """
    height, width = image.shape[:2]
    factor = min(width / size[0], height / size[1]) * float(np.sqrt(generator.uniform(least_area, 1.0)))
    crop_width, crop_height = max(int(size[0] * factor), 1), max(int(size[1] * factor), 1)
    x = int(generator.integers(width - crop_width + 1))
    y = int(generator.integers(height - crop_height + 1))
    crop = image[y : y + crop_height, x : x + crop_width]
    crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if factor > 1 else cv2.INTER_LINEAR)
    return np.ascontiguousarray(crop[:, ::-1]) if generator.random() < 0.5 else np.asarray(crop, np.uint8)


def read_unlabelled_images(
    path: Path,
    modalities: Sequence[str],
    *,
    longest_side: int,
    scaling: ThermalScaling,
    on_source: Callable[[str, Path, int], None] = lambda *_: None,
) -> dict[str, UnlabelledImages]:
    """Return the images that the YAML file ``path`` lists for each of ``modalities``, shrunk to ``longest_side``.

    ``longest_side`` is in pixels. ``on_source(modality, path, count)`` is called after each source. Raises
    `DatasetError` if the list or an image file cannot be read, or if a modality or a source has no images. Raises
    `ImageSequenceError` if a video cannot be read.
    """
    listed = read_image_list(path)
    found = {}
    for modality in modalities:
        if not listed.get(modality):
            raise DatasetError(f"'{path}' lists no images of {modality}: add a section {modality} with their folders")
        sources, shares = [], []
        for source in listed[modality]:
            images = [_shrunk(image, longest_side) for image in _read(source, modality, scaling)]
            if not images:
                raise DatasetError(f"'{source.path}' gave no image: check path and list in '{path}'")
            on_source(modality, source.path, len(images))
            sources.append(images)
            shares.append(float(len(images)) if source.share is None else source.share)
        found[modality] = UnlabelledImages(sources, shares)
    return found


def read_image_list(path: Path) -> dict[str, list[ImageSource]]:
    """Return the image sources in a YAML file by modality.

    The file maps each modality to a list. Each entry is a path, or a mapping with the keys path, list, every and share.
    Paths are relative to the file. ``list`` is the path of a text file with stems. Raises `DatasetError` if the file
    cannot be read or has a bad entry.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"image list '{path}' cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise DatasetError(f"image list '{path}' is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping) or not all(isinstance(entries, list) for entries in content.values()):
        raise DatasetError(f"image list '{path}' is no mapping of modalities to lists: write 'rgb: [folder, ...]'")
    return {str(name): [_source(path, entry) for entry in entries] for name, entries in content.items()}


def _source(listed_in: Path, entry: Any) -> ImageSource:
    fields = {"path": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, Mapping) or "path" not in fields or any(name not in _FIELDS for name in fields):
        raise DatasetError(f"image list '{listed_in}' has the entry {entry!r}: give path and any of list, every, share")
    every, share, names = fields.get("every", 1), fields.get("share"), None
    if type(every) is not int or every < 1:
        raise DatasetError(f"image list '{listed_in}' has every: {every!r}: give a whole number of at least 1")
    if share is not None and (
        isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < math.inf
    ):
        raise DatasetError(f"image list '{listed_in}' has share: {share!r}: give a finite number above 0")
    if "list" in fields:
        file = listed_in.parent / str(fields["list"])
        try:
            names = frozenset(line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip())
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"list '{file}' of '{listed_in}' cannot be read: {error}") from error
    return ImageSource(listed_in.parent / str(fields["path"]), names, every, share)


def _read(source: ImageSource, modality: str, scaling: ThermalScaling) -> Iterator[Image]:
    entry = modality_named(modality)
    if source.path.is_dir():
        images = [files[0] for stem, files in list_images(source.path).items() if _wanted(stem, source)]
        for file in images[:: source.every]:
            yield entry.levels(read_image(file, modality), scaling)
        return
    for index, frame in open_image_sequence(source.path, thermal=entry.channels == 1):
        if index % source.every == 0:
            yield entry.levels(frame, scaling)


def _wanted(stem: str, source: ImageSource) -> bool:
    return source.names is None or stem in source.names


def _shrunk(image: Image, longest_side: int) -> Image:
    factor = longest_side / max(image.shape[:2])
    if factor >= 1:
        return image
    size = (max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
