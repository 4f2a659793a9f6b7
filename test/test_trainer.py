# SPDX-License-Identifier: Apache-2.0
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import training_scenes as scenes

from fusion_mamba_ros.training.box_overlap import complete_iou
from fusion_mamba_ros.training.recipe import TrainingError
from fusion_mamba_ros.training.trainer import Events, Trainer
from fusion_mamba_ros.training.training_state import TrainingState


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def events(save: Callable[[TrainingState], None] = lambda _: None, **others: Any) -> Events:
    return Events(**{"validate": lambda *_: {"fitness": 0.0}, "save": save, **others})


def assert_same(model: Trainer, other: Trainer) -> None:
    """Raise unless weights, averages and histories are equal to the last bit."""
    for mine, theirs in ((model.detector, other.detector), (model.average.model, other.average.model)):
        for (name, tensor), expected in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(tensor, expected), name
    for mine, theirs in zip(model.state.history, other.state.history, strict=True):
        assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}


@pytest.fixture(scope="module")
def uninterrupted(data: Path) -> Trainer:
    torch.set_num_threads(1)
    trainer = scenes.trainer(data)
    assert trainer.run(events())
    return trainer


def test_run_that_was_stopped_in_mid_epoch_ends_in_the_same_bits(
    data: Path, uninterrupted: Trainer, tmp_path: Path
) -> None:
    path = tmp_path / "state.pt"
    stopped = scenes.trainer(data)
    assert not stopped.run(events(lambda state: state.save(path), stop=lambda: stopped.state.batch == 2))
    state = TrainingState.load(path)
    assert (state.epoch, state.batch) == (0, 2)
    resumed = scenes.trainer(data, state=state)
    assert resumed.run(events())
    assert_same(resumed, uninterrupted)


def test_run_that_was_killed_in_mid_epoch_ends_in_the_same_bits(
    data: Path, uninterrupted: Trainer, tmp_path: Path
) -> None:
    path = tmp_path / "state.pt"
    changes = {"save_every_minutes": 0}
    command = [sys.executable, scenes.__file__, "kill", str(data), str(path), json.dumps(changes)]
    assert subprocess.run(command, check=False, timeout=120).returncode == -9
    state = TrainingState.load(path)
    assert (state.epoch, state.batch) == (1, 2)
    resumed = scenes.trainer(data, changes, state=state)
    assert resumed.run(events())
    assert_same(resumed, uninterrupted)


def test_workers_prepare_the_same_batches(data: Path, uninterrupted: Trainer) -> None:
    trainer = scenes.trainer(data, {"workers": 2})
    assert trainer.run(events())
    assert_same(trainer, uninterrupted)


def test_two_processes_have_losses_and_gradients_of_one(data: Path, tmp_path: Path) -> None:
    # Frozen, because the statistics of half a batch are others.
    changes = {"freeze_batch_norm": True, "batch_size": 4}
    outs = []
    for processes in (1, 2):
        out = tmp_path / f"{processes}.pt"
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"] if processes == 2 else []
        command = [sys.executable, *launcher, scenes.__file__, "step", str(data), str(out), json.dumps(changes)]
        subprocess.run(command, check=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
        outs.append(torch.load(out, weights_only=True))
    alone, together = outs
    for name in ("box", "distribution", "classes"):
        assert together["losses"][0][name] == pytest.approx(alone["losses"][0][name], rel=1e-5)
    assert len(alone["gradients"]) > 400
    for name, gradient in alone["gradients"].items():
        assert gradient.abs().max() > 0, name
        assert (together["gradients"][name] - gradient).abs().max() <= 1e-4 * gradient.abs().max(), name


def test_training_finds_what_there_is_to_see(data: Path) -> None:
    changes = {
        "epochs": 14,
        "nominal_batch_size": 2,
        "optimizer": "adamw",
        "momentum": 0.9,
        "learning_rate": 0.003,
        "plain_epochs": 14,
        "augmentation": {"scale": 0.1, "rgb_dropout": 0, "thermal_dropout": 0},
    }
    trainer = scenes.trainer(data, changes)
    before = mean_overlap(trainer)
    assert trainer.run(events())
    assert mean_overlap(trainer) > before + 0.25


@torch.no_grad()
def mean_overlap(trainer: Trainer) -> float:
    """Mean CIoU of the best-scored box of each training pair with its object."""
    model = trainer.detector.eval()
    overlaps = []
    for pair in (trainer.dataset[index] for index in range(len(trainer.dataset))):
        rgb, thermal = torch.from_numpy(pair.rgb), torch.from_numpy(pair.thermal)
        decoded = model.decode(model({"rgb": rgb.permute(2, 0, 1)[None] / 255, "thermal": thermal[None, None] / 255}))[
            0
        ]
        overlaps.append(float(complete_iou(decoded[decoded[:, 4].argmax(), :4], torch.from_numpy(pair.boxes[0]))))
    return sum(overlaps) / len(overlaps)


def test_training_stops_when_validation_gets_no_better(data: Path) -> None:
    trainer = scenes.trainer(data, {"epochs": 9, "patience": 2})
    fitness = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    assert trainer.run(events(validate=lambda *_: {"fitness": next(fitness)}))
    assert (len(trainer.state.history), trainer.state.best_epoch) == (4, 1)


def test_full_disk_leaves_the_state_before_untouched(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    TrainingState({}, "before").save(path)

    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(TrainingError, match=r"No space left on device.*--resume"):
        scenes.trainer(data, {"epochs": 1}).run(events(lambda state: state.save(path)))
    assert TrainingState.load(path).data == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_resuming_on_other_pairs_is_refused(data: Path, tmp_path: Path) -> None:
    other = scenes.write_pairs(tmp_path / "other", train=6)
    state = TrainingState(scenes.RECIPE, scenes.trainer(data).state.data)
    with pytest.raises(TrainingError, match=r"started with 10 pairs .*, the data now are 6 pairs"):
        scenes.trainer(other, state=state)


def test_loss_that_is_no_number_ends_the_run_with_a_remedy(data: Path) -> None:
    trainer = scenes.trainer(data)
    with torch.no_grad():
        trainer.detector.head.class_branches[0][-1].bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match="loss is nan in epoch 1: lower learning_rate"):
        trainer.run(events())


def test_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(b"PK\x03\x04 not a state")
    with pytest.raises(TrainingError, match="is damaged"):
        TrainingState.load(path)
