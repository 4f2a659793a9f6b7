# SPDX-License-Identifier: Apache-2.0
"""Compare the evaluation of one bag, or of many, with an earlier run on disk."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from fusion_mamba_ros.evaluation.bag_comparison.comparison import Comparison, compare_runs
from fusion_mamba_ros.evaluation.bag_comparison.evaluated_run import ComparisonError, EvaluatedRun, read_run
from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import REPORT_FILE, BagEvaluation


def compare_bag(earlier: EvaluatedRun, evaluation: BagEvaluation, *, other: Path) -> Comparison:
    """Return the comparison of one bag with the ``earlier`` run, which was read from ``other``."""
    now = EvaluatedRun("", evaluation.report, evaluation.records, evaluation.table)
    return compare_runs([earlier], [now], other=str(other))


def errors_of_frames(run: EvaluatedRun) -> dict[int, int]:
    """Return the misses and false alarms of each true frame, by the stamp of the ground truth."""
    return {
        record.ground_truth_stamp_ns: sum((record.false_negatives or {}).values())
        + sum((record.false_positives or {}).values())
        for record in run.records
        if record.ground_truth_stamp_ns is not None
    }


def former_fleet(other: Path, summary_name: str, *, out: Path) -> Path:
    """Return the folder of an earlier run of many bags.

    Raises `ComparisonError` if ``other`` is not one, or if it is the folder ``out`` of this run.
    """
    folder = other if other.is_dir() else other.parent
    if folder.resolve() == out.resolve():
        raise ComparisonError(f"--compare '{other}' is the folder of this run: give --out another folder")
    if not (folder / summary_name).is_file() or not other.exists():
        raise ComparisonError(f"--compare '{other}' holds no {summary_name}: give the --out folder of an earlier run")
    return folder


def compare_fleets(other: Path, out: Path, names: Collection[str]) -> Comparison:
    """Return the comparison of the bags ``names`` in ``out`` with those of the same names in the folder ``other``.

    Bags that only one of the runs has evaluated are named in the result. Raises `ComparisonError` if there is no common
    bag.
    """
    earlier = {path.parent.name for path in other.glob(f"*/{REPORT_FILE}")}
    common = sorted(earlier & set(names))
    if not common:
        raise ComparisonError(f"--compare '{other}' has no bag of this run: compare runs on the same bags")
    return compare_runs(
        [read_run(other / name, name) for name in common],
        [read_run(out / name, name) for name in common],
        other=str(other),
        left_out=sorted(earlier ^ set(names)),
    )
