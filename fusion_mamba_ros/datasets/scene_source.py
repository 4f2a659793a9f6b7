# SPDX-License-Identifier: Apache-2.0
"""Provide procedural street scenes as a dataset. Frames are rendered when read and are not stored on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from fusion_mamba_ros.datasets.annotation import Annotation
from fusion_mamba_ros.datasets.layouts.split_lists import SPLITS
from fusion_mamba_ros.datasets.problems import DatasetError, Problem
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.datasets.source_traits import SourceTraits, traits_of
from fusion_mamba_ros.perception.modality import known_modalities
from fusion_mamba_ros.perception.registration import Homographies
from fusion_mamba_ros.synthetic.procedural_scene import CLASS_NAMES, MODALITIES, ProceduralScene

# The seeds of the splits do not overlap, so no street is in two splits.
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
    source: SourceTraits = field(default_factory=SourceTraits, compare=False)

    def read(self, class_names: Sequence[str]) -> tuple[Sample, list[Problem]]:
        """Return the sample without boxes whose class is not in ``class_names``."""
        scene = ProceduralScene(self.seed, night=self.group == "night", modalities=self.modalities)
        frame = scene.render(self.frame_index)
        sample = Sample(self.name, frame.images, group=frame.group)
        # Scale the boxes from RGB pixels to pixels of the sample's reference image, which has the same view.
        factor = np.tile(np.array(sample.size) / scene.rgb_size, 2)
        annotation = Annotation(frame.boxes * factor, tuple(CLASS_NAMES[label] for label in frame.labels))
        boxes, labels, _ = annotation.resolve(self.name, sample.size, class_names)
        labelled = self.source.labelled_mask(class_names)
        return replace(sample, boxes=boxes, labels=labels, labelled=labelled), []


@dataclass(frozen=True)
class SceneSource:
    """The ``scene:`` entry of a dataset YAML.

    ``train``, ``val`` and ``test`` are the numbers of pairs, ``seed`` is the first seed, and ``night`` is the fraction
    of pairs at night (0 to 1). ``modalities`` are the images of each pair: some of rgb, thermal and depth. Depth must
    be registered. Each pair shows a different street at a different moment.
    """

    train: int = 0
    val: int = 0
    test: int = 0
    seed: int = 0
    night: float = 0.5
    modalities: tuple[str, ...] = ("rgb", "thermal")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SceneSource:
        """Return the source that a YAML mapping describes. Raises ``DatasetError`` on a bad value."""
        known = [entry.name for entry in fields(cls)]
        if not isinstance(values, Mapping) or set(values) - set(known):
            raise DatasetError(f"scene is {values!r}: expected a mapping with some of {', '.join(known)}")
        source = cls(**values)
        counts = (source.train, source.val, source.test, source.seed)
        if not all(type(count) is int and 0 <= count < _SEEDS_PER_SPLIT for count in counts):
            raise DatasetError(
                f"scene counts and seed are {counts}: expected whole numbers from 0 to {_SEEDS_PER_SPLIT - 1}"
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

    def records(self, split: str, name: str, class_names: Sequence[str] = CLASS_NAMES) -> list[SceneRecord]:
        """Return the pairs of one split of a dataset with the classes ``class_names``."""
        traits = traits_of(name, None, CLASS_NAMES, (), class_names)
        first_seed = self.seed + _SEEDS_PER_SPLIT * SPLITS.index(split)
        records = []
        for index in range(getattr(self, split)):
            seed = first_seed + index
            # Spread the night pairs evenly, not at random, so that any number of pairs has the configured fraction.
            night = int((index + 1) * self.night) > int(index * self.night)
            # A random moment in the first 30 seconds of the scene.
            frame_index = int(np.random.default_rng(seed).integers(0, 900))
            group = "night" if night else "day"
            full_name = f"{name}/{group}_{seed}_{frame_index:06d}"
            records.append(SceneRecord(full_name, group, seed, frame_index, self.modalities, source=traits))
        return records
