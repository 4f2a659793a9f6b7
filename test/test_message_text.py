# SPDX-License-Identifier: Apache-2.0
"""Text that a publisher chooses, on its way into a log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fusion_mamba_ros.streams.image_decoding import ImageDecodingError, decode_image
from fusion_mamba_ros.streams.message_decoding import image_of
from fusion_mamba_ros.streams.message_text import LONGEST_QUOTE, quoted

FORGED = "rgb8\n[ERROR] [detector_node]: \x1b[31mgone\x1b[0m"


def refusal_of_encoding(encoding: str) -> str:
    with pytest.raises(ImageDecodingError) as refused:
        decode_image(height=1, width=1, encoding=encoding, step=1, is_bigendian=False, data=b"0")
    return str(refused.value)


def refusal_of_format(name: str) -> str:
    class Compressed:
        data = b"no image"
        format = name

    with pytest.raises(ImageDecodingError) as refused:
        image_of(Compressed())
    return str(refused.value)


@pytest.mark.parametrize("refusal", [refusal_of_encoding, refusal_of_format])
def test_a_message_cannot_forge_a_line_of_the_log(refusal: Callable[[str], str]) -> None:
    sentence = refusal(FORGED)
    assert sentence.isprintable()
    assert r"rgb8\n[ERROR]" in sentence and r"\x1b[31m" in sentence


@pytest.mark.parametrize("refusal", [refusal_of_encoding, refusal_of_format])
def test_long_text_of_a_message_is_shortened(refusal: Callable[[str], str]) -> None:
    length = len(refusal("x"))
    sentence = refusal("x" * 10_000)
    assert len(sentence) < length + 2 * LONGEST_QUOTE
    assert "(10000 characters)" in sentence


@pytest.mark.parametrize("text", ["rgb8", "", "Wärmebild", "16UC1; png compressed 16UC1"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert quoted(text) == f"'{text}'"


@pytest.mark.parametrize("character", ["\r", "\x00", "\x7f", "\x9b", "\u2028", "\u202e", "\ud800"])
def test_what_a_terminal_would_obey_is_escaped(character: str) -> None:
    shown = quoted(f"a{character}b")
    assert shown.isprintable() and shown.isascii()
