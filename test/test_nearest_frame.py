# SPDX-License-Identifier: Apache-2.0
"""The nearest frame of a queue, against brute force over everything that arrived."""

from __future__ import annotations

import random
from dataclasses import asdict

import pytest

from fusion_mamba_ros.streams.nearest_frame import NearestFrames


def adds_up(frames: NearestFrames) -> dict[str, int]:
    counts = asdict(frames.counters())
    assert counts["received"] == counts["used"] + counts["unused"] + counts["refused"] + counts["waiting"], counts
    assert min(counts.values()) >= 0, counts
    return counts


@pytest.mark.parametrize("seed", range(20))
def test_selection_and_counters_agree_with_brute_force(seed: int) -> None:
    print("seed", seed)
    generator = random.Random(seed)
    size = generator.randint(1, 6)
    frames = NearestFrames(size)
    kept: list[tuple[int, int]] = []
    outcome: dict[int, str] = {}
    malformed = 0
    for number in range(400):
        action = generator.random()
        if action < 0.5:
            # Few different stamps, so that equal ones and jumps back occur.
            stamp_ns = generator.randint(1, 40)
            frames.add(stamp_ns, number)
            kept.append((stamp_ns, number))
            outcome[number] = "waiting"
            if len(kept) > size:
                _, oldest = kept.pop(0)
                outcome[oldest] = "unused" if outcome[oldest] == "waiting" else outcome[oldest]
        elif action < 0.6:
            frames.count_refused()
            malformed += 1
        else:
            wanted_ns, limit_ns = generator.randint(0, 45), generator.randint(0, 8)
            near = [(abs(stamp_ns - wanted_ns), -n) for stamp_ns, n in kept if abs(stamp_ns - wanted_ns) <= limit_ns]
            selected = frames.select(wanted_ns, limit_ns)
            assert (None if selected is None else selected.payload) == (-min(near)[1] if near else None)
            if selected is not None and action < 0.9:
                frames.mark_used(selected)
                outcome[selected.payload] = "used"
            elif selected is not None:
                frames.refuse(selected)
                outcome[selected.payload] = "refused"
                kept = [entry for entry in kept if entry[1] != selected.payload]
        counts = adds_up(frames)
        for name in ("used", "unused", "refused", "waiting"):
            expected = sum(value == name for value in outcome.values()) + (malformed if name == "refused" else 0)
            assert counts[name] == expected, (number, name)


@pytest.mark.parametrize("outcome", ["used", "refused"])
def test_frame_that_leaves_the_queue_while_it_is_decoded_is_counted_once(outcome: str) -> None:
    frames = NearestFrames(1)
    frames.add(10, "first")
    selected = frames.select(10, 0)
    assert selected is not None
    frames.add(20, "second")
    if outcome == "used":
        frames.mark_used(selected)
        frames.mark_used(selected)
    else:
        frames.refuse(selected)
    counts = adds_up(frames)
    assert (counts[outcome], counts["unused"], counts["waiting"]) == (1, 0, 1)


def test_the_limit_is_inclusive() -> None:
    frames = NearestFrames(3)
    frames.add(100, None)
    assert frames.select(150, 50) is not None
    assert frames.select(151, 50) is None


def test_a_smaller_queue_gives_up_the_oldest_arrivals_at_once() -> None:
    frames = NearestFrames(3)
    for stamp_ns in (30, 20, 10):
        frames.add(stamp_ns, stamp_ns)
    frames.queue_size = 1
    selected = frames.select(25, 100)
    assert selected is not None and selected.payload == 10
    assert adds_up(frames)["unused"] == 2
