# SPDX-License-Identifier: Apache-2.0
"""Make text from messages and bags safe for logs and error messages."""

from __future__ import annotations

# Long enough for every encoding and format that cameras send.
LONGEST_QUOTE = 64


def quoted(text: str, *, longest: int = LONGEST_QUOTE) -> str:
    r"""Return ``text`` in single quotes, with control characters escaped, cut to ``longest`` characters.

    The publisher of a message controls its text. A newline or a terminal escape sequence could forge a log line.

    >>> quoted("rgb8\n[ERROR]")
    "'rgb8\\n[ERROR]'"
    """
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text[:longest]
    )
    return f"'{shown}'" if len(text) <= longest else f"'{shown}...' ({len(text)} characters)"
