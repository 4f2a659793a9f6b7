# SPDX-License-Identifier: Apache-2.0
"""Text from messages and bags, made safe for logs and error messages."""

from __future__ import annotations

# Longer than every encoding and format that cameras send.
LONGEST_QUOTE = 64


def quoted(text: str, *, longest: int = LONGEST_QUOTE) -> str:
    r"""Return ``text`` in single quotes, control characters escaped and shortened to ``longest`` characters.

    Whoever publishes a message chooses its text: a newline or a terminal's escape sequence in a log could forge a line.

    >>> quoted("rgb8\n[ERROR]")
    "'rgb8\\n[ERROR]'"
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text[:longest]
    )
    return f"'{shown}'" if len(text) <= longest else f"'{shown}...' ({len(text)} characters)"
