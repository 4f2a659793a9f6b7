# SPDX-License-Identifier: Apache-2.0
"""Each factor moves the pixels as its description says, the same way for the same pair, and level 0 moves none."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.analysis.degradations import (
    DARK_NOISE,
    FACTORS,
    SMOKE_CONTRAST,
    degrade,
    factor_named,
    with_levels,
)
from fusion_mamba_ros.datasets.sample import Sample

SIZE = (160, 120)
CENTRE = np.array(SIZE) / 2


def pair(name: str = "a", thermal: npt.NDArray[np.uint8] | None = None, grey: int = 128) -> Sample:
    rgb = np.full((SIZE[1], SIZE[0], 3), grey, np.uint8)
    return Sample(name, {"rgb": rgb, "thermal": np.full(SIZE[::-1], grey, np.uint8) if thermal is None else thermal})


def dot(x: int, y: int) -> npt.NDArray[np.uint8]:
    image = np.full(SIZE[::-1], 20, np.uint8)
    image[y - 3 : y + 4, x - 3 : x + 4] = 255
    return image


def centroid(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the centre of the bright dot in pixel-corner coordinates, as the boxes have them."""
    weights = np.clip(image.astype(float) - 130, 0, None)
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    found: npt.NDArray[np.float64] = np.array([(weights * xs).sum(), (weights * ys).sum()]) / weights.sum()
    return found


def changed(name: str, level: float, sample: Sample, seed: int = 0) -> npt.NDArray[np.uint8]:
    factor = factor_named(name)
    images = degrade(sample, [(factor, level)], seed)
    for other in set(sample.images) - {factor.modality}:
        assert images[other] is sample.images[other]
    return images[factor.modality]


def contrast(name: str, level: float) -> npt.NDArray[np.float64]:
    """Return the share of the contrast that the factor leaves at each pixel of RGB."""
    dark, bright = (changed(name, level, pair(grey=grey)).astype(float) for grey in (20, 220))
    left: npt.NDArray[np.float64] = (bright - dark)[..., 0] / 200
    return left


@pytest.mark.parametrize("name", FACTORS)
def test_level_0_returns_the_images_themselves_and_a_level_is_the_same_for_the_same_pair(name: str) -> None:
    generator = np.random.default_rng(1)
    rgb, thermal = (generator.integers(0, 256, shape).astype(np.uint8) for shape in ((*SIZE[::-1], 3), SIZE[::-1]))
    factor = FACTORS[name]
    sample = Sample("a", {"rgb": rgb, "thermal": thermal})
    before = rgb.copy(), thermal.copy()
    assert all(degrade(sample, [(factor, 0.0)], 0)[key] is image for key, image in sample.images.items())
    first, again = (degrade(sample, [(factor, factor.levels[-1])], 0) for _ in range(2))
    assert first.keys() == again.keys()
    for key, image in first.items():
        np.testing.assert_array_equal(image, again[key])
    np.testing.assert_array_equal(before[0], rgb)
    np.testing.assert_array_equal(before[1], thermal)
    if not name.endswith("missing"):
        assert not np.array_equal(first[factor.modality], sample.images[factor.modality])


def test_misalignment_shifts_thermal_by_its_level_in_one_direction_for_each_pair() -> None:
    directions = []
    for name in "abcdef":
        sample = pair(name, dot(80, 60))
        moves = [centroid(changed("misalignment", level, sample)) - (80.5, 60.5) for level in (5, 20, 30)]
        for level, move in zip((5, 20, 30), moves, strict=True):
            assert np.hypot(*move) == pytest.approx(level, abs=0.2)
            np.testing.assert_allclose(move / level, moves[0] / 5, atol=0.05)
        directions.append(math.atan2(*moves[0]))
    assert np.ptp(directions) > 0.5


@pytest.mark.parametrize("level", [2, 8])
def test_rotation_turns_thermal_about_its_centre_by_its_level(level: float) -> None:
    signs = set()
    for name in "abcdef":
        before = np.array([120.5, 60.5]) - CENTRE
        after = centroid(changed("rotation", level, pair(name, dot(120, 60)))) - CENTRE
        angle = math.degrees(math.atan2(*after[::-1]) - math.atan2(*before[::-1]))
        assert abs(angle) == pytest.approx(level, abs=0.4)
        assert np.hypot(*after) == pytest.approx(np.hypot(*before), abs=0.3)
        signs.add(angle > 0)
    assert signs == {True, False}


def test_zoom_moves_a_dot_from_or_to_the_centre() -> None:
    ratios = {
        round(float(np.linalg.norm(centroid(changed("zoom", 20, pair(name, dot(110, 70)))) - CENTRE) / 32.27), 2)
        for name in "abcdef"
    }
    assert ratios <= {1.2, 1.21, 1.19, 0.83, 0.84, 0.82} and len({ratio > 1 for ratio in ratios}) == 2


def test_area_that_moved_thermal_does_not_cover_has_the_grey_of_the_letterbox() -> None:
    image = changed("misalignment", 30, pair(thermal=np.full(SIZE[::-1], 200, np.uint8)))
    values, counts = np.unique(image, return_counts=True)
    assert values.tolist() == [114, 200]
    # A shift by (dx, dy) leaves (160 - dx) (120 - dy) pixels covered; dx and dy are the sides of a triangle of 30.
    assert (160 - 30) * 120 - 30 * 120 < counts[1] < 160 * 120


def test_darkness_divides_the_light_by_two_for_each_stop_and_adds_noise() -> None:
    for level in (1, 2, 3):
        assert contrast("darkness", level).mean() == pytest.approx(2.0**-level, abs=0.01)
    noisy = changed("darkness", 1, pair(grey=200)).astype(float)
    assert noisy.mean() == pytest.approx(100, abs=0.5)
    assert noisy[..., 0].std() == pytest.approx(DARK_NOISE / 2, rel=0.1)


def test_haze_takes_its_level_of_contrast_in_the_top_row_and_less_below() -> None:
    for level in (50, 80, 95):
        left = contrast("haze", level)
        assert left[0].mean() == pytest.approx(1 - level / 100, abs=0.01)
        assert left[-1].mean() > left[0].mean()


def test_smoke_fills_the_image_up_to_its_level() -> None:
    left = {level: contrast("smoke", level) for level in (1, 30, 50, 100)}
    np.testing.assert_allclose(left[100], SMOKE_CONTRAST, atol=0.006)
    assert left[1].mean() > 0.999
    assert left[30].mean() > left[50].mean() > left[100].mean()
    # Half of the range of the clouds: every pixel has as much smoke as the cloud there.
    assert left[50].max() == pytest.approx(1, abs=0.01) and left[50].min() == pytest.approx(SMOKE_CONTRAST, abs=0.01)


def test_noise_has_its_level_as_standard_deviation_and_thermal_noise_has_rows_and_columns() -> None:
    rgb = changed("rgb_noise", 20, pair()).astype(float)
    assert rgb[..., 0].std() == pytest.approx(20, rel=0.05)
    np.testing.assert_array_equal(rgb[..., 0], rgb[..., 2])
    thermal = changed("thermal_noise", 20, pair()).astype(float)
    columns, rows = thermal.mean(axis=0), thermal.mean(axis=1)
    assert columns.std() == pytest.approx(10, rel=0.25) and rows.std() == pytest.approx(10, rel=0.25)
    rest = thermal - columns - rows[:, None] + thermal.mean()
    assert rest.std() == pytest.approx(20, rel=0.05)


def test_thermal_contrast_shrinks_about_the_mean() -> None:
    ramp = np.tile(np.linspace(40, 200, SIZE[0]).astype(np.uint8), (SIZE[1], 1))
    after = changed("thermal_contrast", 80, pair(thermal=ramp)).astype(float)
    assert np.polyfit(ramp.ravel().astype(float), after.ravel(), 1)[0] == pytest.approx(0.2, abs=0.01)
    assert after.mean() == pytest.approx(ramp.mean(), abs=0.5)
    assert np.ptp(changed("thermal_contrast", 100, pair(thermal=ramp))) == 0


def test_pairs_that_lack_an_image_at_one_level_lack_it_at_all_higher_levels() -> None:
    missing = {
        level: {n for n in map(str, range(300)) if "rgb" not in degrade(pair(n), [(FACTORS["rgb_missing"], level)], 0)}
        for level in (25, 50, 100)
    }
    # Four standard deviations of a binomial count.
    for level, names in missing.items():
        share = level / 100
        assert abs(len(names) - 300 * share) <= 4 * math.sqrt(300 * share * (1 - share))
    assert missing[25] < missing[50] < missing[100]


def test_faults_of_both_cameras_at_once_are_the_two_faults() -> None:
    sample = pair(thermal=dot(80, 60))
    steps = [(FACTORS["darkness"], 2.0), (FACTORS["misalignment"], 10.0), (FACTORS["thermal_noise"], 5.0)]
    images = degrade(sample, steps, 3)
    np.testing.assert_array_equal(images["rgb"], changed("darkness", 2, sample, seed=3))
    moved = Sample("a", {"rgb": images["rgb"], "thermal": changed("misalignment", 10, sample, seed=3)})
    np.testing.assert_array_equal(images["thermal"], changed("thermal_noise", 5, moved, seed=3))


def test_level_out_of_range_and_unknown_factor_get_one_sentence() -> None:
    with pytest.raises(ValueError, match="level 120 of haze: give 0 to 100"):
        with_levels(FACTORS["haze"], [120])
    with pytest.raises(ValueError, match="level -1 of darkness: give 0 or more"):
        degrade(pair(), [(FACTORS["darkness"], -1)], 0)
    with pytest.raises(ValueError, match="factor 'fog' is not known: choose misalignment, rotation"):
        factor_named("fog")
