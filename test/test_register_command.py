# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba register`: written files and errors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_registration_estimation import NARROWER, synthetic_pairs
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.perception.registration import map_points, read_homography

RUNNER = CliRunner()


def write_pairs(folder: Path, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> list[str]:
    for camera in ("rgb", "thermal"):
        (folder / camera).mkdir()
    for number, (rgb, thermal) in enumerate(pairs):
        cv2.imwrite(str(folder / "rgb" / f"{number}.png"), rgb)
        cv2.imwrite(str(folder / "thermal" / f"{number}.png"), thermal)
    return ["--rgb", str(folder / "rgb"), "--thermal", str(folder / "thermal")]


def test_folders_give_a_yaml_that_reads_back_a_blend_and_the_residual(tmp_path: Path) -> None:
    arguments = write_pairs(tmp_path, synthetic_pairs(NARROWER, 2))
    out = tmp_path / "registration.yaml"
    result = RUNNER.invoke(app, ["register", *arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    corners = np.array([[0.2, 0.2], [0.8, 0.2], [0.8, 0.8], [0.2, 0.8]])
    np.testing.assert_allclose(map_points(read_homography(out), corners), map_points(NARROWER, corners), atol=0.01)
    assert "residual by region" in result.output
    assert cv2.imread(str(tmp_path / "registration_blend.png")) is not None


def test_weak_evidence_is_one_sentence_and_writes_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 2, 96, 128), dtype=np.uint8)
    out = tmp_path / "registration.yaml"
    result = RUNNER.invoke(app, ["register", *write_pairs(tmp_path, noise), "--out", str(out)])
    assert result.exit_code == 2
    assert "error: " in result.stderr and ("too weak" in result.stderr or "disagree" in result.stderr)
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments,message",
    [
        ([], "give --rgb and --thermal, or --bag"),
        (["--rgb", "a.png"], "give --rgb and --thermal, or --bag"),
        (["--rgb", "a.png", "--thermal", "b.png", "--bag", "c"], "give --rgb and --thermal, or --bag"),
        (["--bag", "c", "--thermal-offset", "inf"], "--thermal-offset inf is not a number of seconds"),
        (["--rgb", "absent.png", "--thermal", "b.png"], "does not exist"),
        (["--bag", "absent"], "absent"),
        (["--rgb", "a", "--thermal", "b", "--polarity", "up"], "thermal polarity is 'up'"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUNNER.invoke(app, ["register", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
