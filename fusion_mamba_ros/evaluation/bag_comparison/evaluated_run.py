# SPDX-License-Identifier: Apache-2.0
"""Read what an earlier run of `eval-bag` or `eval-bags` wrote, and check that it can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import FRAMES_FILE, REPORT_FILE
from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord, Outcome, read_records
from fusion_mamba_ros.evaluation.bag_evaluation.match_table import MatchTable
from fusion_mamba_ros.evaluation.bag_evaluation.report_schema import SCHEMA_NAME, SCHEMA_VERSION
from fusion_mamba_ros.evaluation.bag_evaluation.summary import EvaluatedBag

_MOST_COUNT = 2**31


class ComparisonError(ValueError):
    """Error for two runs that cannot be compared. The message is one sentence."""


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """The evaluation of one bag: its report, the records of its frames and their matches."""

    bag: str
    report: Any
    records: Sequence[FrameRecord]
    table: MatchTable


def read_run(path: Path, bag: str = "") -> EvaluatedRun:
    """Return the run in the folder ``path``, or in that of the `report.json` at ``path``.

    ``bag`` is the name of the bag in the comparison. Raises `ComparisonError` if there is no run or it is damaged.
    """
    folder = path if path.is_dir() else path.parent
    if not (folder / REPORT_FILE).is_file() or not path.exists():
        raise ComparisonError(f"--compare '{path}' holds no {REPORT_FILE}: give the --out folder of an earlier run")
    try:
        evaluated = EvaluatedBag.read(folder)
        records = list(read_records(folder / FRAMES_FILE))
        report = evaluated.report
        known = report["schema"] == SCHEMA_NAME and report["version"] == SCHEMA_VERSION
        if known:
            _check_report(report)
            _check_records(records, evaluated.table)
        frames = sum(record.outcome is Outcome.EVALUATED for record in records)
    except (KeyError, OSError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ComparisonError(f"--compare '{path}' cannot be read: {reason}") from error
    if not known:
        raise ComparisonError(f"--compare '{path}' is of another version of the report: evaluate that bag again")
    if frames != evaluated.table.frames:
        raise ComparisonError(
            f"--compare '{path}' is inconsistent: {frames} evaluated frames, {evaluated.table.frames} in the matches"
        )
    return EvaluatedRun(bag, report, records, evaluated.table)


def _check_report(report: Any) -> None:
    """Raise ``KeyError`` or ``ValueError`` if a part of the report that a comparison reads is missing or malformed."""
    truth, protocol = report["ground_truth"], report["subject"]["protocol"]
    kinds: dict[str, type] = {"source": str, "frames": int, "boxes": int, "unknown_classes": dict}
    wrong = [] if truth is None else [name for name, kind in kinds.items() if not isinstance(truth[name], kind)]
    if truth is not None and not isinstance(truth["tolerance_ms"], (int, float)):
        wrong.append("tolerance_ms")
    if wrong or not isinstance(protocol, str):
        raise ValueError(f"{REPORT_FILE} has a malformed {wrong[0] if wrong else 'protocol'}")


def _check_records(records: Sequence[FrameRecord], table: MatchTable) -> None:
    """Raise ``ValueError`` if a value of a record that a comparison reads is malformed."""
    for number, record in enumerate(records, 1):
        stamp_ns = record.ground_truth_stamp_ns
        counts = (record.true_positives, record.false_positives, record.false_negatives)
        times = [record.latency_ms, *(record.times_ms.values() if isinstance(record.times_ms, dict) else ["malformed"])]
        if (
            not (isinstance(stamp_ns, int) or (stamp_ns is None and record.outcome is not Outcome.EVALUATED))
            or not all(part is None or _are_counts(part, table.class_names) for part in counts)
            or not all(time is None or isinstance(time, (int, float)) for time in times)
        ):
            raise ValueError(f"{FRAMES_FILE} line {number} has a malformed stamp, count or time")


def _are_counts(part: Any, class_names: Sequence[str]) -> bool:
    if not isinstance(part, dict) or not part.keys() <= set(class_names):
        return False
    return all(isinstance(count, int) and 0 <= count < _MOST_COUNT for count in part.values())


def check_comparable(earlier: EvaluatedRun, now: EvaluatedRun) -> None:
    """Raise `ComparisonError` if the two differ in ground truth, in its assignment or in the protocol of mAP."""
    where = f" of bag '{now.bag}'" if now.bag else ""
    first, second = earlier.report["ground_truth"], now.report["ground_truth"]
    if first is None or second is None:
        which = "both runs" if first is second else "the earlier run" if first is None else "this run"
        raise ComparisonError(f"--compare needs ground truth, which {which}{where} lacks: give --ground-truth")
    if "digest" not in first:
        raise ComparisonError(f"the earlier run{where} is of a version without a digest: evaluate that bag again")
    if first["digest"] != second["digest"]:
        raise ComparisonError(
            f"the ground truth{where} differs: {first['frames']} frames with {first['boxes']} boxes of "
            f"{first['source']} in the earlier run, {second['frames']} with {second['boxes']} of {second['source']} "
            "now; evaluate both on the same bag and labels"
        )
    if first["unknown_classes"] != second["unknown_classes"]:
        raise ComparisonError(
            f"the detectors{where} know different classes of the ground truth: the earlier one lacks "
            f"{_listed(first['unknown_classes'])}, this one {_listed(second['unknown_classes'])}"
        )
    for name, one, other, option in (
        ("tolerance of the ground truth", *(f"{part['tolerance_ms']:g} ms" for part in (first, second)), "--tolerance"),
        ("protocol of mAP", *(run.report["subject"]["protocol"] for run in (earlier, now)), "--protocol"),
    ):
        if one != other:
            raise ComparisonError(f"the {name}{where} was {one} in the earlier run and is {other} now: set {option}")


def _listed(classes: dict[str, int]) -> str:
    return ", ".join(classes) if classes else "none"
