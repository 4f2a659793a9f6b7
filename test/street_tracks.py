# SPDX-License-Identifier: Apache-2.0
"""Detections on synthetic streets whose objects have known identities, with repeated freezes of the thermal camera."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.synthetic.procedural_scene import ProceduralScene
from fusion_mamba_ros.synthetic.scene_frame import SceneFrame

SCORE_THRESHOLD = 0.25
FREEZE_SEC, PERIOD_SEC, SILENCE_SEC = 1.0, 3.0, 0.5


@dataclass(frozen=True)
class TrackedFrame:
    """True boxes and simulated detections of one moment. ``detections`` is None if no array is published."""

    stamp_ns: int
    truth: SceneFrame
    detections: Detections | None


@dataclass(frozen=True)
class Freezes:
    """``count`` freezes of one second, one every three seconds. Every second one begins with half a second of silence.

    A node that misses a camera first waits for it: then there is no array.
    """

    count: int

    def mode_at(self, seconds: float) -> Mode | None:
        number, since = divmod(seconds - 1.5, PERIOD_SEC)
        if not 0 <= number < self.count or since >= FREEZE_SEC:
            return Mode.FUSED
        return None if number % 2 and since < SILENCE_SEC else Mode.RGB_ONLY

    def spans(self) -> list[tuple[float, float]]:
        """Return the start and the end of each freeze in seconds."""
        starts = [1.5 + PERIOD_SEC * number for number in range(self.count)]
        return [(start, start + FREEZE_SEC) for start in starts]

    @property
    def seconds(self) -> float:
        """Length of a recording with all freezes, in seconds."""
        return 1.5 + PERIOD_SEC * self.count


def render(seed: int, seconds: float, rate_hz: float, *, night: bool = True, scale: float = 0.5) -> list[SceneFrame]:
    """Return the frames of one street."""
    size = (int(640 * scale), int(480 * scale))
    scene = ProceduralScene(seed, night=night, frames_per_second=rate_hz, rgb_size=size, thermal_size=size)
    return [scene.render(number) for number in range(int(seconds * rate_hz))]


def simulated_detections(frame: SceneFrame, mode: Mode, rng: np.random.Generator) -> Detections:
    """Return the detections of a simulated mediocre detector: jittered boxes, weak scores, misses, false detections.

    Without thermal it misses more, and every third object altogether: people in the dark.
    """
    alone = mode is not Mode.FUSED
    size = np.tile(frame.boxes[:, 2:] - frame.boxes[:, :2], 2)
    boxes = frame.boxes + rng.normal(0, 0.06 if alone else 0.04, frame.boxes.shape) * size
    scores = np.clip(rng.normal(0.4 if alone else 0.55, 0.15, len(boxes)), 0, 1)
    seen = (rng.random(len(boxes)) > (0.15 if alone else 0.07)) & (scores >= 0.1)
    if alone:
        seen &= frame.identities % 3 != 0
    false = rng.poisson(0.4)
    corner = rng.uniform(0, 250, (false, 2))
    boxes = np.concatenate([boxes[seen], np.hstack([corner, corner + rng.uniform(10, 60, (false, 2))])])
    scores = np.concatenate([scores[seen], rng.uniform(0.1, 0.4, false)])
    labels = np.concatenate([frame.labels[seen], rng.integers(0, 3, false)])
    order = np.argsort(-scores)
    return Detections(boxes[order].astype(np.float32), scores[order].astype(np.float32), labels[order], mode)


def record(
    frames: Sequence[SceneFrame],
    rate_hz: float,
    freezes: Freezes | None,
    detect: Callable[[int, SceneFrame, Mode], Detections],
) -> list[TrackedFrame]:
    """Return the frames that a node would publish of ``frames``, with or without freezes."""
    recorded = []
    for number, frame in enumerate(frames):
        mode = Mode.FUSED if freezes is None else freezes.mode_at(number / rate_hz)
        detections = None if mode is None else detect(number, frame, mode)
        recorded.append(TrackedFrame(round(number * 1e9 / rate_hz), frame, detections))
    return recorded


def simulate(frames: Sequence[SceneFrame], rate_hz: float, freezes: Freezes | None, seed: int) -> list[TrackedFrame]:
    """Return ``frames`` with simulated detections. Those of a fused frame are equal with and without freezes."""
    return record(
        frames,
        rate_hz,
        freezes,
        lambda number, frame, mode: simulated_detections(frame, mode, np.random.default_rng([seed, number])),
    )
