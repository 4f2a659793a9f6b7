# SPDX-License-Identifier: Apache-2.0
import re

import pytest
import typer
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app

COMMANDS = typer.main.get_group(app).commands


def words(text: str) -> list[str]:
    """Return the words of a help page or of what was written for it, without frames and line ends."""
    return re.sub(r"[│╭╮╰╯─]", " ", text).replace("\\[", "[").split()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_shows_all_that_was_written_and_an_example(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"], env={"COLUMNS": "400", "TERM": "dumb"})
    assert result.exit_code == 0
    shown = " ".join(words(result.output))
    command = COMMANDS[name]
    assert f"Example: fusion-mamba {name} " in f"{shown} "
    for written in (command.help, *(getattr(parameter, "help", None) for parameter in command.params)):
        assert " ".join(words(written or "")) in shown


def test_unknown_command_is_named() -> None:
    result = CliRunner().invoke(app, ["fly"])
    assert result.exit_code == 2
    assert "fly" in result.output
