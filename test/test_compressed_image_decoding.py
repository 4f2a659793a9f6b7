# SPDX-License-Identifier: Apache-2.0
"""Decoding of compressed images, whole, cut short and damaged."""

from __future__ import annotations

import array
import os
import re
import resource
import struct
import threading
import zlib
from typing import Any

import cv2
import hostile_files
import numpy as np
import numpy.typing as npt
import pytest

from fusion_mamba_ros.streams.compressed_image_decoding import check_compressed_image, decode_compressed_image
from fusion_mamba_ros.streams.decoder_output import run_decoder
from fusion_mamba_ros.streams.image_decoding import ImageDecodingError

Array = npt.NDArray[Any]
HEIGHT, WIDTH = 24, 32


def scene(seed: int = 0) -> Array:
    print(f"seed {seed}")
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def encoded(extension: str, pixels: Array) -> bytes:
    return bytes(cv2.imencode(extension, pixels)[1])


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
def test_a_large_image_of_one_colour_is_not_taken_for_a_damaged_one(extension: str) -> None:
    image = np.full((3000, 4000), 17, np.uint8)
    assert decode_compressed_image(encoded(extension, image)).pixels.shape == (3000, 4000)


def progressive(pixels: Array) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


BOMBS = {
    "BMP": (hostile_files.bmp(30_000, 30_000), "neither JPEG nor PNG"),
    "PNG": (hostile_files.png(10_000, 10_000), "too large: 10000x10000"),
    "16-bit PNG": (hostile_files.png(9_000, 9_000, bits=16), "too large: 9000x9000"),
    "16-bit colour PNG": (hostile_files.png(6_000, 6_000, bits=16, colour=6), "too large: 6000x6000 pixels of 64 bits"),
    "GIF": (b"GIF89a\xff\xff\xff\xff" + bytes(100), "neither JPEG nor PNG"),
    "TIFF": (b"II*\x00" + bytes(100), "neither JPEG nor PNG"),
    "PNG without header": (b"\x89PNG\r\n\x1a\n" + hostile_files.png_chunk(b"IEND", b""), "names no size"),
    "JPEG without frame": (b"\xff\xd8\xff\xd9", "names no size"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_few_bytes_cannot_take_gigabytes(kind: str) -> None:
    data, reason = BOMBS[kind]
    before = peak_mb()
    for call in (check_compressed_image, decode_compressed_image):
        with pytest.raises(ImageDecodingError, match=reason):
            call(data, "jpeg")
    assert peak_mb() - before < 20


def test_images_up_to_the_limit_are_decoded() -> None:
    assert decode_compressed_image(hostile_files.png(8_000, 8_000)).pixels.shape == (8_000, 8_000)


def test_an_animation_is_refused() -> None:
    png = hostile_files.png(8, 8)
    control = hostile_files.png_chunk(b"acTL", struct.pack(">II", 2, 0))
    with pytest.raises(ImageDecodingError, match="animation"):
        decode_compressed_image(png[:33] + control + png[33:])


def test_a_progressive_jpeg_is_decoded_only_with_all_its_scans() -> None:
    data = progressive(cv2.GaussianBlur(np.tile(scene(), (8, 8, 1)), (0, 0), 3))
    assert decode_compressed_image(data).pixels.shape == (8 * HEIGHT, 8 * WIDTH, 3)
    scans = [match.start() for match in re.finditer(rb"\xff\xda", data)]
    assert len(scans) > 5
    for start in scans[1:]:
        with pytest.raises(ImageDecodingError, match="scans of the progressive image are missing"):
            decode_compressed_image(data[:start] + b"\xff\xd9")
    for share in (0.2, 0.5, 0.8, 0.97):
        with pytest.raises(ImageDecodingError):
            decode_compressed_image(data[: int(share * len(data))] + b"\xff\xd9")


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    data = progressive(scene())
    last = data.rindex(b"\xff\xda")
    with pytest.raises(ImageDecodingError, match="more than 100 scans"):
        decode_compressed_image(data[:-2] + data[last:-2] * 1000 + b"\xff\xd9")


@pytest.mark.parametrize("damage", ["cut", "a marker in the data", "bad colour profile", "extraneous bytes"])
def test_decoders_print_nothing_and_lost_data_is_an_error(damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    jpeg = bytearray(encoded(".jpg", np.tile(scene(), (4, 4, 1))))
    if damage == "cut":
        data = bytes(jpeg[: len(jpeg) // 2]) + b"\xff\xd9"
    elif damage == "a marker in the data":
        jpeg[len(jpeg) // 2 : len(jpeg) // 2 + 2] = b"\xff\xd3"
        data = bytes(jpeg)
    elif damage == "extraneous bytes":
        data = bytes(jpeg[:-2]) + bytes(50) + b"\xff\xd9"
    else:
        png = hostile_files.png(8, 8)
        data = png[:33] + hostile_files.png_chunk(b"iCCP", b"abc\0\0junkjunk") + png[33:]
    if damage in ("cut", "a marker in the data"):
        with pytest.raises(ImageDecodingError, match="is damaged: Corrupt JPEG data"):
            decode_compressed_image(data)
    else:
        # The whole image is there.
        assert decode_compressed_image(data).pixels.size > 0
    assert capfd.readouterr().err == ""


def test_what_other_threads_print_while_an_image_is_decoded_is_printed_afterwards(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def decode() -> int:
        thread = threading.Thread(target=lambda: os.write(2, b"from a thread\n"))
        thread.start()
        thread.join()
        os.write(2, b"Corrupt JPEG data: premature end of data segment\n")
        return 5

    assert run_decoder(decode) == (5, ["Corrupt JPEG data: premature end of data segment"])
    assert capfd.readouterr().err == "from a thread\n"


def test_stderr_is_as_before_when_the_decoder_raises_and_in_processes_forked_meanwhile(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def refuse() -> None:
        raise MemoryError

    for _ in range(3):
        with pytest.raises(MemoryError):
            run_decoder(refuse)
    stop = threading.Event()

    def decode_on() -> None:
        while not stop.is_set():
            run_decoder(lambda: None)

    thread = threading.Thread(target=decode_on)
    thread.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                run_decoder(lambda: None)
                os.write(2, b"c")
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()
    assert capfd.readouterr().err == "c" * 20


def test_a_process_without_stderr_decodes() -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        assert decode_compressed_image(encoded(".png", scene())).pixels.shape == (HEIGHT, WIDTH, 3)
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def test_the_format_in_an_error_is_escaped_and_short() -> None:
    with pytest.raises(ImageDecodingError) as raised:
        check_compressed_image(b"", "a\n[ERROR] forged\x1b[31m" + "x" * 10_000)
    assert str(raised.value).isprintable() and len(str(raised.value)) < 200
