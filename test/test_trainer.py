# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import training_scenes as scenes
from lightning_fabric.plugins import MixedPrecision
from trainer_runs import events, one_thread

from fusion_mamba_ros.datasets import AugmentationConfig
from fusion_mamba_ros.training.batches import collate
from fusion_mamba_ros.training.box_overlap import complete_iou
from fusion_mamba_ros.training.recipe import TrainingError
from fusion_mamba_ros.training.trainer import Trainer
from fusion_mamba_ros.training.training_state import TrainingState


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("few"), train=2)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def test_two_processes_have_losses_and_gradients_of_one(data: Path, tmp_path: Path) -> None:
    # Frozen, because the statistics of half a batch are others.
    changes = {"freeze_batch_norm": True, "batch_size": 4}
    out = tmp_path / "together.pt"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launcher, scenes.__file__, str(data), str(out), json.dumps(changes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(scenes.__file__).parents[1])}
    subprocess.run(command, check=True, timeout=300, env=environment)
    alone, together = scenes.first_step(scenes.trainer(data, changes)), torch.load(out, weights_only=True)
    for name in ("box", "distribution", "classes"):
        assert together["losses"][0][name] == pytest.approx(alone["losses"][0][name], rel=1e-5)
    assert len(alone["gradients"]) > 400
    for name, gradient in alone["gradients"].items():
        assert gradient.abs().max() > 0, name
        assert (together["gradients"][name] - gradient).abs().max() <= 1e-4 * gradient.abs().max(), name


def test_training_finds_what_there_is_to_see(tmp_path: Path) -> None:
    changes = {
        "epochs": 30,
        "batch_size": 4,
        "optimizer": "adamw",
        "momentum": 0.9,
        "learning_rate": 0.003,
        "augmentation": AugmentationConfig.none((64, 64)).to_dict(),
    }
    trainer = scenes.trainer(scenes.write_pairs(tmp_path, train=4), changes)
    before = mean_overlap(trainer)
    assert trainer.run(events())
    assert mean_overlap(trainer) > before + 0.2


@torch.no_grad()
def mean_overlap(trainer: Trainer) -> float:
    """Mean CIoU of the best-scored box of each training pair with its object.

    With the statistics of the batch: those that batch normalisation keeps take hundreds of steps to settle.
    """
    model = trainer.detector.train()
    pairs = [trainer.dataset[index] for index in range(len(trainer.dataset))]
    batch = collate(pairs, model.config.modalities)
    decoded = model.decode(model(batch.inputs(torch.device("cpu"), channels_last=True)))
    overlaps = [
        float(complete_iou(found[found[:, 4].argmax(), :4], torch.from_numpy(pair.boxes[0])))
        for found, pair in zip(decoded, pairs, strict=True)
    ]
    return sum(overlaps) / len(overlaps)


def test_gradient_is_ordinary_where_every_pair_would_drop_a_stream(few: Path) -> None:
    augmentation = {"modality_dropout": {"rgb": 1.0}}
    trainer = scenes.trainer(few, {"model": {"fusion": "add"}, "clip_norm": 1e20, "augmentation": augmentation})
    gradients = scenes.first_step(trainer)["gradients"].values()
    # Without clipping; batch normalisation over zeros alone makes it 1e9 and more.
    assert torch.stack([gradient.norm() for gradient in gradients]).norm() < 1e3


@pytest.mark.parametrize("fusion", ["add", "fusion_mamba"])
def test_gradient_is_ordinary_where_the_data_have_no_image_of_a_stream(tmp_path: Path, fusion: str) -> None:
    data = scenes.write_pairs(tmp_path, train=4)
    shutil.rmtree(data / "rgb")
    trainer = scenes.trainer(data, {"model": {**scenes.RECIPE["model"], "fusion": fusion}, "clip_norm": 1e20})
    before = {name: value.clone() for name, value in trainer.detector.backbones["rgb"].named_buffers()}
    gradients = scenes.first_step(trainer)["gradients"].values()
    assert torch.stack([gradient.norm() for gradient in gradients]).norm() < 1e3
    # What images look like is not forgotten over images that are not there.
    for name, value in trainer.detector.backbones["rgb"].named_buffers():
        assert torch.equal(value, before[name]), name
    assert all(module.training for module in trainer.detector.modules())


def test_training_stops_when_validation_gets_no_better(few: Path) -> None:
    trainer = scenes.trainer(few, {"epochs": 9, "patience": 2})
    fitness = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    assert trainer.run(events(validate=lambda *_: {"fitness": next(fitness)}))
    assert (len(trainer.state.history), trainer.state.best_epoch) == (4, 1)


def test_patience_counts_from_start_weights_that_are_the_best(few: Path) -> None:
    trainer = scenes.trainer(few, {"model": {"fusion": "add"}, "epochs": 9, "patience": 2})
    trainer.state.weights = "start.safetensors"
    fitness = iter([0.9, 0.3, 0.2, 0.3])
    assert trainer.run(events(validate=lambda *_: {"fitness": next(fitness)}))
    assert [row["epoch"] for row in trainer.state.history] == [0, 1, 2]


def test_overflow_in_fp16_leaves_a_step_out_and_the_scale_is_resumed(few: Path, tmp_path: Path) -> None:
    path, changes = tmp_path / "state.pt", {"model": {"fusion": "add"}, "epochs": 1, "precision": "fp16"}

    def run(state: TrainingState | None = None) -> Any:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
        return scenes.trainer(few, changes, state, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])

    trainer = run()
    before = {name: value.clone() for name, value in trainer.detector.named_parameters()}
    assert trainer.run(events(lambda state: state.save(path)))
    assert all(torch.equal(value, before[name]) for name, value in trainer.detector.named_parameters())
    assert run(TrainingState.load(path)).fabric.strategy.precision.scaler.get_scale() == 2.0**59


def test_gradient_that_is_infinite_ends_the_run_with_a_remedy(few: Path) -> None:
    trainer = scenes.trainer(few, {"model": {"fusion": "add"}})
    next(trainer.detector.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(TrainingError, match=r"the gradient is (nan|inf) in epoch 1: lower learning_rate"):
        trainer.run(events())


def test_loss_that_is_no_number_ends_the_run_with_a_remedy(data: Path) -> None:
    trainer = scenes.trainer(data)
    with torch.no_grad():
        trainer.detector.head.class_branches[0][-1].bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is nan in epoch 1: lower learning_rate"):
        trainer.run(events())
