# SPDX-License-Identifier: Apache-2.0
"""Procedural street scenes as a dataset: made when read, nothing on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.layouts.split_lists import SPLITS
from fusion_mamba_ros.datasets.problems import DatasetError, Problem
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.perception.modality import known_modalities
from fusion_mamba_ros.perception.registration import Homographies
from fusion_mamba_ros.synthetic.procedural_scene import CLASS_NAMES, MODALITIES, ProceduralScene

# Seeds of one split never reach those of the next, so no street is in two splits.
_SEEDS_PER_SPLIT = 1_000_000


@dataclass(frozen=True)
class SceneRecord:
    """One frame of one procedural street."""

    name: str
    group: str
    seed: int
    frame_index: int
    modalities: tuple[str, ...] = ("rgb", "thermal")
    homographies: Homographies = field(default_factory=dict, compare=False)

    def read(self, class_names: Sequence[str]) -> tuple[Sample, list[Problem]]:
        """Return the sample; boxes of classes that ``class_names`` does not have are left out."""
        scene = ProceduralScene(self.seed, night=self.group == "night", modalities=self.modalities)
        frame = scene.render(self.frame_index)
        sample = Sample(self.name, frame.images, group=frame.group)
        # Boxes are in pixels of RGB; without it, in those of the sample's own reference image of the same view.
        factor = np.tile(np.array(sample.size) / scene.rgb_size, 2)
        annotation = Annotation(frame.boxes * factor, tuple(CLASS_NAMES[label] for label in frame.labels))
        boxes, labels, _ = annotation.resolve(self.name, sample.size, class_names)
        return replace(sample, boxes=boxes, labels=labels), []


@dataclass(frozen=True)
class SceneSource:
    """The ``scene:`` entry of a dataset YAML: how many pairs each split gets, from which seed, which share by night.

    ``modalities``: which images it has, of rgb, thermal and depth (the last must be registered). Each pair is another
    street at another moment. Raises ``DatasetError`` on a bad value.
    """

    train: int = 0
    val: int = 0
    test: int = 0
    seed: int = 0
    night: float = 0.5  # share of the pairs
    modalities: tuple[str, ...] = ("rgb", "thermal")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SceneSource:
        """Return the source of a YAML mapping."""
        known = [entry.name for entry in fields(cls)]
        if not isinstance(values, Mapping) or set(values) - set(known):
            raise DatasetError(f"scene is {values!r}: expected a mapping with some of {', '.join(known)}")
        source = cls(**values)
        counts = (source.train, source.val, source.test, source.seed)
        if not all(type(count) is int and 0 <= count < _SEEDS_PER_SPLIT for count in counts):
            raise DatasetError(
                f"scene counts and seed are {counts}: expected whole numbers from 0 to {_SEEDS_PER_SPLIT}"
            )
        if type(source.night) not in (int, float) or not 0 <= source.night <= 1:
            raise DatasetError(f"scene night is {source.night!r}: expected a share from 0 to 1")
        names = source.modalities if isinstance(source.modalities, (list, tuple)) else ()
        if not names or len(set(names)) != len(names) or set(names) - set(MODALITIES):
            raise DatasetError(f"scene modalities are {source.modalities!r}: list some of {', '.join(MODALITIES)}")
        unknown = set(names) - set(known_modalities())
        if unknown:
            raise DatasetError(f"scene has {', '.join(unknown)}: register this modality first, or leave it out")
        return replace(source, modalities=tuple(names))

    def records(self, split: str, name: str) -> list[SceneRecord]:
        """Return the pairs of one split."""
        first_seed = self.seed + _SEEDS_PER_SPLIT * SPLITS.index(split)
        records = []
        for index in range(getattr(self, split)):
            seed = first_seed + index
            # Spread evenly instead of drawn, so that any number of pairs has the share asked for.
            night = int((index + 1) * self.night) > int(index * self.night)
            # Up to half a minute into the scene: traffic has moved by then.
            frame_index = int(np.random.default_rng(seed).integers(0, 900))
            group = "night" if night else "day"
            full_name = f"{name}/{group}_{seed}_{frame_index:06d}"
            records.append(SceneRecord(full_name, group, seed, frame_index, self.modalities))
        return records
