# SPDX-License-Identifier: Apache-2.0
"""Build the report of one bag from its scored frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from fusion_mamba_ros.evaluation.bag_evaluation.accuracy import accuracy_section, ratio, recall_all_frames
from fusion_mamba_ros.evaluation.bag_evaluation.collected_frame import CollectedBag, CollectedFrame
from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord, Outcome, SkipReason
from fusion_mamba_ros.evaluation.bag_evaluation.live_simulation import simulate_live
from fusion_mamba_ros.evaluation.bag_evaluation.report_schema import (
    SCHEMA_NAME,
    SCHEMA_VERSION,
    BagSection,
    CameraSection,
    Distribution,
    GroundTruthSection,
    LiveSection,
    ModeSection,
    OutputSection,
    Report,
    SubjectSection,
)
from fusion_mamba_ros.evaluation.bag_evaluation.scoring import ScoredBag

_MOST_COVERED_NS = 1_000_000_000
_CAMERAS = ("rgb", "thermal")


def build_report(
    bag: CollectedBag,
    scored: ScoredBag,
    *,
    bag_section: BagSection,
    subject: SubjectSection,
    speeds: Sequence[float] = (1.0,),
    window_sec: float = 30.0,
) -> Report:
    """Return the report. Sets ``live_dropped`` of the records to the result at the first of ``speeds``."""
    records = scored.records
    live = [_live(bag.frames, scored, speed, note=index == 0) for index, speed in enumerate(speeds)]
    results = [frame for frame in bag.frames if frame.computing_ms is not None]
    return {
        "schema": SCHEMA_NAME,
        "version": SCHEMA_VERSION,
        "bag": bag_section,
        "subject": subject,
        "ground_truth": _ground_truth(scored),
        "cameras": {camera: _camera(bag, camera) for camera in _CAMERAS if camera in bag.topics},
        "pairs": sum(record.camera == "pair" for record in records),
        "clock_jumps": bag.clock_jumps,
        "offset_ms": distribution(record.offset_ms for record in records),
        "modes": _modes(records),
        "outcomes": _outcomes(records),
        "detections": _detections(records, bag.class_names),
        "output": _output(records),
        "accuracy": None
        if scored.truth is None
        else accuracy_section(records, scored.evaluated, scored.table, window_sec=window_sec),
        "timing_ms": _timing(records),
        "frames_per_second": len(results) / bag.seconds if bag.seconds and results else None,
        "live": [section for section in live if section is not None],
        "gate": None,
    }


def distribution(values: Iterable[float | None]) -> Distribution:
    """Return the summary of the values that are not None."""
    known = np.array([value for value in values if value is not None], np.float64)
    if not len(known):
        return {"count": 0, "mean": None, "p50": None, "p95": None, "max": None}
    p50, p95 = np.percentile(known, [50, 95])
    rounded = [round(float(value), 3) for value in (known.mean(), p50, p95, known.max())]
    return {"count": len(known), "mean": rounded[0], "p50": rounded[1], "p95": rounded[2], "max": rounded[3]}


def is_expected(record: FrameRecord) -> bool:
    """Return whether a frame should have an output: every RGB frame, and what pairing released."""
    if record.camera in ("pair", "rgb"):
        return True
    if record.camera == "thermal":
        return record.has_output or record.reason in (SkipReason.FAILED, SkipReason.DROPPED)
    return record.has_output


def longest_gap_sec(expected: Sequence[int], outputs: Sequence[int]) -> float | None:
    """Return the longest time without output, from the first expected stamp to the last, in seconds."""
    if len(expected) < 2:
        return None
    stamps = np.sort(np.array([min(expected), *outputs, max(expected)], np.int64))
    return round(float(np.diff(stamps).max()) * 1e-9, 6)


def _ground_truth(scored: ScoredBag) -> GroundTruthSection | None:
    truth = scored.truth
    if truth is None:
        return None
    return {
        "source": truth.source,
        "kind": truth.kind,
        "frames": len(truth.stamps),
        "boxes": sum(map(len, truth.boxes)),
        "matched": scored.matched,
        "duplicates": truth.duplicates,
        "tolerance_ms": round(scored.tolerance_ns * 1e-6, 6),
        "unknown_classes": scored.unknown_classes or {},
        "digest": scored.digest,
    }


def _camera(bag: CollectedBag, camera: str) -> CameraSection:
    fates = [fate for fate in bag.fates if fate.camera == camera]
    reasons = Counter(fate.reason for fate in fates)
    period_ns = bag.period_ns(camera)
    return {
        "topic": bag.topics[camera],
        "frames": len(fates),
        "period_ms": None if period_ns is None else round(period_ns * 1e-6, 3),
        "paired": sum(fate.reason is None and fate.paired for fate in fates),
        "alone": sum(fate.reason is None and not fate.paired for fate in fates),
        "unpaired": reasons[SkipReason.UNPAIRED],
        "late": reasons[SkipReason.LATE],
        "refused": reasons[SkipReason.REFUSED],
        "corrupt": reasons[SkipReason.CORRUPT],
        "frozen": reasons[SkipReason.FROZEN],
    }


def _modes(records: Sequence[FrameRecord]) -> dict[str, ModeSection]:
    outputs = [record for record in records if record.has_output]
    if not outputs:
        return {}
    stamps = np.array([record.stamp_ns for record in outputs], np.int64)
    gaps = np.clip(np.diff(stamps), 0, _MOST_COVERED_NS)
    last = float(np.median(gaps)) if len(gaps) else 0.0
    covered = np.append(gaps, last)
    frames = [record.stamp_ns for record in records if is_expected(record)]
    whole = max(float(covered.sum()), max(frames) - min(frames) + last)
    modes: dict[str, ModeSection] = {}
    for mode in sorted({record.mode for record in outputs if record.mode is not None}):
        mask = np.array([record.mode == mode for record in outputs], bool)
        modes[mode] = {
            "frames": int(mask.sum()),
            "share_of_frames": float(mask.mean()),
            "share_of_time": float(covered[mask].sum()) / whole if whole else float(mask.mean()),
        }
    return modes


def _outcomes(records: Sequence[FrameRecord]) -> dict[str, int | dict[str, int]]:
    skipped = Counter(record.reason.value for record in records if record.reason is not None)
    evaluated = sum(record.outcome is Outcome.EVALUATED for record in records)
    return {"evaluated": evaluated, "skipped": dict(sorted(skipped.items()))}


def _detections(records: Sequence[FrameRecord], class_names: Sequence[str]) -> dict[str, int | dict[str, int]]:
    per_class = dict.fromkeys(class_names, 0)
    for record in records:
        for name, count in (record.detections or {}).items():
            per_class[name] += count
    return {"total": sum(per_class.values()), "per_class": per_class}


def _output(records: Sequence[FrameRecord]) -> OutputSection:
    expected = [record for record in records if is_expected(record)]
    outputs = [record.stamp_ns for record in expected if record.has_output]
    return {
        "expected": len(expected),
        "with_output": len(outputs),
        "share_without_output": ratio(len(expected) - len(outputs), len(expected)),
        "longest_gap_sec": longest_gap_sec([record.stamp_ns for record in expected], outputs),
    }


def _timing(records: Sequence[FrameRecord]) -> dict[str, Distribution]:
    stages = sorted({name for record in records for name in record.times_ms})
    timing = {stage: distribution(record.times_ms.get(stage) for record in records) for stage in stages}
    timing["latency"] = distribution(record.latency_ms for record in records)
    return timing


def _live(frames: Sequence[CollectedFrame], scored: ScoredBag, speed: float, *, note: bool) -> LiveSection | None:
    timed = [frame for frame in frames if frame.computing_ms is not None and frame.released_ns is not None]
    if not timed:
        return None
    timed.sort(key=lambda frame: frame.released_ns or 0)
    run = simulate_live(
        [frame.released_ns or 0 for frame in timed], [frame.computing_ms or 0.0 for frame in timed], speed=speed
    )
    if note:
        for frame, dropped in zip(timed, run.dropped.tolist(), strict=True):
            frame.record.live_dropped = dropped
    kept = [frame.record for frame, dropped in zip(timed, run.dropped.tolist(), strict=True) if not dropped]
    lost = frozenset(frame.record.index for frame, dropped in zip(timed, run.dropped.tolist(), strict=True) if dropped)
    # The times of pairing are those of the recorded clock, which runs faster in a replay.
    waits = np.array([record.times_ms.get("pairing", 0.0) / speed for record in kept], np.float64)
    expected = [record.stamp_ns for record in scored.records if is_expected(record)]
    return {
        "speed": speed,
        "results": len(timed),
        "dropped": len(lost),
        "share_dropped": ratio(len(lost), len(timed)),
        "latency_ms": distribution((run.delay_ms + waits).tolist()),
        "longest_gap_sec": longest_gap_sec(expected, [record.stamp_ns for record in kept]),
        "recall_all_frames": None
        if scored.truth is None
        else recall_all_frames(scored.records, scored.table.class_names, dropped=lost),
    }
