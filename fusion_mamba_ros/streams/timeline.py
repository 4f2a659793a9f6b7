# SPDX-License-Identifier: Apache-2.0
"""Match the frames of two cameras by their stamps on a common timeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Match:
    """A pair: the index ``rgb`` into the RGB stamps and the index ``thermal`` into the thermal stamps.

    ``final`` is True if no frame that is still expected can change the pair.
    """

    rgb: int
    thermal: int
    final: bool


def match_timeline(
    rgb_ns: Sequence[int],
    thermal_ns: Sequence[int],
    max_offset_ns: int,
    next_expected_ns: Callable[[bool], int | None] = lambda is_rgb: None,
) -> list[Match]:
    """Return the pairs of two increasing sequences of stamps, in time order.

    All stamps are merged into one timeline. Two neighbours of different cameras are a possible pair if the gap between
    them is at most ``max_offset_ns``. The shortest gap is paired first. Of equal gaps, the earlier one is paired first.
    Each frame is used once. As a result, the frames of each pair are nearest to each other among the free frames, and
    pairs never cross.

    Frames of one camera arrive in order. Therefore at most one gap can still change: the gap whose earlier frame is the
    newest frame of its camera, because the next frame of that camera may be nearer. ``next_expected_ns(is_rgb)``
    returns the earliest expected stamp of that camera's next frame, None if unknown. A pair that depends on an open gap
    is not final.
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

    first_open = _first_open_gap(line, gaps, next_expected_ns)
    matches = []
    for i in sorted(chosen):
        a, b = line[i], line[i + 1]
        rgb, thermal = (a, b) if a[1] == 0 else (b, a)
        matches.append(Match(rgb[2], thermal[2], final=i < first_open))
    return matches


def _first_open_gap(
    line: list[tuple[int, int, int]],
    gaps: list[int | None],
    next_expected_ns: Callable[[bool], int | None],
) -> int:
    """Return the index of the first gap that a future frame can affect, ``len(gaps)`` if there is none."""
    open_gap = next(
        (i for i in range(len(gaps) - 1, -1, -1) if line[i][1] != line[i + 1][1]),
        len(gaps),
    )
    if open_gap == len(gaps) or gaps[open_gap] is None:
        return len(gaps)
    (earlier_ns, camera, _), (later_ns, _, _) = line[open_gap], line[open_gap + 1]
    expected_ns = next_expected_ns(camera == 0)
    if later_ns == earlier_ns or (expected_ns is not None and expected_ns >= 2 * later_ns - earlier_ns):
        return len(gaps)
    # If the open gap loses its frame, a longer gap before it may use that frame. This repeats down the chain.
    first = open_gap
    while first > 0:
        before, here = gaps[first - 1], gaps[first]
        if before is None or here is None or before <= here:
            break
        first -= 1
    return first
