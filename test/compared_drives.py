# SPDX-License-Identifier: Apache-2.0
"""Bags of a drive in which a detector finds a person in some frames, and their evaluation."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from evaluation_bags import BOX, FAR_BOX, Message, boxes, rgb, stamp, thermal, write_bag
from typer.testing import CliRunner, Result

from fusion_mamba_ros.cli import app

FRAMES = 20


def write_drive(
    path: Path, found: Collection[int], *, dropped: Collection[int] = (), extra: str = "", late_ms: int = 40
) -> Path:
    """Write a bag in which the person is found in the frames ``found``; ``extra`` is a false alarm in frame 1."""
    messages: list[Message] = []
    for index in range(FRAMES):
        rows = [("person", BOX if index in found else FAR_BOX, 0.9 - 0.01 * index)]
        if extra and index == 1:
            rows.append((extra, FAR_BOX, 0.3))
        messages += [rgb(index), thermal(index), boxes("/ground_truth", index, [("person", BOX, 1.0)])]
        if index not in dropped:
            received = stamp(index) + late_ms * 1_000_000
            messages.append(boxes("/detections", index, rows, received_ns=received))
    return write_bag(path, messages)


def evaluate(bag: Path, out: Path, *arguments: object) -> Result:
    options = ["--detections", "/detections", "--ground-truth", "/ground_truth", "--worst", "2", "--out", str(out)]
    return CliRunner().invoke(app, ["eval-bag", str(bag), *options, *map(str, arguments)])


def first_half_right(root: Path) -> Path:
    """Return the run in which frames 0 to 9 are right, with 40 ms latency."""
    assert evaluate(write_drive(root / "bag", range(10)), root / "run").exit_code == 0
    return root / "run"
