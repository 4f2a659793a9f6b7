# SPDX-License-Identifier: Apache-2.0
"""A tiny data set and a tiny recipe for the tests of `training`; as a script, one step under `torchrun`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

RECIPE: dict[str, Any] = {
    "model": {"scale": "n", "fusion_mamba": {"dssf_count": 1, "max_channels": 8, "state_size": 4}},
    "input_size": [64, 64],
    "epochs": 2,
    "batch_size": 2,
    "nominal_batch_size": 4,
    "warmup_epochs": 0,
    "close_mosaic_epochs": 1,
    "sample_predictions": 1,
}


def write_pairs(folder: Path, train: int = 10, val: int = 2) -> Path:
    """Write pairs with a bright rectangle, labelled person, in the layout of paired-YOLO; return the folder."""
    generator = np.random.default_rng(0)
    for kind in ("rgb", "thermal", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for split, names in (("train", range(train)), ("val", range(train, train + val))):
        (folder / f"{split}.txt").write_text("".join(f"pair_{index:02d}\n" for index in names))
        for index in names:
            rgb = generator.integers(0, 90, (64, 64, 3), dtype=np.uint8)
            thermal = generator.integers(0, 60, (64, 64), dtype=np.uint8)
            x, y, width, height = (int(v) for v in generator.integers([4, 4, 12, 20], [30, 20, 24, 36]))
            rgb[y : y + height, x : x + width] += 80
            thermal[y : y + height, x : x + width] = 220
            name = f"pair_{index:02d}"
            cv2.imwrite(str(folder / "rgb" / f"{name}.jpg"), rgb)
            cv2.imwrite(str(folder / "thermal" / f"{name}.jpg"), thermal)
            box = ((x + width / 2) / 64, (y + height / 2) / 64, width / 64, height / 64)
            (folder / "labels" / f"{name}.txt").write_text("0 " + " ".join(f"{v:.6f}" for v in box) + "\n")
    return folder


def trainer(data: Path, changes: dict[str, Any] | None = None, state: Any = None, **fabric: Any) -> Any:
    """Return a trainer over the pairs in ``data`` with fields of the tiny recipe changed."""
    from lightning_fabric import Fabric

    from fusion_mamba_ros.datasets import PreparedDataset, open_dataset
    from fusion_mamba_ros.network import FusionMambaDetector
    from fusion_mamba_ros.training.recipe import Recipe
    from fusion_mamba_ros.training.trainer import Trainer

    dataset = PreparedDataset(open_dataset(data, "train"), (64, 64))
    recipe = Recipe.from_dict({**RECIPE, **(changes or {})}).for_data(dataset.class_names)
    process = Fabric(accelerator="cpu", **({"devices": 1} | fabric))
    process.launch()
    torch.manual_seed(recipe.seed)
    return Trainer(recipe, FusionMambaDetector(recipe.model), dataset, process, state)


def first_step(run: Any) -> dict[str, Any]:
    """Take one step and return its `losses` and, by parameter, its `gradients`."""
    from fusion_mamba_ros.training.trainer import Events

    losses: list[dict[str, float]] = []
    gradients: dict[str, torch.Tensor] = {}

    def note_gradients(*_: Any) -> None:
        gradients.update({name: p.grad.clone() for name, p in run.detector.named_parameters() if p.grad is not None})

    run.optimizer.optimizer.register_step_pre_hook(note_gradients)
    run.run(Events(lambda *_: {}, lambda _: None, lambda *values: losses.append(values[3]), stop=lambda: True))
    return {"gradients": gradients, "losses": losses}


def train_until_killed(data: Path, out: Path, changes: dict[str, Any]) -> None:
    """Train, saving to ``out``, and die by SIGKILL in the middle of the second epoch."""
    from fusion_mamba_ros.training.trainer import Events

    def die(epoch: int, done: int, *_: Any) -> None:
        if (epoch, done) == (1, 4):
            os.kill(os.getpid(), signal.SIGKILL)

    trainer(data, changes).run(Events(lambda *_: {"fitness": 0.0}, lambda state: state.save(out), die))


def main() -> None:
    """Take one step, in as many processes as `torchrun` started, and write what it was: DATA OUT CHANGES."""
    torch.set_num_threads(1)
    data, out, changes = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    run = trainer(data, changes, devices=int(os.environ["WORLD_SIZE"]), strategy="ddp")
    found = first_step(run)
    if run.fabric.is_global_zero:
        torch.save(found, out)


if __name__ == "__main__":
    main()
