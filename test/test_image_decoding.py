# SPDX-License-Identifier: Apache-2.0
"""Decoding of image messages against encoders and a demosaicing written here, and of broken messages."""

from __future__ import annotations

import array
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.streams.image_decoding import (
    ENCODINGS,
    Image,
    ImageDecodingError,
    decode_image,
)

Array = npt.NDArray[Any]
HEIGHT, WIDTH = 24, 32
SWAPPED = sys.byteorder == "little"


def scene(seed: int = 0) -> Array:
    print(f"seed {seed}")
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def decode(data: Any, encoding: str, *, step: int, is_bigendian: bool = False, **size: int) -> Image:
    fields = {"height": HEIGHT, "width": WIDTH} | size
    return decode_image(encoding=encoding, step=step, is_bigendian=is_bigendian, data=data, **fields)


def padded(rows: Array, padding: int) -> tuple[bytes, int]:
    """Return the bytes of an array (rows, ...) with ``padding`` bytes of noise after each row, and the step."""
    flat = np.ascontiguousarray(rows).reshape(rows.shape[0], -1).view(np.uint8)
    noise = np.full((rows.shape[0], padding), 173, np.uint8)
    return np.hstack([flat, noise]).tobytes(), flat.shape[1] + padding


PACKINGS: dict[str, Callable[[npt.NDArray[np.uint8]], npt.NDArray[Any]]] = {
    "rgb8": lambda rgb: rgb,
    "bgr8": lambda rgb: rgb[..., [2, 1, 0]],
    "8UC3": lambda rgb: rgb[..., [2, 1, 0]],
    "rgba8": lambda rgb: np.dstack([rgb, np.full(rgb.shape[:2], 7, np.uint8)]),
    "bgra8": lambda rgb: np.dstack([rgb[..., [2, 1, 0]], np.full(rgb.shape[:2], 7, np.uint8)]),
    "8UC4": lambda rgb: np.dstack([rgb[..., [2, 1, 0]], np.full(rgb.shape[:2], 7, np.uint8)]),
    "rgb16": lambda rgb: rgb.astype(np.uint16) * 256 + 99,
    "bgr16": lambda rgb: rgb[..., [2, 1, 0]].astype(np.uint16) * 256 + 99,
}


@pytest.mark.parametrize("encoding", PACKINGS)
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("is_bigendian", [False, True])
def test_colour_encodings_give_the_same_rgb_image(encoding: str, padding: int, is_bigendian: bool) -> None:
    rgb = scene()
    packed = PACKINGS[encoding](rgb)
    if is_bigendian == SWAPPED:
        packed = packed.byteswap()
    data, step = padded(packed, padding)
    image = decode(data, encoding, step=step, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(image.pixels, rgb)
    np.testing.assert_array_equal(image.to_rgb(), rgb)
    assert (image.height, image.width) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize("is_bigendian", [False, True])
def test_16_bit_thermal_is_read_in_both_byte_orders(encoding: str, padding: int, is_bigendian: bool) -> None:
    counts = np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
    data, step = padded(counts.astype(">u2" if is_bigendian else "<u2"), padding)
    image = decode(data, encoding, step=step, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(image.to_thermal(), counts)
    assert image.to_thermal().dtype == np.uint16
    assert image.to_thermal().dtype.isnative
    # Scaling and resizing use OpenCV, which needs the byte order of the machine.
    np.testing.assert_array_equal(cv2.flip(cv2.flip(image.to_thermal(), 0), 0), counts)
    np.testing.assert_array_equal(image.to_rgb()[..., 1], counts // 256)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
@pytest.mark.parametrize("padding", [0, 5])
def test_8_bit_thermal_is_read_as_it_is(encoding: str, padding: int) -> None:
    grey = scene()[..., 0]
    data, step = padded(grey, padding)
    image = decode(data, encoding, step=step)
    np.testing.assert_array_equal(image.to_thermal(), grey)
    np.testing.assert_array_equal(image.to_rgb(), np.dstack([grey] * 3))


def test_infrared_sent_in_three_channels_is_read_by_its_luma() -> None:
    grey = scene()[..., 0]
    data, step = padded(np.dstack([grey] * 3), 0)
    np.testing.assert_array_equal(decode(data, "bgr8", step=step).to_thermal(), grey)
    rgb = scene(2)
    data, step = padded(rgb, 0)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(decode(data, "rgb8", step=step).to_thermal() - luma).max() <= 1


FIRST_ROWS = {"rggb": ("rg", "gb"), "bggr": ("bg", "gr"), "gbrg": ("gb", "rg"), "grbg": ("gr", "bg")}


def mosaic(rgb: Array, pattern: str) -> Array:
    """Return what a sensor behind a Bayer filter sees; the pattern names the first two rows, as ROS does."""
    raw = np.empty(rgb.shape[:2], rgb.dtype)
    for y, row in enumerate(FIRST_ROWS[pattern]):
        for x, colour in enumerate(row):
            raw[y::2, x::2] = rgb[y::2, x::2, "rgb".index(colour)]
    return raw


@pytest.mark.parametrize("pattern", FIRST_ROWS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("is_bigendian", [False, True])
def test_bayer_patterns_give_back_a_image_of_one_colour(pattern: str, bits: int, is_bigendian: bool) -> None:
    colour = np.array([200, 120, 40])
    flat: npt.NDArray[Any] = np.broadcast_to(colour, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    if bits == 16:
        flat = flat.astype(np.uint16) * 256 + 17
    raw = mosaic(flat, pattern)
    data, step = padded(raw.astype((">" if is_bigendian else "<") + f"u{bits // 8}"), 4)
    image = decode(data, f"bayer_{pattern}{bits}", step=step, is_bigendian=is_bigendian)
    np.testing.assert_array_equal(image.pixels, np.broadcast_to(colour, (HEIGHT, WIDTH, 3)))


@pytest.mark.parametrize("pattern", FIRST_ROWS)
def test_bayer_images_are_interpolated_between_neighbours_of_the_same_colour(pattern: str) -> None:
    ramp = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    ramp[..., 0] = 4 * np.arange(WIDTH)
    ramp[..., 1] = 5 * np.arange(HEIGHT)[:, None]
    ramp[..., 2] = 250 - 6 * np.arange(WIDTH)
    data, step = padded(mosaic(ramp, pattern), 0)
    inner = (slice(2, -2), slice(2, -2))
    decoded = decode(data, f"bayer_{pattern}8", step=step).pixels[inner].astype(int)
    assert np.abs(decoded - ramp[inner]).max() <= 1


def studio_yuv(rgb: Array) -> tuple[Array, Array, Array]:
    """Return Y, U, V of ITU-R BT.601 in studio range (Y 16..235), the meaning of the camera formats, by its formula."""
    r, g, b = (rgb[..., i] / 255.0 for i in range(3))
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    y = 16 + 219 * luma
    u = 128 + 224 * 0.5 * (b - luma) / (1 - 0.114)
    v = 128 + 224 * 0.5 * (r - luma) / (1 - 0.299)
    return tuple(np.round(plane).astype(np.uint8) for plane in (y, u, v))  # type: ignore[return-value]


def blocks() -> Array:
    """Return an image whose colours are constant over 2x2 pixels, so that halved chroma loses nothing."""
    small = np.random.default_rng(3).integers(30, 225, (HEIGHT // 2, WIDTH // 2, 3), np.uint8)
    return small.repeat(2, 0).repeat(2, 1)


def interleave(first: Array, second: Array) -> Array:
    return np.stack([first, second], -1).reshape(first.shape[0], -1)


YUV_PACKINGS: dict[str, Callable[..., npt.NDArray[Any]]] = {
    "yuv422": lambda y, u, v: interleave(interleave(u[:, ::2], v[:, ::2]), y),
    "uyvy": lambda y, u, v: interleave(interleave(u[:, ::2], v[:, ::2]), y),
    "yuv422_yuy2": lambda y, u, v: interleave(y, interleave(u[:, ::2], v[:, ::2])),
    "yuyv": lambda y, u, v: interleave(y, interleave(u[:, ::2], v[:, ::2])),
    "nv12": lambda y, u, v: np.vstack([y, interleave(u[::2, ::2], v[::2, ::2])]),
    "nv21": lambda y, u, v: np.vstack([y, interleave(v[::2, ::2], u[::2, ::2])]),
    "nv16": lambda y, u, v: np.vstack([y, interleave(u[:, ::2], v[:, ::2])]),
}


@pytest.mark.parametrize("encoding", YUV_PACKINGS)
@pytest.mark.parametrize("padding", [0, 8])
def test_yuv_encodings_give_back_the_colours_that_went_in(encoding: str, padding: int) -> None:
    rgb = blocks()
    data, step = padded(YUV_PACKINGS[encoding](*studio_yuv(rgb)), padding)
    decoded = decode(data, encoding, step=step).pixels
    assert decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - rgb).max() <= 3


def test_every_supported_encoding_is_tested_here() -> None:
    bayer = {f"bayer_{pattern}{bits}" for pattern in FIRST_ROWS for bits in (8, 16)}
    assert set(ENCODINGS) == {*PACKINGS, *YUV_PACKINGS, *bayer, "mono8", "8UC1", "mono16", "16UC1"}


@pytest.mark.parametrize(("encoding", "channels"), [("rgb8", 3), ("mono8", 1), ("mono16", 2)])
@pytest.mark.parametrize("padding", [0, 6])
def test_what_needs_no_conversion_is_not_copied(encoding: str, channels: int, padding: int) -> None:
    data = np.zeros(HEIGHT * (WIDTH * channels + padding), np.uint8)
    image = decode(data, encoding, step=WIDTH * channels + padding, is_bigendian=not SWAPPED)
    assert np.shares_memory(image.pixels, data)
    assert np.shares_memory(image.to_rgb() if encoding == "rgb8" else image.to_thermal(), data)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.asarray, lambda b: array.array("B", b)])
def test_data_may_be_any_buffer(kind: Any) -> None:
    rgb = scene()
    data = rgb.tobytes()
    buffer = np.frombuffer(data, np.uint8) if kind is np.asarray else kind(data)
    np.testing.assert_array_equal(decode(buffer, "rgb8", step=WIDTH * 3).pixels, rgb)


def test_the_last_row_needs_no_padding() -> None:
    rgb = scene()
    data, step = padded(rgb, 6)
    np.testing.assert_array_equal(decode(data[:-6], "rgb8", step=step).pixels, rgb)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoding": "rgb9"}, "'rgb9'"),
        ({"encoding": ""}, "''"),
        ({"encoding": "32FC1"}, "'32FC1'"),
        ({"height": 0}, "32x0"),
        ({"width": 0}, "0x24"),
        ({"step": 95}, "step is 95 .* at least 96"),
        ({"step": 0}, "step is 0"),
        ({"data": bytes(HEIGHT * 96 - 1)}, "2303 bytes"),
        ({"data": b""}, "0 bytes"),
        ({"data": array.array("B")}, "0 bytes"),
        ({"data": [1, 2, 3]}, "list"),
        ({"encoding": "nv12", "height": 23}, "even"),
        ({"encoding": "yuyv", "width": 31}, "even"),
    ],
)
def test_a_broken_message_is_refused_with_one_sentence_that_names_what_is_wrong(
    change: dict[str, Any], said: str
) -> None:
    fields: dict[str, Any] = {"height": HEIGHT, "width": WIDTH, "encoding": "rgb8", "step": WIDTH * 3}
    fields |= {"is_bigendian": False, "data": bytes(HEIGHT * WIDTH * 3)}
    with pytest.raises(ImageDecodingError, match=said) as error:
        decode_image(**(fields | change))
    assert "\n" not in str(error.value)
