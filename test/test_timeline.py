# SPDX-License-Identifier: Apache-2.0
"""The matching rule against a brute force over all pairs, ties and equal stamps included."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fusion_mamba_ros.streams.timeline import match_timeline

stamps = st.lists(st.integers(0, 60), max_size=9, unique=True).map(sorted)


def closest_first(rgb: list[int], thermal: list[int], max_offset: int) -> list[tuple[int, int]]:
    """Try every possible pair of the whole, closest first, ties to the earlier; refuse used frames and crossings."""
    chosen: list[tuple[int, int]] = []
    candidates = [(abs(r - t), min(r, t), r, t) for r in rgb for t in thermal if abs(r - t) <= max_offset]
    for _, _, r, t in sorted(candidates):
        if all((r < r2 and t < t2) or (r > r2 and t > t2) for r2, t2 in chosen):
            chosen.append((r, t))
    return sorted(chosen)


@given(stamps, stamps, st.integers(0, 30))
def test_equals_a_brute_force_over_all_pairs(rgb: list[int], thermal: list[int], max_offset: int) -> None:
    matches = [(rgb[m.rgb], thermal[m.thermal]) for m in match_timeline(rgb, thermal, max_offset)]
    assert matches == closest_first(rgb, thermal, max_offset)


@given(stamps, stamps, st.integers(0, 30))
def test_frames_that_are_each_others_nearest_are_always_paired(
    rgb: list[int], thermal: list[int], max_offset: int
) -> None:
    matches = {(rgb[m.rgb], thermal[m.thermal]) for m in match_timeline(rgb, thermal, max_offset)}
    for r in rgb:
        for t in thermal:
            alone = all(abs(r - x) > abs(r - t) for x in thermal if x != t) and all(
                abs(t - x) > abs(r - t) for x in rgb if x != r
            )
            if alone and abs(r - t) <= max_offset:
                assert (r, t) in matches


@given(stamps, stamps, st.integers(0, 30), st.integers(1, 20), st.integers(1, 20), st.data())
def test_final_pairs_stay_whatever_the_expected_frames_bring(
    rgb: list[int], thermal: list[int], max_offset: int, rgb_period: int, thermal_period: int, data: st.DataObject
) -> None:
    def next_expected(is_rgb: bool) -> int | None:
        seen, period = (rgb, rgb_period) if is_rgb else (thermal, thermal_period)
        return seen[-1] + period if seen else None

    now = match_timeline(rgb, thermal, max_offset, next_expected)
    more_rgb = rgb[:]
    more_thermal = thermal[:]
    for more, period in ((more_rgb, rgb_period), (more_thermal, thermal_period)):
        for gap in data.draw(st.lists(st.integers(period, 3 * period), max_size=4)):
            more.append((more[-1] if more else 0) + gap)
    later = {(more_rgb[m.rgb], more_thermal[m.thermal]) for m in match_timeline(more_rgb, more_thermal, max_offset)}
    assert {(rgb[m.rgb], thermal[m.thermal]) for m in now if m.final} <= later


def test_no_pair_is_final_while_a_nearer_frame_may_still_come() -> None:
    assert [m.final for m in match_timeline([0], [20], 50, lambda is_rgb: 33)] == [False]
    assert [m.final for m in match_timeline([0], [16], 50, lambda is_rgb: 33)] == [True]
    assert [m.final for m in match_timeline([0], [16], 50)] == [False]
    assert [m.final for m in match_timeline([0, 33], [16], 50)] == [True]
    assert [m.final for m in match_timeline([0, 100], [50], 50)] == [True]


def test_cameras_exactly_half_a_period_apart_pair_every_frame() -> None:
    matches = match_timeline(list(range(0, 1000, 100)), list(range(50, 1050, 100)), 50)
    assert [(m.rgb, m.thermal) for m in matches] == [(i, i) for i in range(10)]
