# SPDX-License-Identifier: Apache-2.0
"""Run detectors on degraded pairs, cell by cell: one cell for each checkpoint, condition and mode."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fusion_mamba_ros.analysis.degradations import degrade
from fusion_mamba_ros.analysis.robustness_plan import Condition
from fusion_mamba_ros.datasets import PreparedDataset
from fusion_mamba_ros.datasets.problems import DatasetError, UnreadableImageError
from fusion_mamba_ros.datasets.sample import Sample
from fusion_mamba_ros.evaluation.detection_results import DetectionResults, ImageResult
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.mode import modalities_of, mode_of
from fusion_mamba_ros.perception.predictor import Predictor

CLEAN = Condition()
_DIGITS = 8


class ChosenPairs:
    """The pairs of a study: those of a prepared dataset that have all ``modalities``, at most ``limit``, evenly spaced.

    ``skipped``: reason for each pair that cannot be read, by name. ``content_digits``: eight hexadecimal digits of the
    SHA-256 of the prepared images and of the true boxes. Raises ``DatasetError`` if no pair remains.
    """

    def __init__(self, dataset: PreparedDataset, modalities: Sequence[str], limit: int | None = None) -> None:
        self.class_names = dataset.class_names
        self.skipped: dict[str, str] = {}
        self._dataset = dataset
        whole = [i for i, present in enumerate(dataset.modalities_of_each) if set(modalities) <= present]
        if limit is not None and limit < len(whole):
            whole = [whole[number * len(whole) // limit] for number in range(limit)]
        self._indices: list[int] = []
        digest = hashlib.sha256()
        for index in whole:
            try:
                _add(digest, dataset[index])
                self._indices.append(index)
            except UnreadableImageError as error:
                self.skipped[dataset.names[index]] = str(error)
        self.content_digits = digest.hexdigest()[:_DIGITS]
        if not self._indices:
            why = f": {next(iter(self.skipped.values()))}" if self.skipped else ""
            raise DatasetError(f"no pair has the images {', '.join(modalities)}{why}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the pairs, in order."""
        return tuple(self._dataset.names[index] for index in self._indices)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, number: int) -> Sample:
        return self._dataset[self._indices[number]]


def _add(digest: Any, sample: Sample) -> None:
    for array in (*(sample.images[name] for name in sorted(sample.images)), sample.boxes, sample.labels):
        digest.update(np.ascontiguousarray(array).data)


def study_modes(modalities: Sequence[str]) -> tuple[Mode, ...]:
    """Return `fused` and each modality alone. Raises ``ValueError`` for a model of one modality."""
    if len(modalities) < 2:
        raise ValueError(f"the model uses {', '.join(modalities)} alone: give one that fuses two or more modalities")
    return (Mode.FUSED, *(mode_of((name,), modalities) for name in modalities))


def keep_plan(out: Path, plan: dict[str, Any]) -> None:
    """Write ``plan`` to `plan.json`. Raises ``ValueError`` if the folder holds the cells of another plan."""
    path = out / "plan.json"
    text = json.dumps(plan, indent=1)
    if path.exists() and path.read_text(encoding="utf-8") != f"{text}\n":
        raise ValueError(f"'{out}' holds the cells of other data, pairs or seed: choose another --out")
    write_atomically(path, f"{text}\n".encode())


class RobustnessCells:
    """The cells of one checkpoint: the detections of one mode under one condition, each in a file of ``folder``.

    ``predictor`` must use the evaluation protocol, white-hot 8-bit thermal images and no homography, as the prepared
    ``pairs`` are.
    """

    def __init__(
        self, predictor: Predictor, pairs: ChosenPairs, folder: Path, *, seed: int = 0, batch_size: int = 8
    ) -> None:
        self.predictor, self.pairs, self.folder = predictor, pairs, folder
        self.seed, self.batch_size = seed, batch_size
        self.modes = study_modes(predictor.modalities)
        self._loaded: dict[tuple[Condition, Mode], DetectionResults] = {}

    def path(self, condition: Condition, mode: Mode) -> Path:
        """Return the file of a cell."""
        return self.folder / condition.name / f"{mode.value}.npz"

    def run(self, conditions: Sequence[Condition], on_cell: Callable[[], None] = lambda: None) -> None:
        """Compute the cells that have no file yet, the clean ones first; call ``on_cell`` after each."""
        for condition in dict.fromkeys((CLEAN, *conditions)):
            for mode in self.modes:
                self._complete(condition, mode)
                on_cell()

    def _complete(self, condition: Condition, mode: Mode) -> Path:
        """Return the file of a cell; compute the cell first if it has none."""
        path = self.path(condition, mode)
        if not path.exists():
            self._detect(condition, mode).save(path)
        return path

    def _detect(self, condition: Condition, mode: Mode) -> DetectionResults:
        """Return the detections of one cell.

        A pair whose images are those of a cell with fewer factors or modalities takes its detections from there.
        """
        found: dict[int, Detections] = {}
        waiting: list[tuple[int, dict[str, Any]]] = []
        for number in range(len(self.pairs)):
            sample = self.pairs[number]
            images = degrade(sample, condition.steps, self.seed)
            used = {name: images[name] for name in modalities_of(mode, self.predictor.modalities) if name in images}
            source = self._source(condition, sample, used) if used else None
            if not used:
                found[number] = _nothing(mode)
            elif source is not None and source != (condition, mode):
                found[number] = replace(self._results(*source).images[number].detections, mode=mode)
            else:
                waiting.append((number, used))
            if len(waiting) == self.batch_size or number == len(self.pairs) - 1:
                detected = self.predictor.predict_batch([used for _, used in waiting], homography={})
                found |= {position: item for (position, _), item in zip(waiting, detected, strict=True)}
                waiting = []
        samples = (self.pairs[number] for number in range(len(self.pairs)))
        images_found = tuple(
            ImageResult(sample.name, sample.boxes, sample.labels, found[number], sample.group)
            for number, sample in enumerate(samples)
        )
        return DetectionResults(self.pairs.class_names, mode, images_found)

    def _source(self, condition: Condition, sample: Sample, used: dict[str, Any]) -> tuple[Condition, Mode] | None:
        """Return the simplest cell in which the network sees exactly the images ``used``, None if no mode fits."""
        mode = mode_of(used, self.predictor.modalities)
        changed = {name for name, image in used.items() if image is not sample.images[name]}
        steps = tuple(step for step in condition.steps if step[0].modality in changed)
        return (Condition(steps), mode) if mode in self.modes else None

    def _results(self, condition: Condition, mode: Mode) -> DetectionResults:
        if (condition, mode) not in self._loaded:
            self._loaded[condition, mode] = DetectionResults.load(self._complete(condition, mode))
        return self._loaded[condition, mode]


def _nothing(mode: Mode) -> Detections:
    return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), mode)
