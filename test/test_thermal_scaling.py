# SPDX-License-Identifier: Apache-2.0
"""Scaling of thermal counts to grey levels against formulas in float64."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling, ThermalStream, scale_thermal

PERCENTILE = ThermalScaling()


def scene(seed: int, *, offset: float = 0.0, gain: float = 1.0, shape: tuple[int, int] = (120, 160)) -> np.ndarray:
    """A 14-bit image: a cool gradient, a warm square, sensor noise."""
    rng = np.random.default_rng(seed)
    counts = 7000 + 300 * np.linspace(0, 1, shape[1])[None, :] + rng.normal(0, 5, shape)
    counts[40:70, 50:70] += 900
    return np.clip(gain * counts + offset, 0, 65535).astype(np.uint16)


def window_formula(image: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((image.astype(np.float64) - low) / (high - low), 0, 1) * 255


def test_eight_bits_pass_untouched_whatever_the_method() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for method in ("percentile", "range", "passthrough"):
        np.testing.assert_array_equal(scale_thermal(image, ThermalScaling(method=method)), image)
        np.testing.assert_array_equal(ThermalStream(ThermalScaling(method=method)).scale(image), image)


def test_passthrough_keeps_the_high_byte() -> None:
    image = np.array([[0, 255, 256, 40000, 65535]], np.uint16)
    expected = np.array([[0, 0, 1, 156, 255]])
    np.testing.assert_array_equal(scale_thermal(image, ThermalScaling(method="passthrough")), expected)


@pytest.mark.parametrize("low,high", [(0, 65535), (7000, 9000), (7000.5, 7040.25), (60000, 65535)])
def test_range_is_the_linear_window_in_float64(low: float, high: float) -> None:
    seed = 11
    image = np.random.default_rng(seed).integers(0, 65536, (64, 80), dtype=np.uint16)
    scaled = scale_thermal(image, ThermalScaling(method="range", range_min=low, range_max=high))
    assert np.abs(scaled - window_formula(image, low, high)).max() <= 0.51


def test_percentile_is_the_linear_window_between_numpys_percentiles() -> None:
    image = scene(1, shape=(100, 120))  # Small enough that every pixel is counted.
    low, high = np.percentile(image, (0.5, 99.8))
    assert np.abs(scale_thermal(image, PERCENTILE) - window_formula(image, low, high)).max() <= 0.51


def test_percentile_of_a_large_image_is_close_although_sampled() -> None:
    image = scene(2, shape=(512, 640))
    low, high = np.percentile(image, (0.5, 99.8))
    assert np.abs(scale_thermal(image, PERCENTILE) - window_formula(image, low, high)).max() <= 5


def test_dead_and_stuck_pixels_do_not_move_the_percentile_window() -> None:
    image = scene(3)
    broken = image.copy()
    broken[5, 5], broken[70, 80], broken[33, 99] = 0, 65535, 65535
    difference = np.abs(scale_thermal(image, PERCENTILE).astype(int) - scale_thermal(broken, PERCENTILE))
    difference[[5, 70, 33], [5, 80, 99]] = 0
    assert difference.max() <= 2


def test_flat_scene_is_not_amplified_into_noise() -> None:
    image = (8000 + np.random.default_rng(4).integers(-2, 3, (60, 60))).astype(np.uint16)
    scaled = scale_thermal(image, PERCENTILE)
    assert scaled.max() - scaled.min() <= 255 * 5 / 32
    assert abs(float(scaled.mean()) - 127.5) < 16


def test_constant_image_is_finite_grey() -> None:
    scaled = scale_thermal(np.full((20, 20), 7000, np.uint16), PERCENTILE)
    assert len(np.unique(scaled)) == 1


@pytest.mark.parametrize("image", [scene(5), (scene(5) >> 6).astype(np.uint8)])
@pytest.mark.parametrize("method", ["percentile", "range", "passthrough"])
def test_black_hot_is_the_negative(image: npt.NDArray[np.uint16] | npt.NDArray[np.uint8], method: str) -> None:
    white = scale_thermal(image, ThermalScaling(method=method))
    black = scale_thermal(image, ThermalScaling(method=method, polarity="black_hot"))
    np.testing.assert_array_equal(black, 255 - white)


def test_three_channels_are_read_by_their_luma() -> None:
    grey = np.random.default_rng(6).integers(0, 256, (10, 12), dtype=np.uint8)
    np.testing.assert_array_equal(scale_thermal(np.repeat(grey[:, :, None], 3, 2), PERCENTILE), grey)
    np.testing.assert_array_equal(scale_thermal(grey[:, :, None], PERCENTILE), grey)
    red = np.zeros((4, 4, 3), np.uint8)
    red[:, :, 0] = 255
    assert scale_thermal(red, PERCENTILE)[0, 0] == 76  # 0.299 * 255, ITU-R BT.601.


def test_big_endian_counts_give_the_same_image() -> None:
    image = scene(7)
    np.testing.assert_array_equal(scale_thermal(image.astype(">u2"), PERCENTILE), scale_thermal(image, PERCENTILE))


def test_one_image_of_a_stream_is_scaled_like_a_lone_one() -> None:
    np.testing.assert_array_equal(ThermalStream(PERCENTILE).scale(scene(8)), scale_thermal(scene(8), PERCENTILE))


def test_stream_does_not_flicker_when_something_hot_comes_and_goes() -> None:
    stream = ThermalStream(PERCENTILE)
    background = []
    for step in range(40):
        image = scene(step)
        if step % 2:
            image[80:90, 100:110] = 14000
        background.append(stream.scale(image)[5:30, 5:30].mean())
    alone = [scale_thermal(scene(0), PERCENTILE)[5:30, 5:30].mean()]
    hot = scene(0)
    hot[80:90, 100:110] = 14000
    alone.append(scale_thermal(hot, PERCENTILE)[5:30, 5:30].mean())
    steps = np.abs(np.diff(background))
    assert steps.max() < 0.15 * abs(alone[1] - alone[0])


@pytest.mark.parametrize("offset,gain", [(400, 1.0), (-2500, 1.0), (0, 3.0), (0, 0.4)])
def test_stream_follows_a_flat_field_correction_or_gain_switch_at_once(offset: int, gain: float) -> None:
    stream = ThermalStream(PERCENTILE)
    for step in range(10):
        stream.scale(scene(step))
    after = scene(99, offset=offset, gain=gain)
    difference = np.abs(stream.scale(after).astype(int) - scale_thermal(after, PERCENTILE))
    assert difference.mean() < 1


def test_stream_converges_after_a_drift() -> None:
    stream = ThermalStream(PERCENTILE)
    stream.scale(scene(0))
    for step in range(60):
        last = stream.scale(scene(step, offset=100))
    assert np.abs(last.astype(int) - scale_thermal(scene(59, offset=100), PERCENTILE)).mean() < 2


def test_stream_starts_anew_after_reset_and_after_a_change_of_size() -> None:
    stream = ThermalStream(PERCENTILE)
    stream.scale(scene(0))
    stream.reset()
    shifted = scene(1, offset=60)
    np.testing.assert_array_equal(stream.scale(shifted), scale_thermal(shifted, PERCENTILE))
    small = scene(2, offset=100, shape=(80, 100))
    np.testing.assert_array_equal(stream.scale(small), scale_thermal(small, PERCENTILE))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 10), np.uint16),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4,), np.uint8),
    ],
)
def test_image_that_is_no_thermal_image_is_refused(
    image: npt.NDArray[np.uint16] | npt.NDArray[np.float32] | npt.NDArray[np.uint8],
) -> None:
    with pytest.raises(ValueError, match="thermal image has shape"):
        scale_thermal(image, PERCENTILE)


@pytest.mark.parametrize(
    "values,message",
    [
        ({"method": "auto"}, "thermal scaling is 'auto'"),
        ({"polarity": "hot"}, "thermal polarity is 'hot'"),
        ({"range_min": 9000, "range_max": 7000}, "thermal range is 9000 to 7000"),
        ({"low_percentile": 50, "high_percentile": 50}, "thermal percentiles are 50 and 50"),
    ],
)
def test_bad_setting_is_refused_with_the_remedy(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ThermalScaling(**values)


def test_settings_survive_json() -> None:
    scaling = ThermalScaling(method="range", range_min=7000, range_max=9000, polarity="black_hot")
    assert ThermalScaling.from_dict(json.loads(json.dumps(scaling.to_dict()))) == scaling
    with pytest.raises(ValueError, match="unknown keys: colour"):
        ThermalScaling.from_dict({"colour": "ironbow"})
