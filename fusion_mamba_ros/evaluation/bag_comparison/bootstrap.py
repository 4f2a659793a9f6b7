# SPDX-License-Identifier: Apache-2.0
"""Compute the figures of two runs and the intervals of their differences with a paired bootstrap over true frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.bag_comparison.paired_frames import PairedFrames, Side
from fusion_mamba_ros.evaluation.paired_bootstrap import weighted_average_precision

Values = npt.NDArray[np.float64]
# Largest number of elements in one working array.
_BLOCK = 2_000_000


@dataclass(frozen=True)
class DifferenceInterval:
    """One figure of both runs, and the bounds of the difference now minus earlier. NaN: not available."""

    name: str
    earlier: float
    now: float
    low: float
    high: float
    lower_is_better: bool = False


def difference_intervals(
    frames: PairedFrames, *, samples: int, confidence: float, seed: int
) -> list[DifferenceInterval]:
    """Return the figures with intervals: mAP50, recall, precision, and both by class; last the mean latency.

    Average precision, precision and latency are over the frames that both runs have evaluated. Recall is over all true
    frames; without output their boxes are missed.
    """
    units = len(frames.stamps)
    detections = [len(item.owners) for side in (frames.earlier, frames.now) for item in side.classes]
    block = max(1, _BLOCK // max(units, *detections, 1))
    generator = np.random.default_rng(seed)
    names = _names(frames)
    whole = [_figures(frames, side, np.ones((1, units)))[:, 0] for side in (frames.earlier, frames.now)]
    differences = np.full((len(names), samples), np.nan)
    for start in range(0, samples, block):
        count = min(block, samples - start)
        weights = generator.multinomial(units, np.full(units, 1 / units), size=count).astype(np.float64)
        now, earlier = (_figures(frames, side, weights) for side in (frames.now, frames.earlier))
        differences[:, start : start + count] = now - earlier
    tail = (1 - confidence) / 2
    result = []
    for index, name in enumerate(names):
        known = differences[index][np.isfinite(differences[index])]
        low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (np.nan, np.nan)
        is_latency = name == _latency_name(frames)
        result.append(
            DifferenceInterval(
                name, float(whole[0][index]), float(whole[1][index]), float(low), float(high), is_latency
            )
        )
    return result


def _names(frames: PairedFrames) -> list[str]:
    names = ["mAP50", "recall over all frames", "precision"]
    for name in frames.class_names:
        names += [f"AP50 of {name}", f"recall over all frames of {name}", f"precision of {name}"]
    return [*names, _latency_name(frames)] if _latency_name(frames) else names


def _latency_name(frames: PairedFrames) -> str:
    """Return the name of the time that both runs have, empty if they have none or not the same."""
    both = np.isfinite(frames.earlier.latency_ms) & np.isfinite(frames.now.latency_ms) & frames.in_both
    same = frames.earlier.latency_name == frames.now.latency_name
    return f"mean {frames.now.latency_name}, ms" if same and both.any() else ""


def _figures(frames: PairedFrames, side: Side, weights: Values) -> Values:
    """Return the figures (names, b) of one run, with each unit counted ``weights`` (b, units) times."""
    return np.stack(list(_rows(frames, side, weights)))


def _rows(frames: PairedFrames, side: Side, weights: Values) -> Iterator[Values]:
    found, true = weights @ side.found, weights @ (side.found + side.missed)
    both = frames.in_both[:, None]
    right, wrong = (weights @ np.where(both, counts, 0) for counts in (side.found, side.false_alarms))
    # Without a true box of a class, false alarms alone would give a precision of 0.
    has_boxes = np.array([item.boxes.any() for item in side.classes], bool)
    reported = np.where(has_boxes, right + wrong, 0)
    precisions = np.stack(
        [
            weighted_average_precision(weights[:, item.owners], item.correct, weights @ item.boxes)
            for item in side.classes
        ]
    )
    counted = np.isfinite(precisions)
    yield _ratio(np.where(counted, precisions, 0.0).sum(axis=0), counted.sum(axis=0))
    yield _ratio(found.sum(axis=1), true.sum(axis=1))
    yield _ratio(right.sum(axis=1), (right + wrong).sum(axis=1) if has_boxes.any() else np.zeros(len(weights)))
    for label in range(len(frames.class_names)):
        yield precisions[label]
        yield _ratio(found[:, label], true[:, label])
        yield _ratio(right[:, label], reported[:, label])
    if _latency_name(frames):
        known = np.isfinite(frames.earlier.latency_ms) & np.isfinite(frames.now.latency_ms) & frames.in_both
        yield _ratio(weights @ np.where(known, np.nan_to_num(side.latency_ms), 0.0), weights @ known)


def _ratio(part: Values, whole: Values) -> Values:
    result: Values = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return result
