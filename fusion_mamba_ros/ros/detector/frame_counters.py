# SPDX-License-Identifier: Apache-2.0
"""The frame counters of one camera, over pairing and inference together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from fusion_mamba_ros.ros.detector.frame_ledger import FrameLedger, Outcome
from fusion_mamba_ros.streams.frames import Camera
from fusion_mamba_ros.streams.pairing import Pairing


@dataclass(frozen=True)
class FrameCounters:
    """The frame counters of one camera. `CameraCounters.msg` defines the fields."""

    received: int = 0
    paired: int = 0
    alone: int = 0
    unpaired: int = 0
    late: int = 0
    refused: int = 0
    dropped: int = 0
    failed: int = 0
    waiting: int = 0

    def items(self) -> Iterator[tuple[str, int]]:
        """Iterate over the names and counts."""
        return ((field.name, getattr(self, field.name)) for field in fields(self))


def count_frames(pairing: Pairing, ledger: FrameLedger) -> tuple[dict[Camera, FrameCounters], int]:
    """Return the counters of both cameras and the number of published arrays.

    ``received`` equals the sum of the other counters.
    """
    # Read the ledger first: a frame is released before its outcome is recorded, so pairing has counted all of them.
    outcomes, published = ledger.snapshot()
    queues = pairing.counters()
    counters = {}
    for camera, recorded in outcomes.items():
        queue = queues.rgb if camera is Camera.RGB else queues.thermal
        counters[camera] = FrameCounters(
            received=queue.received,
            paired=recorded[Outcome.PAIRED],
            alone=recorded[Outcome.ALONE],
            unpaired=queue.unpaired + recorded[Outcome.UNPAIRED],
            late=queue.late,
            refused=queue.refused + recorded[Outcome.REFUSED],
            dropped=recorded[Outcome.DROPPED],
            failed=recorded[Outcome.FAILED],
            waiting=queue.queued + queue.paired + queue.alone - recorded.total(),
        )
    return counters, published
