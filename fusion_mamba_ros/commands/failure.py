# SPDX-License-Identifier: Apache-2.0
"""End a command after an error, with a one-line message and exit code 2."""

from __future__ import annotations

from typing import NoReturn

import typer

_MOST_CHARACTERS = 2000
NEEDS_TORCH = "this command needs PyTorch, which is not installed: install it with 'pip install torch'"


def is_missing_torch(error: Exception) -> bool:
    """Return whether ``error`` was raised because PyTorch is not installed."""
    return isinstance(error, ImportError) and (error.name or "").partition(".")[0] == "torch"


def fail(error: Exception) -> NoReturn:
    """Print ``error`` as one line on stderr and exit with code 2.

    The function escapes line ends and control characters, which the content of a file may have brought into the
    message. It shortens a very long message in the middle. If PyTorch is missing, it says how to install it.
    """
    text = NEEDS_TORCH if is_missing_torch(error) else str(error) or type(error).__name__
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
    if len(text) > _MOST_CHARACTERS:
        half = _MOST_CHARACTERS // 2
        text = f"{text[:half]} ... {text[-half:]}"
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(2) from error
