# SPDX-License-Identifier: Apache-2.0
"""Pairing of a bag gives the results of a live node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from camera_streams import SimulatedCamera, play, two_cameras

from fusion_mamba_ros.evaluation.bag_evaluation.frame_record import SkipReason
from fusion_mamba_ros.evaluation.bag_evaluation.pairing_replay import FrameFate, PairingReplay, RecordedFrame
from fusion_mamba_ros.streams.frames import Pair
from fusion_mamba_ros.streams.pairing import Pairing
from fusion_mamba_ros.streams.pairing_limits import PairingLimits

MS = 1_000_000


def replayed(frames: Iterable[tuple[str, int, int, bool]]) -> tuple[list[FrameFate], list[Any]]:
    """Return the fates of (camera, stamp, receive time, fresh) and the released results."""
    replay = PairingReplay(PairingLimits())
    fates: list[FrameFate] = []
    results: list[Any] = []
    for camera, stamp_ns, received_ns, fresh in frames:
        fates.append(FrameFate(camera, stamp_ns, received_ns))
        results += replay.add(RecordedFrame(fates[-1]), fresh=fresh)
    results += replay.finish()
    return fates, results


@pytest.mark.parametrize("seed", range(3))
def test_the_results_are_those_of_a_live_node(seed: int) -> None:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    thermal = SimulatedCamera(9 if seed else 30, phase_ms=12, jitter_ms=2, drop=0.1)
    frames = two_cameras(SimulatedCamera(30, jitter_ms=2, bursts=0.1), thermal, 8, rng)
    live = play(Pairing(), frames, until_ns=frames[-1].arrival_ns + 10**10)
    fates, results = replayed([(f.camera.value, f.stamp_ns, f.arrival_ns, f.fresh) for f in frames])
    assert [item.item.stamp_ns for item in results] == [item.stamp_ns for _, item in live]
    pairs = [item for item in results if isinstance(item.item, Pair)]
    assert sum(fate.paired for fate in fates) == 2 * len(pairs) > 0
    assert sum(fate.reason is None for fate in fates) == sum(len(item.frames) for item in results)


def test_each_frame_has_the_reason_of_its_fate() -> None:
    frames = [(camera, 1000 + 100 * i, 1000 + 100 * i, True) for i in range(10) for camera in ("rgb", "thermal")]
    frames.insert(9, ("rgb", 1300, 1410, True))  # a stamp that was used
    frames.insert(12, ("rgb", 0, 1510, True))  # no stamp
    frames.insert(15, ("rgb", 9_000, 1610, True))  # ahead of the clock; the next frame does not continue from it
    frames.append(("rgb", 2000, 2000, True))
    frames.append(("thermal", 2000, 2000, False))  # frozen: RGB is released alone
    fates, _ = replayed([(camera, MS * sent, MS * received, fresh) for camera, sent, received, fresh in frames])
    odd = {fate.stamp_ns // MS: fate.reason for fate in fates if fate.reason is not None and fate.stamp_ns is not None}
    assert odd == {
        1300: SkipReason.LATE,
        0: SkipReason.REFUSED,
        9_000: SkipReason.REFUSED,
        2000: SkipReason.FROZEN,
    }
    assert sum(fate.paired for fate in fates) == 20
