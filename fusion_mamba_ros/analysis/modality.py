# SPDX-License-Identifier: Apache-2.0
"""Measure the contribution of each modality to the detections of a model, and how it moves as one camera gets worse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.analysis.degradations import Factor, degrade
from fusion_mamba_ros.analysis.robustness import CLEAN, ChosenPairs, study_modes
from fusion_mamba_ros.analysis.robustness_plan import Condition
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.mode import modalities_of
from fusion_mamba_ros.perception.occlusion import Occlusion, shares
from fusion_mamba_ros.perception.predictor import Predictor

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FrameContributions:
    """Contributions of M modalities to the n detections of one pair.

    ``contributions`` (n, M): by occlusion. ``gates`` (n, M) and ``frame_gates`` (M,): share of each stream's hidden
    state in the boxes and in the whole frame, None without gates. ``own``: share of the own terms in the frame.
    """

    name: str
    group: str
    detections: Detections
    contributions: Array
    gates: Array | None = None
    frame_gates: Array | None = None
    own: float | None = None


class ContributionStudy:
    """The frames of a data set under the conditions that were measured, by the condition's name.

    ``no_gates``: why the gates were not read, None if they were.
    """

    def __init__(self, predictor: Predictor, pairs: ChosenPairs, seed: int = 0) -> None:
        study_modes(predictor.modalities)
        self.predictor, self.pairs, self.seed = predictor, pairs, seed
        self.modalities, self.class_names = predictor.modalities, predictor.class_names
        self.frames: dict[str, list[FrameContributions]] = {}
        self.no_gates: str | None = f"the engine {predictor.engine.name} shows no gates: occlusion alone is measured"
        self._occlusion = Occlusion(predictor.engine, predictor.calibration)
        self._gates: Any = None
        model = getattr(predictor.engine, "model", None)
        if model is not None:
            from fusion_mamba_ros.analysis.gate_terms import GateTerms, why_no_gates

            self.no_gates = why_no_gates(model)
            self._gates = None if self.no_gates else GateTerms(model)

    def run(self, conditions: Sequence[Condition], on_frame: Callable[[], None] = lambda: None) -> None:
        """Measure all pairs under each condition, the clean one first; call ``on_frame`` after each pair."""
        for condition in dict.fromkeys((CLEAN, *conditions)):
            found = self.frames.setdefault(condition.name, [])
            for number in range(len(self.pairs)):
                found.append(self._measure(number, condition))
                on_frame()

    def _measure(self, number: int, condition: Condition) -> FrameContributions:
        sample = self.pairs[number]
        images = degrade(sample, condition.steps, self.seed)
        wanted = {name: images[name] for name in self.modalities if name in images}
        count = len(self.modalities)
        if not wanted:
            nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
            return FrameContributions(sample.name, sample.group, nothing, np.zeros((0, count)))
        detections = self.predictor.predict_batch([wanted], homography={})[0]
        prepared = self.predictor.prepared[0][0]
        gates: tuple[Any, Any, Any] = (None, None, None)
        if self._gates is not None:
            # Read the gates before the passes with hidden images overwrite them.
            gates = self._read_gates(prepared.letterbox.boxes_to_canvas(detections.boxes))
        present = modalities_of(prepared.mode, self.modalities)
        contributions = np.zeros((len(detections), count))
        columns = [self.modalities.index(name) for name in present]
        contributions[:, columns] = self._occlusion.contributions(prepared, detections, present)
        return FrameContributions(sample.name, sample.group, detections, contributions, *gates)

    def _read_gates(self, boxes: npt.NDArray[np.float32]) -> tuple[Array, Array, float]:
        from fusion_mamba_ros.analysis.gate_terms import gate_shares, own_share

        terms = self._gates.terms()
        of_boxes = [gate_shares(terms, box) for box in boxes]
        return np.reshape(of_boxes, (-1, len(self.modalities))), gate_shares(terms), own_share(terms)

    def sums(self, condition: str, label: int | None = None) -> Array:
        """Return the sum of the positive contributions of each frame (frames, M), of one class or of all."""
        rows = []
        for frame in self.frames[condition]:
            positive = np.clip(frame.contributions, 0, None)
            kept = positive if label is None else positive[frame.detections.labels == label]
            rows.append(kept.sum(axis=0))
        return np.array(rows).reshape(-1, len(self.modalities))

    def gate_rows(self, condition: str) -> Array | None:
        """Return the shares of the hidden states of each frame (frames, M), None without gates."""
        rows = [frame.frame_gates for frame in self.frames[condition]]
        return None if any(row is None for row in rows) else np.array(rows)

    def agreement(self) -> tuple[Array, Array, Array]:
        """Return the shares of the first modality in all clean detections: by occlusion, by gates, and their frames."""
        frames = self.frames[CLEAN.name]
        by_occlusion = [shares(frame.contributions)[:, 0] for frame in frames]
        by_gates = [frame.gates[:, 0] for frame in frames if frame.gates is not None]
        owners = [np.full(len(frame.detections), index, float) for index, frame in enumerate(frames)]
        return np.concatenate(by_occlusion), np.concatenate(by_gates), np.concatenate(owners)

    def steps(self, factor: Factor) -> list[tuple[float, str]]:
        """Return the levels of a factor with the names of their conditions, level 0 first."""
        return [(level, Condition.of((factor, level)).name) for level in (0.0, *factor.levels)]
