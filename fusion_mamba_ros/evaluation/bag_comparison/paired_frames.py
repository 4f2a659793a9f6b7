# SPDX-License-Identifier: Apache-2.0
"""Bring the frames of two runs together: one unit for each true frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.evaluation.bag_comparison.evaluated_run import ComparisonError, EvaluatedRun, check_comparable
from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord, Outcome
from fusion_mamba_ros.evaluation.bag_evaluation.match_table import MatchTable
from fusion_mamba_ros.evaluation.bag_report.timeline import latency_of

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RankedClass:
    """Detections of one class, best first, up to the last correct one: their units, and whether they are correct.

    ``boxes`` counts the true boxes of each unit.
    """

    owners: Counts
    correct: npt.NDArray[np.bool_]
    boxes: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two runs. Arrays have a row for each unit, and counts a column for each class.

    ``found``, ``false_alarms`` and ``missed`` are at the operating threshold; without output all boxes are missed.
    ``latency_ms`` is NaN where it is not known. ``classes`` has the detections of the units evaluated in both runs.
    """

    evaluated: npt.NDArray[np.bool_]
    found: Counts
    false_alarms: Counts
    missed: Counts
    latency_ms: npt.NDArray[np.float64]
    latency_name: str
    classes: tuple[RankedClass, ...]


@dataclass(frozen=True, eq=False)
class PairedFrames:
    """The true frames of all bags, with both runs. ``bags`` and ``stamps`` (ns) name the units."""

    class_names: tuple[str, ...]
    bags: tuple[str, ...]
    stamps: tuple[int, ...]
    earlier: Side
    now: Side

    @property
    def in_both(self) -> npt.NDArray[np.bool_]:
        """Units that both runs have evaluated."""
        return self.earlier.evaluated & self.now.evaluated


def pair_frames(earlier: Sequence[EvaluatedRun], now: Sequence[EvaluatedRun]) -> PairedFrames:
    """Return the frames of the runs, bag by bag. Raises `ComparisonError` if two runs cannot be compared."""
    for first, second in zip(earlier, now, strict=True):
        check_comparable(first, second)
        if {record.ground_truth_stamp_ns for record in _true_frames(first)} != {
            record.ground_truth_stamp_ns for record in _true_frames(second)
        }:
            where = f" of bag '{second.bag}'" if second.bag else ""
            raise ComparisonError(
                f"the frames with ground truth{where} differ: evaluate both on the same bag and labels"
            )
    runs = (earlier, now)
    class_names = tuple(dict.fromkeys(name for run in (*now, *earlier) for name in run.table.class_names))
    units = {
        key: index
        for index, key in enumerate(
            dict.fromkeys((run.bag, record.ground_truth_stamp_ns) for run in now for record in _true_frames(run))
        )
    }
    evaluated = [np.zeros(len(units), bool) for _ in runs]
    for side, mask in zip(runs, evaluated, strict=True):
        for run in side:
            for record in _true_frames(run):
                mask[units[run.bag, record.ground_truth_stamp_ns]] = record.outcome is Outcome.EVALUATED
    in_both = evaluated[0] & evaluated[1]
    sides = [_side(side, units, class_names, mask, in_both) for side, mask in zip(runs, evaluated, strict=True)]
    bags, stamps = zip(*units, strict=True) if units else ((), ())
    return PairedFrames(class_names, bags, tuple(int(stamp or 0) for stamp in stamps), sides[0], sides[1])


def _true_frames(run: EvaluatedRun) -> list[FrameRecord]:
    return [record for record in run.records if record.ground_truth_stamp_ns is not None]


def _side(
    runs: Sequence[EvaluatedRun],
    units: dict[tuple[str, int | None], int],
    class_names: tuple[str, ...],
    evaluated: npt.NDArray[np.bool_],
    in_both: npt.NDArray[np.bool_],
) -> Side:
    shape = (len(units), len(class_names))
    column = {name: index for index, name in enumerate(class_names)}
    found, false_alarms, missed = (np.zeros(shape, np.int64) for _ in range(3))
    latency = np.full(len(units), np.nan)
    # The unit of each frame of the tables, in their order.
    owners: list[int] = []
    names = set()
    for run in runs:
        records = _true_frames(run)
        name, values = latency_of(records)
        names.add(name)
        for record, value in zip(records, values.tolist(), strict=True):
            unit = units[run.bag, record.ground_truth_stamp_ns]
            latency[unit] = value
            if record.outcome is Outcome.EVALUATED:
                owners.append(unit)
            for counts, part in (
                (found, record.true_positives),
                (false_alarms, record.false_positives),
                (missed, record.false_negatives),
            ):
                for class_name, count in (part or {}).items():
                    counts[unit, column[class_name]] = count
    table = MatchTable.pooled([run.table for run in runs])
    ranked = _ranked(table, np.array(owners, np.int64), class_names, in_both)
    return Side(evaluated, found, false_alarms, missed, latency, " or ".join(sorted(names)), ranked)


def _ranked(
    table: MatchTable, unit_of_frame: Counts, class_names: tuple[str, ...], in_both: npt.NDArray[np.bool_]
) -> tuple[RankedClass, ...]:
    arrays = table.arrays()
    names = list(table.class_names)
    units = unit_of_frame[arrays["owners"]] if len(arrays["owners"]) else np.zeros(0, np.int64)
    ranked = []
    for name in class_names:
        boxes = np.zeros(len(in_both))
        if name not in names:
            ranked.append(RankedClass(np.zeros(0, np.int64), np.zeros(0, bool), boxes))
            continue
        label = names.index(name)
        boxes[unit_of_frame] = arrays["truth"][:, label]
        boxes[~in_both] = 0
        chosen = np.flatnonzero((arrays["labels"] == label) & in_both[units])
        chosen = chosen[np.argsort(-arrays["scores"][chosen], kind="mergesort")]
        # The lowest bit is IoU 0.5. Recall does not grow after the last correct detection.
        correct = (arrays["correct"][chosen] & 1).astype(bool)
        end = int(np.flatnonzero(correct)[-1]) + 1 if correct.any() else 0
        ranked.append(RankedClass(units[chosen[:end]], correct[:end], boxes))
    return tuple(ranked)
