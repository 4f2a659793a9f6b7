# SPDX-License-Identifier: Apache-2.0
"""The matching rule: which frames of two cameras, laid on one time line, belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Match:
    """Frame ``rgb`` of one sequence belongs to frame ``thermal`` of the other.

    ``settled``: no frame that can still be expected would change this.
    """

    rgb: int
    thermal: int
    settled: bool


def match_timeline(
    rgb_ns: Sequence[int],
    thermal_ns: Sequence[int],
    max_offset_ns: int,
    next_expected_ns: Callable[[bool], int | None] = lambda is_rgb: None,
) -> list[Match]:
    """Return the pairs of two increasing sequences of stamps, in time order.

    On the merged time line every gap between neighbours of different cameras, no longer than ``max_offset_ns``, is a
    possible pair. The shortest gap is taken first, ties to the earlier, and a frame is used once: each pair is nearest
    in both directions among the frames that are still free, and pairs never cross.

    Frames come in order on each side, so one gap at most is open to change: the one whose earlier frame is the newest
    of its side, since the next frame of that side may be nearer. ``next_expected_ns(is_rgb)`` gives the earliest stamp
    expected next on a side, None if unknown. What depends on an open gap is not settled.
    """
    line = sorted(
        [(stamp, 0, i) for i, stamp in enumerate(rgb_ns)] + [(stamp, 1, i) for i, stamp in enumerate(thermal_ns)]
    )
    gaps = [b[0] - a[0] if a[1] != b[1] and b[0] - a[0] <= max_offset_ns else None for a, b in pairwise(line)]

    taken = [False] * len(line)
    chosen = []
    for _, i in sorted((gap, i) for i, gap in enumerate(gaps) if gap is not None):
        if not (taken[i] or taken[i + 1]):
            taken[i] = taken[i + 1] = True
            chosen.append(i)

    first_unsettled = _first_unsettled_gap(line, gaps, next_expected_ns)
    matches = []
    for i in sorted(chosen):
        a, b = line[i], line[i + 1]
        rgb, thermal = (a, b) if a[1] == 0 else (b, a)
        matches.append(Match(rgb[2], thermal[2], settled=i < first_unsettled))
    return matches


def _first_unsettled_gap(
    line: list[tuple[int, int, int]],
    gaps: list[int | None],
    next_expected_ns: Callable[[bool], int | None],
) -> int:
    """Return the index of the first gap whose fate a coming frame may change, ``len(gaps)`` if there is none."""
    open_gap = next(
        (i for i in range(len(gaps) - 1, -1, -1) if line[i][1] != line[i + 1][1]),
        len(gaps),
    )
    if open_gap == len(gaps) or gaps[open_gap] is None:
        return len(gaps)
    (earlier_ns, side, _), (later_ns, _, _) = line[open_gap], line[open_gap + 1]
    expected_ns = next_expected_ns(side == 0)
    if later_ns == earlier_ns or (expected_ns is not None and expected_ns >= 2 * later_ns - earlier_ns):
        return len(gaps)
    # A longer gap before it gets its frame back if the open one loses it, and so on down the chain.
    first = open_gap
    while first > 0:
        before, here = gaps[first - 1], gaps[first]
        if before is None or here is None or before <= here:
            break
        first -= 1
    return first
