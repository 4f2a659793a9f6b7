# SPDX-License-Identifier: Apache-2.0
"""The command line as a whole: help, version and errors."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import fusion_mamba_ros
from fusion_mamba_ros import cli
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


@pytest.mark.parametrize(
    "arguments",
    [
        ["check-data", "NOTHING"],
        ["compare", "NOTHING", "NOTHING"],
        ["eval", "--checkpoint", "NOTHING", "--data", "NOTHING", "--out", "NOTHING"],
        ["import-weights", "NOTHING", "--out", "NOTHING"],
        ["make-bag", "--rgb", "NOTHING", "--thermal", "NOTHING", "--out", "NOTHING"],
        ["predict", "--checkpoint", "NOTHING", "--rgb", "NOTHING"],
        ["publish", "NOTHING", "--metrics", "NOTHING", "--out", "NOTHING"],
        ["register", "--rgb", "NOTHING", "--thermal", "NOTHING"],
        ["train", "--config", "NOTHING", "--data", "NOTHING", "--out", "NOTHING"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_file_that_is_not_there_is_one_sentence_and_code_2(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [argument.replace("NOTHING", "nothing.here") for argument in arguments])
    assert result.exit_code == 2, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ") and "nothing.here" in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0 and result.output.split() == ["fusion-mamba", fusion_mamba_ros.__version__]


@pytest.mark.parametrize("shown", [False, True])
def test_an_exception_that_nobody_foresaw_is_one_line_and_its_traceback_is_a_variable_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shown: bool
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setenv("FUSION_MAMBA_TRACEBACK", "1" if shown else "")
    with pytest.raises(ZeroDivisionError if shown else SystemExit) as raised:
        cli.main()
    if not shown:
        assert isinstance(raised.value, SystemExit) and raised.value.code == 1
        assert capsys.readouterr().err.startswith("error: unexpected ZeroDivisionError: by zero: set FUSION_MAMBA")
