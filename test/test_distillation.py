# SPDX-License-Identifier: Apache-2.0
"""Distillation of backbones: losses, targets, resuming and the command."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.datasets.unlabelled_images import UnlabelledImages
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from fusion_mamba_ros.training.distillation import Distillation, DistillationSettings, DistillationState
from fusion_mamba_ros.training.recipe import TrainingError

SETTINGS = DistillationSettings(steps=6, batch_size=2, input_size=(64, 32), learning_rate=1e-3, precision="fp32")


def detector(backbone: str, seed: int, **changes: Any) -> FusionMambaDetector:
    torch.manual_seed(seed)
    return FusionMambaDetector(ModelConfig(backbone=backbone, fusion="add", classes=1, **changes))


def noise(seed: int = 0) -> dict[str, UnlabelledImages]:
    generator = np.random.default_rng(seed)
    rgb = [generator.integers(0, 255, (48, 96, 3), dtype=np.uint8) for _ in range(4)]
    thermal = [generator.integers(0, 255, (48, 96), dtype=np.uint8) for _ in range(3)]
    return {"rgb": UnlabelledImages([rgb], [1.0]), "thermal": UnlabelledImages([thermal], [1.0])}


def distillation(settings: DistillationSettings, state: DistillationState | None = None) -> Distillation:
    teacher = detector("efficientnet_lite0", 1).eval()
    return Distillation(teacher, detector("yolov8", 2), noise(), settings, state or DistillationState({}, {}, {}))


def weights(run: Distillation) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.student.state_dict().items()}


def test_losses_fall_and_only_backbones_are_trained() -> None:
    settings = DistillationSettings(40, 2, (64, 32), 2e-3, warmup_steps=0, precision="fp32")
    run = distillation(settings)
    before, teacher = weights(run), {name: value.clone() for name, value in run.teacher.state_dict().items()}
    rows: list[dict[str, float]] = []
    assert run.run(lambda: None, rows.append, report_every=10)
    for stream in ("rgb", "thermal"):
        for stride in (8, 16, 32):
            assert rows[-1][f"{stream}_{stride}"] < rows[0][f"{stream}_{stride}"]
    changed = {name for name, value in weights(run).items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in changed} == {"backbones"}
    assert {name.split(".")[1] for name in changed} == {"rgb", "thermal"}
    assert all(torch.equal(value, teacher[name]) for name, value in run.teacher.state_dict().items())


def test_targets_have_mean_0_and_deviation_1_in_each_channel() -> None:
    run = distillation(SETTINGS)
    projections = run.projections["rgb"]
    with torch.no_grad():
        features = [run.teacher.backbones["rgb"](run._batch("rgb", -1 - index)) for index in range(8)]
    for level in range(3):
        values = torch.cat([batch[level].transpose(0, 1).flatten(1) for batch in features], dim=1)
        mean, deviation = projections.get_buffer(f"mean_{level}"), projections.get_buffer(f"deviation_{level}")
        torch.testing.assert_close(mean, values.mean(dim=1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(deviation, values.std(dim=1).clamp_min(1e-6), rtol=1e-4, atol=1e-5)


def test_resumed_run_is_that_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = distillation(SETTINGS)
    assert whole.run(lambda: None)
    first = distillation(SETTINGS)
    answers = iter([False, True])
    path = tmp_path / "state.pt"
    assert not first.run(lambda: first.state.save(path), stop=lambda: next(answers))
    assert first.state.step == 2
    second = distillation(SETTINGS, DistillationState.load(path))
    assert second.run(lambda: None)
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(second).items())


def test_teacher_of_other_streams_is_refused() -> None:
    teacher = detector("efficientnet_lite0", 1, modalities={"rgb": 3})
    with pytest.raises(TrainingError, match="the teacher has no stream thermal of 1 channels"):
        Distillation(teacher, detector("yolov8", 2), noise(), SETTINGS, DistillationState({}, {}, {}))


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    generator = np.random.default_rng(0)
    for name, shape in (("rgb", (48, 96, 3)), ("thermal", (48, 96))):
        (tmp_path / name).mkdir()
        for index in range(3):
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), generator.integers(0, 255, shape, dtype=np.uint8))
    (tmp_path / "images.yaml").write_text("rgb: [rgb]\nthermal: [thermal]\n")
    save_checkpoint(
        tmp_path / "teacher.safetensors", detector("efficientnet_lite0", 1), CheckpointMetadata(("a",), (64, 32))
    )
    return ["--teacher", str(tmp_path / "teacher.safetensors"), "--images", str(tmp_path / "images.yaml")]


def test_command_leaves_a_start_for_training_and_refuses_a_folder_in_use(inputs: list[str], tmp_path: Path) -> None:
    options = [*inputs, "--out", str(tmp_path / "run"), "--steps", "2", "--batch-size", "2"]
    sets = ["--set", "model.fusion=add", "--set", "input_size=[64,32]", "--set", "precision=fp32"]
    result = CliRunner().invoke(app, ["distill", *options, *sets])
    assert result.exit_code == 0, result.output
    assert re.search(r"step 2 of 2: rgb_8 \d", result.output)
    model, metadata = load_checkpoint(tmp_path / "run" / "start.safetensors")
    assert model.config.backbone == "yolov8"
    assert metadata.training["distilled_from"] == "teacher.safetensors"
    assert metadata.training["images"] == {"rgb": 3, "thermal": 3}
    assert (tmp_path / "run" / "losses.csv").read_text().startswith("step,rgb_8,")
    again = CliRunner().invoke(app, ["distill", *options, *sets])
    assert again.exit_code == 2
    assert "already holds a run" in again.output
    complete = CliRunner().invoke(app, ["distill", "--out", str(tmp_path / "run"), "--resume"])
    assert complete.exit_code == 0, complete.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--resume"], "there is nothing to resume"),
        ([], "a new run needs --teacher and --images"),
        (["--resume", "--teacher", "a"], "leave out --teacher and --images"),
        (["--resume", "--set", "model.scale=s"], "leave out --set"),
        (["--resume", "--batch-size", "16"], "leave out --batch-size"),
    ],
)
def test_command_names_what_is_missing(options: list[str], words: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["distill", "--out", str(tmp_path / "run"), *options])
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"steps": 0}, "steps is 0"), ({"learning_rate": 0.0}, "learning_rate"), ({"precision": "fp16"}, "fp32 or bf16")],
)
def test_bad_setting_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        DistillationSettings(**{"steps": 1, **changes})  # type: ignore[arg-type]
