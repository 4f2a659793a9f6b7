# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba check-data`: counts, listed problems and drawn samples."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import pytest
from paired_folders import write_lines, write_paired_yolo
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app

run = CliRunner()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    stems = {"train": ["00001D", "00002N"], "val": ["00003D", "00004N", "00005N"]}
    return write_paired_yolo(tmp_path / "data", stems)


def test_check_data_counts_what_is_there_and_draws_samples(folder: Path, tmp_path: Path) -> None:
    result = run.invoke(app, ["check-data", str(folder), "--split", "val", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "3 pairs, 0 of them without boxes" in result.output
    assert "person 3, bicycle 0, car 0" in result.output
    assert "day 1, night 2" in result.output and "problems: none" in result.output
    images = list((tmp_path / "out" / "samples").glob("*.jpg"))
    assert len(images) == 3
    assert cv2.imread(str(images[0])).shape[1] == 2 * 640 + 4  # a gap between the images


def test_check_data_lists_by_name_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    (folder / "thermal" / "00001D.png").unlink()
    (folder / "rgb" / "00002N.jpg").write_bytes(b"\xff\xd8 broken \xff\xd9")
    write_lines(folder / "labels" / "00003D.txt", ["0 0.9 0.5 0.6 0.5", "9 0.5 0.5 0.1 0.1"])
    (folder / "rgb" / "00005N.jpg").write_bytes((folder / "rgb" / "00004N.jpg").read_bytes())
    (folder / "labels" / "00009D.txt").write_text("")
    arguments = ["check-data", str(folder), "--out", str(tmp_path / "out")]
    result = run.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    listed = (tmp_path / "out" / "problems.txt").read_text().splitlines()
    assert len(listed) == 6
    assert "unmatched: data/00009D: only label file, and in no split" in listed
    for kind, name in (
        ("unmatched", "data/00001D"),
        ("unreadable", "data/00002N"),
        ("out of bounds", "data/00003D"),
        ("unknown class", "data/00003D"),
        ("duplicated", "data/00005N"),
    ):
        assert any(line.startswith(f"{kind}: {name}:") for line in listed)
        assert f"{2 if kind == 'unmatched' else 1} {kind}" in result.output
    assert run.invoke(app, [*arguments, "--strict"]).exit_code == 1


def test_check_data_says_which_modality_a_folder_lacks(folder: Path) -> None:
    shutil.rmtree(folder / "rgb")
    result = run.invoke(app, ["check-data", str(folder), "--strict"])
    assert result.exit_code == 0, result.output
    assert "images: no RGB, thermal 5" in result.output and "problems: none" in result.output


def test_check_data_says_in_one_sentence_what_it_cannot_open(tmp_path: Path) -> None:
    result = run.invoke(app, ["check-data", str(tmp_path / "nowhere")])
    assert result.exit_code == 2 and "does not exist" in result.output and "Traceback" not in result.output


def test_check_data_finds_out_before_the_work_that_out_is_no_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run.invoke(app, ["check-data", str(folder), "--out", str(tmp_path / "file")])
    assert result.exit_code == 2 and "' cannot be a folder (" in result.output and "pairs" not in result.output
