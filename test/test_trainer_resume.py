# SPDX-License-Identifier: Apache-2.0
"""A training run that is stopped or killed goes on from its state to the same bits."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import training_scenes as scenes
from trainer_runs import assert_same, events, one_thread

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


@pytest.fixture(scope="module")
def uninterrupted(data: Path) -> Trainer:
    torch.set_num_threads(1)
    trainer: Trainer = scenes.trainer(data)
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
    process = multiprocessing.get_context("fork").Process(target=scenes.train_until_killed, args=(data, path, changes))
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL
    state = TrainingState.load(path)
    assert (state.epoch, state.batch) == (1, 2)
    resumed = scenes.trainer(data, changes, state=state)
    assert resumed.run(events())
    assert_same(resumed, uninterrupted)


def test_workers_prepare_the_same_batches(data: Path, uninterrupted: Trainer) -> None:
    trainer = scenes.trainer(data, {"workers": 2})
    assert trainer.run(events())
    assert_same(trainer, uninterrupted)


def test_start_weights_are_validated_once_though_the_run_was_killed_before(few: Path, tmp_path: Path) -> None:
    path, changes = tmp_path / "state.pt", {"model": {"fusion": "add"}, "epochs": 1}

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    trainer = scenes.trainer(few, changes)
    trainer.state.weights = "start.safetensors"
    with pytest.raises(KeyboardInterrupt):
        trainer.run(events(lambda state: state.save(path), validate=die))
    validated: list[int] = []

    def validate(epoch: int, _: Any) -> dict[str, float]:
        validated.append(epoch)
        return {"fitness": 0.0}

    for expected in ([-1, 0], [-1, 0]):
        resumed = scenes.trainer(few, changes, TrainingState.load(path))
        assert resumed.run(events(lambda state: state.save(path), validate=validate))
        assert validated == expected
    assert [row["epoch"] for row in resumed.state.history] == [0, 1] and resumed.state.best_epoch == -1


def test_time_of_an_epoch_is_that_of_all_its_work_across_an_interruption(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, changes = tmp_path / "state.pt", {"model": {"fusion": "add"}, "batch_size": 1, "nominal_batch_size": 1}
    now = 0.0
    monkeypatch.setattr("fusion_mamba_ros.training.trainer.time.monotonic", lambda: now)

    def takes(seconds: float, result: Any = None) -> Callable[..., Any]:
        def work(*_: Any) -> Any:
            nonlocal now
            now += seconds
            return result

        return work

    def run(state: TrainingState | None, **others: Any) -> Any:
        trainer: Any = scenes.trainer(few, changes, state)
        prepare = trainer.augmentation.draw_size
        trainer.augmentation.draw_size = lambda generator: takes(10.0)() or prepare(generator)
        done = takes(1000.0, {"fitness": 0.0})
        trainer.run(events(lambda state: state.save(path), validate=done, on_batch=takes(100.0), **others))
        return trainer

    run(None, stop=lambda: True)
    now = 1e6
    state = run(TrainingState.load(path)).state
    # Two pairs in batches of one.
    assert [row["epoch_seconds"] for row in state.history] == [2 * 110.0 + 1000] * 2


def test_full_disk_leaves_the_state_before_untouched(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.pt"
    TrainingState({}, "before").save(path)

    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(TrainingError, match=r"No space left on device.*--resume"):
        scenes.trainer(few, {"epochs": 1}).run(events(lambda state: state.save(path)))
    assert TrainingState.load(path).data == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_resuming_on_other_pairs_is_refused(data: Path, tmp_path: Path) -> None:
    other = scenes.write_pairs(tmp_path / "other", train=6)
    state = TrainingState(scenes.RECIPE, scenes.trainer(data).state.data)
    with pytest.raises(TrainingError, match=r"started with 10 pairs .*, the data now are 6 pairs"):
        scenes.trainer(other, state=state)


def test_resumed_state_follows_the_weights_to_where_the_run_computes(few: Path, tmp_path: Path) -> None:
    # Set up in float64, which moves the weights as a GPU would: momenta read before would stay behind in float32.
    path, changes = tmp_path / "state.pt", {"model": {"fusion": "add"}, "epochs": 2, "nominal_batch_size": 2}
    whole = scenes.trainer(few, changes, precision="64-true")
    assert whole.run(events())
    stopped = scenes.trainer(few, changes, precision="64-true")
    assert not stopped.run(events(lambda state: state.save(path), stop=lambda: True))
    resumed = scenes.trainer(few, changes, state=TrainingState.load(path), precision="64-true")
    momenta = [values["momentum_buffer"] for values in resumed.optimizer.state_dict()["state"].values()]
    assert {momentum.dtype for momentum in momenta} == {torch.float64}
    assert resumed.run(events())
    assert_same(resumed, whole)


def test_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(b"PK\x03\x04 not a state")
    with pytest.raises(TrainingError, match="is damaged"):
        TrainingState.load(path)
