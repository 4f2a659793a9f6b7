# SPDX-License-Identifier: Apache-2.0
"""Make the record of a result of pairing."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import FrameRecord, Outcome
from fusion_mamba_ros.evaluation.bag_evaluation.pairing_replay import FrameFate, ReleasedResult
from fusion_mamba_ros.streams.frames import Pair


def result_record(result: ReleasedResult, used: Sequence[FrameFate], mode: str | None) -> FrameRecord:
    """Return the record of a result. ``used`` are those of its frames that could be decoded, at least one."""
    item = result.item
    is_pair = len(used) == 2
    received_ns = max(fate.received_ns for fate in used)
    record = FrameRecord(
        0,
        item.stamp_ns,
        Outcome.SKIPPED,
        camera="pair" if is_pair else used[0].camera,
        mode=mode,
        received_ns=received_ns,
        times_ms={"pairing": round((result.released_ns - received_ns) * 1e-6, 3)},
    )
    for fate in used:
        setattr(record, f"{fate.camera}_stamp_ns", fate.stamp_ns)
    if is_pair and isinstance(item, Pair):
        record.offset_ms = round(item.offset_ns * 1e-6, 6)
    return record
