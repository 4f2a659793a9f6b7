# SPDX-License-Identifier: Apache-2.0
"""How a command ends that cannot do what it was asked to."""

from __future__ import annotations

from typing import NoReturn

import typer

_MOST_CHARACTERS = 2000


def fail(error: Exception) -> NoReturn:
    """Print ``error`` as one line on stderr and leave with exit code 2.

    Line ends and control characters, which a file's content may have brought into the message, are escaped, and a
    very long message is shortened in its middle.
    """
    text = str(error) or type(error).__name__
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    if len(text) > _MOST_CHARACTERS:
        half = _MOST_CHARACTERS // 2
        text = f"{text[:half]} ... {text[-half:]}"
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(2) from error
