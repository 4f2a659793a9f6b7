# SPDX-License-Identifier: Apache-2.0
"""What a run prints and what TensorBoard gets of it."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fusion_mamba_ros.training.event_file import EventFile
from fusion_mamba_ros.training.logger import Logger, format_duration
from fusion_mamba_ros.training.recipe import TrainingError

ROW = {"epoch": 1, "train_box": 0.5, "learning_rate": 0.001, "rgb_only_mAP50": 0.25, "fused_mAP": 0.75}


def row(epoch: int) -> dict[str, float]:
    return {**ROW, "epoch": epoch, "epoch_seconds": 60.0}


def test_tensorboard_groups_the_modes_whole_and_takes_over_from_a_resumed_run(tmp_path: Path) -> None:
    for first, values in ((0, (0.1, 0.2, 0.3)), (1, (0.4,))):
        logger = Logger(Console(file=io.StringIO()), tmp_path, 3, first)
        for step, value in enumerate(values, first + 1):
            logger.epoch_done([{**row(step), "fused_mAP": value}], is_best=False)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert set(read.Tags()["scalars"]) == {
        "train/box",
        "learning_rate",
        "rgb_only/mAP50",
        "fused/mAP",
        "epoch_seconds",
    }
    # The first epoch stays, what the killed run had of the later ones goes.
    assert [(item.step, round(item.value, 3)) for item in read.Scalars("fused/mAP")] == [(1, 0.1), (2, 0.4)]


def test_full_disk_names_the_file_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(TrainingError, match=r"'/dev/full' could not be written \(No space left.*free disk space"):
        EventFile(Path("/dev/full"), 0)
    assert threading.active_count() == before


@pytest.mark.parametrize("terminal", [False, True])
def test_output_without_a_terminal_says_how_long_it_takes(tmp_path: Path, terminal: bool) -> None:
    now, text = [0.0], io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=200)
    logger = Logger(console, tmp_path, 10, 4, clock=lambda: now[0])
    losses = {"box": 1.0}
    # Ten batches an epoch, half a minute each; no `with`, so that the bars are not drawn.
    for epoch in (4, 5):
        for done in range(1, 11):
            now[0] += 30
            logger.batch(epoch, done, 10, losses)
        logger.epoch_done([row(epoch + 1)], is_best=False)
    lines = text.getvalue().splitlines()
    # From the first batch on 19 batches took 570 s, 40 are left.
    assert "epoch 6/10" in lines[-1] and "about 20 min 00 s left" in lines[-1]
    within = [line for line in lines if "batch" in line]
    assert bool(within) is not terminal
    if within:
        assert within[0].startswith("epoch 5/10  batch 2/10") and "about 29 min 00 s left" in within[0]


def test_last_epoch_has_no_time_left_and_start_weights_no_losses(tmp_path: Path) -> None:
    text = io.StringIO()
    logger = Logger(Console(file=text, width=200), tmp_path, 1, 0)
    logger.epoch_done([{"epoch": 0, "fused_mAP50": 0.5, "epoch_seconds": 1.0}], is_best=True)
    logger.batch(0, 1, 2, {"box": 1.0})
    logger.batch(0, 2, 2, {"box": 1.0})
    logger.epoch_done([row(1)], is_best=False)
    start, last = text.getvalue().splitlines()
    assert start == "start weights  fused_mAP50 0.500  1.0 s  best so far"
    assert last.startswith("epoch 1/1  loss 0.500") and "left" not in last


@pytest.mark.parametrize(
    ("seconds", "text"), [(11.6, "12 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_duration_is_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
