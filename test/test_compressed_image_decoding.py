# SPDX-License-Identifier: Apache-2.0
"""Decoding of compressed images, whole, cut short and damaged."""

from __future__ import annotations

import array
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.streams.compressed_image_decoding import check_compressed_image, decode_compressed_image
from fusion_mamba_ros.streams.image_decoding import ImageDecodingError

Array = npt.NDArray[Any]
HEIGHT, WIDTH = 24, 32


def scene(seed: int = 0) -> Array:
    print(f"seed {seed}")
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def encoded(extension: str, pixels: Array) -> bytes:
    return cv2.imencode(extension, pixels)[1].tobytes()


def test_a_png_gives_back_colours_and_16_bit_counts_exactly() -> None:
    rgb = scene()
    np.testing.assert_array_equal(decode_compressed_image(encoded(".png", rgb[..., ::-1]), "png").pixels, rgb)
    counts = np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH), np.uint16)
    image = decode_compressed_image(array.array("B", encoded(".png", counts)), "16UC1; png compressed")
    np.testing.assert_array_equal(image.to_thermal(), counts)
    alpha = np.dstack([rgb[..., ::-1], rgb[..., 0]])
    np.testing.assert_array_equal(decode_compressed_image(encoded(".png", alpha)).pixels, rgb)


def test_a_jpeg_gives_back_colour_or_grey() -> None:
    rgb = np.broadcast_to(np.array([200, 120, 40], np.uint8), (HEIGHT, WIDTH, 3))
    decoded = decode_compressed_image(encoded(".jpg", rgb[..., ::-1]), "rgb8; jpeg compressed bgr8").pixels
    assert np.abs(decoded.astype(int) - rgb).max() <= 4
    assert decode_compressed_image(encoded(".jpg", rgb[..., 0]), "jpeg").pixels.shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_compressed_image_cut_short_is_refused(extension: str, share: float) -> None:
    data = encoded(extension, scene())
    for call in (check_compressed_image, decode_compressed_image):
        with pytest.raises(ImageDecodingError, match="compressed image"):
            call(data[: int(share * len(data))], extension)


def test_every_damaged_byte_of_a_png_is_noticed() -> None:
    good = np.frombuffer(encoded(".png", scene()), np.uint8)
    rng = np.random.default_rng(5)
    for at in rng.integers(0, len(good), 200):
        data = good.copy()
        data[at] ^= np.uint8(rng.integers(1, 256))
        with pytest.raises(ImageDecodingError):
            decode_compressed_image(data, "png")


def test_the_check_before_decoding_reads_the_ends_of_a_png_only(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(encoded(".png", scene()))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageDecodingError, match="the checksums of its chunks are wrong"):
        decode_compressed_image(bytes(data), "png")

    def refuse(data: bytes) -> int:
        raise AssertionError("a checksum is computed over the whole file")

    monkeypatch.setattr(zlib, "crc32", refuse)
    check_compressed_image(bytes(data), "png")


def test_a_compressed_image_of_noise_is_refused_or_decoded_but_never_crashes() -> None:
    rng = np.random.default_rng(4)
    good = {extension: np.frombuffer(encoded(extension, scene()), np.uint8) for extension in (".jpg", ".png")}
    refused = 0
    for i in range(200):
        data = good[".jpg" if i % 2 else ".png"].copy()
        data[rng.integers(0, len(data), 20)] = rng.integers(0, 256, 20)
        try:
            assert decode_compressed_image(data).pixels.ndim in (2, 3)
        except ImageDecodingError:
            refused += 1
    assert refused > 0
    with pytest.raises(ImageDecodingError, match="cannot be decoded"):
        decode_compressed_image(rng.integers(0, 256, 5000, np.uint8), "jpeg")


def test_a_header_that_claims_gigapixels_is_refused_before_memory_is_taken() -> None:
    png = bytearray(encoded(".png", scene()))
    png[16:24] = struct.pack(">II", 30000, 30000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    jpeg = bytearray(encoded(".jpg", scene()))
    start_of_frame = jpeg.index(b"\xff\xc0")
    jpeg[start_of_frame + 5 : start_of_frame + 9] = struct.pack(">HH", 60000, 60000)
    for data, size in ((png, "30000x30000"), (jpeg, "60000x60000")):
        with pytest.raises(ImageDecodingError, match=size):
            decode_compressed_image(bytes(data))


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_a_large_picture_of_one_colour_is_not_taken_for_a_damaged_one(extension: str) -> None:
    picture = np.full((3000, 4000), 17, np.uint8)
    assert decode_compressed_image(encoded(extension, picture)).pixels.shape == (3000, 4000)
