# SPDX-License-Identifier: Apache-2.0
"""Compare two runs on the same frames: differences with paired bootstrap intervals, and the frames that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from fusion_mamba_ros.evaluation.bag_comparison.bootstrap import difference_intervals
from fusion_mamba_ros.evaluation.bag_comparison.evaluated_run import ComparisonError, EvaluatedRun
from fusion_mamba_ros.evaluation.bag_comparison.paired_frames import PairedFrames, pair_frames

COMPARISON_NAME, COMPARISON_VERSION = "fusion_mamba_ros/bag-comparison", 1
IMPROVED, WORSE, UNDECIDED = "improved", "worse", "undecided"
# The figures that decide the verdict of the whole.
MAP50, RECALL = "mAP50", "recall over all frames"
SAMPLES, CONFIDENCE = 1000, 0.95


class ComparedFigure(TypedDict):
    """One figure of both runs, and ``difference`` (now minus earlier) with its interval. None: not available."""

    name: str
    earlier: float | None
    now: float | None
    difference: float | None
    low: float | None
    high: float | None
    verdict: str


class ChangedFrame(TypedDict):
    """A true frame with more or fewer errors than before. Counts are (earlier, now)."""

    bag: str
    ground_truth_stamp_ns: int
    misses: tuple[int, int]
    false_alarms: tuple[int, int]
    has_output: tuple[bool, bool]


class Comparison(TypedDict):
    """Content of `comparison.json`. ``worse`` and ``better`` are sorted by the change of the errors.

    ``left_out`` are bags that only one of the runs has evaluated.
    """

    schema: str
    version: int
    other: str
    bags: int
    left_out: list[str]
    frames: int
    evaluated_in_both: int
    samples: int
    confidence: float
    verdict: str
    figures: list[ComparedFigure]
    worse: list[ChangedFrame]
    better: list[ChangedFrame]


def compare_runs(
    earlier: Sequence[EvaluatedRun],
    now: Sequence[EvaluatedRun],
    *,
    other: str,
    left_out: Sequence[str] = (),
    samples: int = SAMPLES,
    seed: int = 0,
) -> Comparison:
    """Return the comparison of two runs on the same bags, given in the same order.

    ``other`` names the earlier run. The bootstrap draws true frames with replacement; both runs get the same frames in
    each sample. Raises `ComparisonError` if the runs differ in ground truth or there is no true frame.
    """
    frames = pair_frames(earlier, now)
    if not frames.stamps:
        raise ComparisonError("--compare finds no frame with ground truth: nothing to compare")
    figures: list[ComparedFigure] = []
    for item in difference_intervals(frames, samples=samples, confidence=CONFIDENCE, seed=seed):
        low, high = (-item.high, -item.low) if item.lower_is_better else (item.low, item.high)
        verdict = IMPROVED if low > 0 else WORSE if high < 0 else UNDECIDED
        values = (item.earlier, item.now, item.now - item.earlier, item.low, item.high)
        known = [None if np.isnan(value) else float(value) for value in values]
        figures.append(
            {
                "name": item.name,
                "earlier": known[0],
                "now": known[1],
                "difference": known[2],
                "low": known[3],
                "high": known[4],
                "verdict": verdict,
            }
        )
    worse, better = _changed_frames(frames)
    return {
        "schema": COMPARISON_NAME,
        "version": COMPARISON_VERSION,
        "other": other,
        "bags": len(now),
        "left_out": list(left_out),
        "frames": len(frames.stamps),
        "evaluated_in_both": int(frames.in_both.sum()),
        "samples": samples,
        "confidence": CONFIDENCE,
        "verdict": overall_verdict(figures),
        "figures": figures,
        "worse": worse,
        "better": better,
    }


def overall_verdict(figures: Sequence[ComparedFigure]) -> str:
    """Return the verdict of mAP50 and of the recall over all frames together: `worse` if one of them is worse."""
    verdicts = {item["verdict"] for item in figures if item["name"] in (MAP50, RECALL)}
    return WORSE if WORSE in verdicts else IMPROVED if IMPROVED in verdicts else UNDECIDED


def _changed_frames(frames: PairedFrames) -> tuple[list[ChangedFrame], list[ChangedFrame]]:
    sides = (frames.earlier, frames.now)
    misses = [side.missed.sum(axis=1) for side in sides]
    alarms = [side.false_alarms.sum(axis=1) for side in sides]
    change = misses[1] + alarms[1] - misses[0] - alarms[0]
    # Largest change first, then more misses, then the order of the bags and stamps.
    order = np.lexsort((-np.abs(misses[1] - misses[0]), -np.abs(change)))
    changed: list[ChangedFrame] = [
        {
            "bag": frames.bags[unit],
            "ground_truth_stamp_ns": frames.stamps[unit],
            "misses": (int(misses[0][unit]), int(misses[1][unit])),
            "false_alarms": (int(alarms[0][unit]), int(alarms[1][unit])),
            "has_output": (bool(sides[0].evaluated[unit]), bool(sides[1].evaluated[unit])),
        }
        for unit in order[change[order] != 0].tolist()
    ]
    worse = [item for item in changed if _errors(item, 1) > _errors(item, 0)]
    return worse, [item for item in changed if _errors(item, 1) < _errors(item, 0)]


def _errors(frame: ChangedFrame, run: int) -> int:
    return frame["misses"][run] + frame["false_alarms"][run]
