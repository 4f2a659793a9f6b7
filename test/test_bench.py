# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba bench`: rows for every model, canvas and number of threads, measured in processes of their own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from operator_library import compiled_library
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.deployment.bench import BenchPlan, _cases, _peers
from fusion_mamba_ros.deployment.bench_peers import peer_configs
from fusion_mamba_ros.deployment.bench_process import BenchProcess, BenchRequest, BenchTimes
from fusion_mamba_ros.deployment.bench_worker import BenchWorker
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import save_checkpoint
from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.perception.engine_loading import choose_engine, read_model_document

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bench") / "small.safetensors"
    save_checkpoint(path, FusionMambaDetector(ModelConfig(classes=2)), CheckpointMetadata(("person", "car"), (64, 64)))
    return path


def images(folder: Path) -> Path:
    np.savez(folder / "images.npz", rgb=np.zeros((48, 64, 3), np.uint8))
    return folder / "images.npz"


class SameProcess:
    """A `BenchProcess` without a process, whose start takes no time: importing PyTorch takes seconds each time."""

    start_s = 0.5

    def __init__(self, request: BenchRequest) -> None:
        worker = BenchWorker(BenchRequest.from_text(request.to_text()))
        self.about = {name: value for name, value in worker.about.items() if name != "ready_s"}
        self._worker = worker

    def __enter__(self) -> SameProcess:
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...

    def run(self, *, count: int) -> BenchTimes:
        answer = self._worker.answer({"count": count, "seconds": 0})
        return BenchTimes(answer["total"], answer["stages"])

    def memory_mb(self) -> dict[str, float]:
        return self._worker.answer({"memory": True})


@pytest.fixture
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fusion_mamba_ros.deployment.bench.BenchProcess", SameProcess)


FEW = ("--predictions", "1", "--starts", "1", "--threads", "1")


@pytest.mark.usefixtures("same_process")
def test_a_checkpoint_is_measured_on_the_canvas_of_the_exported_model_too(checkpoint: Path, tmp_path: Path) -> None:
    compiled_library()
    exported = default_checkpoint().with_suffix(".onnx")
    done = RUNNER.invoke(app, ["bench", str(checkpoint), str(exported), "--no-peers", *FEW, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "bench.json").read_text())
    rows = document["rows"]
    assert [(row["model"], row["engine"], row["canvas"]) for row in rows] == [
        ("small.safetensors", "torch", [64, 64]),
        ("small.safetensors", "torch", [480, 384]),
        (exported.name, "onnxruntime", [480, 384]),
    ]
    assert [row["network_ratio"] for row in rows[:2]] == [1.0, 1.0]
    for row in rows:
        assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"] <= row["latency_ms"]["p99"]
        assert row["memory_mb"]["peak"] >= row["memory_mb"]["resident"] > 20
    assert document["machine"]["cores"] >= 1
    assert f"| {exported.name} | onnxruntime" in (tmp_path / "bench.md").read_text()
    assert "random weights" not in done.output


@pytest.mark.usefixtures("same_process")
def test_the_peers_have_random_weights_and_are_called_so(checkpoint: Path, tmp_path: Path) -> None:
    done = RUNNER.invoke(app, ["bench", str(checkpoint), *FEW, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    assert [(row["model"], row["weights"]) for row in rows] == [
        ("small.safetensors", "of the file"),
        ("add", "random"),
        ("rgb alone", "random"),
        ("thermal alone", "random"),
    ]
    assert "thermal alone (*random weights*)" in done.output


def test_peers_keep_everything_but_the_fusion_or_the_cameras() -> None:
    config = ModelConfig(classes=7, scale="s", modalities={"rgb": 3, "thermal": 1, "depth": 1})
    peers = peer_configs(config)
    assert list(peers) == ["add", "rgb alone", "thermal alone", "depth alone"]
    assert {(peer.scale, peer.classes, peer.backbone) for peer in peers.values()} == {("s", 7, config.backbone)}
    assert peers["add"].fusion == "add" and peers["add"].modalities == config.modalities
    assert "add" not in peer_configs(ModelConfig(fusion="add"))
    assert peer_configs(ModelConfig(modalities={"rgb": 3})) == {}


def test_peers_that_cannot_be_built_are_noted(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("fusion_mamba_ros.deployment.bench_peers.write_peers", fail)
    notes: list[str] = []
    kind = choose_engine("model.onnx")
    assert _peers(read_model_document(checkpoint), (64, 64), tmp_path, kind, notes) == {}
    # A second model says nothing new.
    assert _peers(read_model_document(checkpoint), (64, 64), tmp_path, kind, notes) == {}
    assert notes == ["no models to compare with for ONNX Runtime: they need torch, which is not installed"]


def test_a_process_measures_until_it_ends_and_then_says_so(tmp_path: Path) -> None:
    compiled_library()
    model = default_checkpoint().with_suffix(".onnx")
    with BenchProcess(BenchRequest(model, images(tmp_path), threads=1)) as process:
        assert process.about["engine"] == "onnxruntime" and process.about["canvas"] == [480, 384]
        times = process.run(count=1)
        # The start includes Python, the libraries and the model besides a prediction.
        assert len(times.total) == 1 and process.start_s * 1e3 > min(times.total)
        assert sum(values[0] for values in times.stages.values()) <= times.total[0]
        assert process.memory_mb()["peak"] > 50
        process._process.kill()
        with pytest.raises(ValueError, match=r"the process that ran '.*onnx' ended with exit code -9"):
            process.run()


def test_a_process_that_cannot_load_its_model_says_why(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(default_checkpoint().with_suffix(".onnx").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"^model '.*damaged.onnx' is not a complete ONNX file"):
        BenchProcess(BenchRequest(damaged, images(tmp_path)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.onnx"], "absent.onnx"),
        (["a.safetensors", "a.safetensors"], "models are a.safetensors, a.safetensors: give at least one, each once"),
        (["a.safetensors", "--threads", "1", "--threads", "1"], "threads are 1, 1"),
        (["a.safetensors", "--engine", "onnxruntime"], "runs .onnx files"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = RUNNER.invoke(app, ["bench", *arguments])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr


def test_models_with_the_same_file_name_are_told_apart(checkpoint: Path, tmp_path: Path) -> None:
    models = []
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        models.append(Path(shutil.copy(checkpoint, tmp_path / folder / "best.safetensors")))
    cases = _cases(BenchPlan((checkpoint, *models), peers=False), tmp_path / "images.npz", tmp_path, [])
    assert [case.name for case in cases] == [checkpoint.name, "first/best.safetensors", "second/best.safetensors"]


def test_a_plan_needs_a_model() -> None:
    with pytest.raises(ValueError, match="models are none"):
        BenchPlan(())
