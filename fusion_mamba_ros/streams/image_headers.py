# SPDX-License-Identifier: Apache-2.0
"""Read JPEG and PNG headers, and find damage and excessive image sizes before decoding."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
PNG_SIGNATURE, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
MOST_PIXELS = 64_000_000
# Size of MOST_PIXELS pixels with three channels of 8 bits.
MOST_DECODED_BYTES = 3 * MOST_PIXELS
# Upper limit: deflate (1032:1) and JPEG's shortest blocks pack fewer. A damaged header may claim gigapixels.
_PIXELS_PER_BYTE = 2000
# Limit the decoding time: each scan of a JPEG may visit every pixel. Encoders write about 10 scans.
_MOST_SCANS = 100
_MOST_SCANNED_PIXELS = 16 * MOST_PIXELS
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 4, 6: 4}
# Matches a marker in entropy-coded data. Skips stuffed zeros, restart markers and fill bytes.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True)
class ImageHeader:
    """Image size and sample layout from the header of a file."""

    width: int
    height: int
    channels: int
    bits: int

    def fault(self, file_bytes: int) -> str | None:
        """Return why a file of ``file_bytes`` bytes must not be decoded, None if it may be decoded."""
        pixels = self.width * self.height
        if pixels == 0:
            return f"is damaged: it claims {self.width}x{self.height} pixels"
        if pixels > _PIXELS_PER_BYTE * file_bytes:
            return f"is damaged: it claims {self.width}x{self.height} pixels, more than {file_bytes} bytes can hold"
        if pixels > MOST_PIXELS or pixels * self.channels * self.bits // 8 > MOST_DECODED_BYTES:
            return (
                f"is too large: {self.width}x{self.height} pixels of {self.channels * self.bits} bits, but at most "
                f"{MOST_PIXELS // 1_000_000} megapixels and {MOST_DECODED_BYTES // 1_000_000} MB are decoded"
            )
        return None


def is_jpeg(data: bytes | memoryview) -> bool:
    """Return whether ``data`` starts like a JPEG file."""
    return bytes(data[:2]) == JPEG_START


def is_png(data: bytes | memoryview) -> bool:
    """Return whether ``data`` starts with the PNG signature."""
    return bytes(data[: len(PNG_SIGNATURE)]) == PNG_SIGNATURE


def read_header(data: bytes | memoryview) -> ImageHeader | None:
    """Return the header of a JPEG or PNG without reading the image data, None if there is no header."""
    if is_png(data):
        return _png_header(data)
    return _jpeg_header(data) if is_jpeg(data) else None


def find_damage(data: bytes | memoryview) -> str | None:
    """Check the structure of a whole JPEG or PNG file. Return a description of the damage, None if there is none.

    For PNG, the chunk checksums are checked, and an animation is reported. For JPEG, too many scans and missing scans
    of a progressive image are reported. Decoders show a progressive image with missing scans blurred, without a
    warning. The function reads the whole file once, which takes about a millisecond per megabyte.
    """
    return _png_damage(data) if is_png(data) else _jpeg_damage(data)


def _png_header(data: bytes | memoryview) -> ImageHeader | None:
    """Read IHDR (PNG specification, 11.2.1)."""
    if len(data) < 26 or bytes(data[12:16]) != b"IHDR":
        return None
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return ImageHeader(width, height, _PNG_CHANNELS.get(data[25], 4), max(data[24], 8))


def _jpeg_header(data: bytes | memoryview) -> ImageHeader | None:
    """Read the start of frame (ITU-T T.81, B.1.1 and B.2.2)."""
    at = len(JPEG_START)
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if _is_start_of_frame(marker):
            width, height = int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
            return ImageHeader(width, height, max(data[at + 9], 1), 8)
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _is_start_of_frame(marker: int) -> bool:
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


def _png_damage(data: bytes | memoryview) -> str | None:
    """Check all chunks up to IEND (PNG specification, 5.3)."""
    at = len(PNG_SIGNATURE)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            break
        kind = bytes(data[at + 4 : at + 8])
        if kind == b"IEND":
            return None
        if kind == b"acTL":
            return "is an animation: give a still image"
        at = end + 4
    return "is damaged: the checksums of its chunks are wrong"


def _jpeg_damage(data: bytes | memoryview) -> str | None:
    """Read all markers: count the scans, and record the lowest known bit of each DCT coefficient (T.81, G.1.1)."""
    header = _jpeg_header(data)
    if header is None:
        return "is damaged: it has no start of frame"
    pixels = header.width * header.height
    most_scans = min(_MOST_SCANS, _MOST_SCANNED_PIXELS // max(pixels, 1))
    progressive, scans, components = False, 0, 0
    lowest_bit: dict[tuple[int, int], int] = {}
    at = len(JPEG_START)
    while True:
        found = _JPEG_MARKER.search(data, at)
        if found is None or found[0] == JPEG_END:
            break
        at, marker = found.start(), found[0][1]
        segment = data[at + 2 : at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")]
        if _is_start_of_frame(marker) and len(segment) >= 8:
            progressive, components = marker in (0xC2, 0xC6, 0xCA, 0xCE), segment[7]
        elif marker == 0xDA:
            scans += 1
            if scans > most_scans:
                return f"has more than {most_scans} scans of {header.width}x{header.height} pixels"
            if progressive:
                _note_scan(segment, lowest_bit)
        at += 2 + len(segment)
    if progressive and (len(lowest_bit) < 64 * components or any(lowest_bit.values())):
        return "is cut short: scans of the progressive image are missing"
    return None


def _note_scan(segment: bytes | memoryview, lowest_bit: dict[tuple[int, int], int]) -> None:
    """Record the coefficients of one scan header (T.81, B.2.3). A header that is cut short is ignored."""
    count = segment[2] if len(segment) > 2 else 0
    if len(segment) < 6 + 2 * count:
        return
    first, last, bits = segment[3 + 2 * count : 6 + 2 * count]
    for number in range(count):
        for coefficient in range(first, min(last, 63) + 1):
            lowest_bit[segment[3 + 2 * number], coefficient] = bits & 0x0F
