# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba info`."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.commands import info
from fusion_mamba_ros.network.selective_scan import active_backend


def test_json_names_the_active_backend_and_every_reason() -> None:
    result = CliRunner().invoke(app, ["info", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["torch"] == torch.__version__
    active = [row["backend"] for row in found["selective_scan"] if "cpu" in row["active_on"]]
    assert active == [active_backend("cpu").name]
    assert all(row["available"] or row["note"] for row in found["selective_scan"])


def test_brackets_of_a_reason_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"engine": "x", "files": [".x"], "available": False, "note": "try pip install [all]"}
    monkeypatch.setattr(info, "_describe_engines", lambda: [row])
    monkeypatch.setattr(info, "_describe_backends", lambda _: [])
    assert "pip install [all]" in CliRunner().invoke(app, ["info"]).output


def test_missing_ros_is_said_and_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_mamba_ros.commands.info.importlib.util.find_spec", lambda name: None)
    result = CliRunner().invoke(app, ["info"])
    assert result.exit_code == 0, result.output
    assert "everything but the node works" in result.output
