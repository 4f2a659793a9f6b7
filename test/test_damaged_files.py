# SPDX-License-Identifier: Apache-2.0
"""Every command answers files with random damage with a result, or with one sentence and an exit code."""

from __future__ import annotations

from pathlib import Path

import hostile_files as hostile
import numpy as np
import pytest
from hostile_inputs import Inputs, predict
from typer.testing import CliRunner

from fusion_mamba_ros import cli
from fusion_mamba_ros.cli import app


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["checkpoint", "image", "coco", "detections", "bag", "weights", "recipe"])
def test_files_with_random_damage_end_in_a_result_or_one_sentence(kind: str, inputs: Inputs) -> None:
    seed = 11
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    victim, arguments = _victim(kind, inputs)
    good = victim.read_bytes()
    refused = 0
    for _ in range(8):
        data = bytearray(good)
        # Mostly near the start, where the headers are.
        reach = len(data) if rng.random() < 0.3 else min(len(data), 2000)
        for at in rng.integers(0, reach, rng.integers(1, 12)):
            data[at] = rng.integers(0, 256)
        victim.write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.2 else data)
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert result.exit_code in (0, 1, 2) and "Traceback" not in result.output
        refused += result.exit_code != 0
    assert refused


def _victim(kind: str, inputs: Inputs) -> tuple[Path, list[object]]:
    """Return a good file and a command that reads it."""
    folder = inputs.folder
    if kind == "checkpoint":
        path = inputs.text("model.safetensors", inputs.good.read_bytes())
        return path, ["predict", "--rgb", inputs.image(), "--checkpoint", path, "--out", inputs.out]
    if kind == "image":
        return inputs.image("x.png"), predict("--rgb", folder / "x.png")(inputs)
    if kind == "coco":
        root = hostile.coco(folder / "coco", hostile.COCO)
        return root / "annotations" / "train.json", ["check-data", root]
    if kind == "detections":
        path = hostile.results(folder / "d.npz")
        return path, ["compare", path, path]
    if kind == "bag":
        bag = inputs.bag(lambda information: None)
        return next(bag.glob("*.mcap")), ["register", "--bag", bag, "--out", folder / "r.yaml", "--pairs", "1"]
    if kind == "weights":
        pickled = hostile.rebuilt_tensor((2, 2), (2, 1))
        path = hostile.torch_file(folder / "y.pt", pickled, {"0": bytes(16)})
        return path, ["import-weights", path, "--out", folder / "s.safetensors"]
    recipe = (Path(cli.__file__).parent / "training" / "recipes" / "nano.yaml").read_bytes()
    path = inputs.text("recipe.yaml", recipe)
    # The dataset has nothing usable, so that a recipe that is still good does not train.
    return path, ["train", "--data", inputs.dataset(("nonsense",)), "--out", inputs.out, "--config", path]
