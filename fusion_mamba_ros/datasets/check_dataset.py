# SPDX-License-Identifier: Apache-2.0
"""Read every pair of a dataset and list the problems."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.datasets.pair_record import PairRecord
from fusion_mamba_ros.datasets.paired_dataset import PairedDataset
from fusion_mamba_ros.datasets.problems import Problem, ProblemKind, UnreadableImageError
from fusion_mamba_ros.perception.modality import modality_named


@dataclass
class DatasetCheck:
    """Statistics of a dataset: readable ``pairs``, counts by class, group, modality and size, and all ``problems``."""

    pairs: int = 0
    empty_pairs: int = 0  # true negatives
    boxes: Counter[str] = field(default_factory=Counter)  # by class
    groups: Counter[str] = field(default_factory=Counter)
    modalities: Counter[str] = field(default_factory=Counter)  # number of images
    sizes: Counter[str] = field(default_factory=Counter)  # "RGB 640x480, thermal 640x512 uint16"
    problems: list[Problem] = field(default_factory=list)


def check_dataset(dataset: PairedDataset, on_progress: Callable[[int], None] = lambda count: None) -> DatasetCheck:
    """Decode every image of ``dataset`` and return the statistics and problems.

    ``on_progress`` is called with the number of the current pair. The problems include those that were found when the
    dataset was listed. In addition, these are reported: images that cannot be decoded, boxes that are out of bounds,
    boxes without area, duplicate boxes, unknown classes, and image files with the same content under two names.
    """
    check = DatasetCheck(problems=list(dataset.problems))
    name_of_content: dict[bytes, str] = {}
    for index, record in enumerate(dataset.records):
        on_progress(index + 1)
        try:
            sample, problems = dataset.read(index)
        except UnreadableImageError as error:
            check.problems.append(Problem(ProblemKind.UNREADABLE, record.name, str(error)))
            continue
        check.problems += problems
        if isinstance(record, PairRecord):
            for name, file in record.images.items():
                title = modality_named(name).title
                content = hashlib.sha256(file.read_bytes()).digest()
                first = name_of_content.setdefault(content, f"the {title} image of {record.name}")
                if first != f"the {title} image of {record.name}":
                    detail = f"its {title} image has the same content as {first}"
                    check.problems.append(Problem(ProblemKind.DUPLICATED, record.name, detail))
        check.pairs += 1
        check.empty_pairs += not len(sample.labels)
        counts = np.bincount(sample.labels, minlength=len(dataset.class_names))
        check.boxes.update(dict(zip(dataset.class_names, counts.tolist(), strict=True)))
        check.groups[sample.group or "no group"] += 1
        check.modalities.update(list(sample.images))
        check.sizes[", ".join(_describe(name, image) for name, image in sample.images.items())] += 1
    return check


def _describe(name: str, image: npt.NDArray[Any]) -> str:
    entry = modality_named(name)
    # Colour images are always 8 bit.
    depth = "" if entry.channels == 3 else f" {image.dtype}"
    return f"{entry.title} {image.shape[1]}x{image.shape[0]}{depth}"
