# SPDX-License-Identifier: Apache-2.0
"""Start a run from the weights of a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint, read_metadata
from fusion_mamba_ros.training.recipe import Recipe, TrainingError


def fields_of_checkpoint(path: Path) -> dict[str, Any]:
    """Return the fields that a recipe can take from a checkpoint, in the form of the recipe's YAML."""
    config, metadata = read_metadata(path)
    return {
        "model": config.to_dict(),
        "input_size": list(metadata.input_size),
        "thermal": metadata.thermal.to_dict(),
    }


def load_start_weights(model: FusionMambaDetector, path: Path, recipe: Recipe) -> tuple[str, list[str]]:
    """Copy the tensors of a checkpoint that fit into ``model``.

    Return a sentence on what was copied, and one sentence for each difference between the recipe and the checkpoint.
    Raises `TrainingError` if no tensor fits and ``CheckpointError`` if the file cannot be read.
    """
    source, metadata = load_checkpoint(path)
    own, given = model.state_dict(), source.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise TrainingError(
            f"no tensor of '{path}' fits this model: check backbone and scale of the recipe, or take the checkpoint's "
            "with --set model=checkpoint"
        )
    model.load_state_dict(fitting, strict=False)
    return f"{path}: {len(fitting)} of {len(own)} tensors fit and were copied", _differences(path, metadata, recipe)


def _differences(path: Path, metadata: CheckpointMetadata, recipe: Recipe) -> list[str]:
    differences = []
    if metadata.input_size != recipe.input_size:
        own, given = (f"{width}x{height}" for width, height in (recipe.input_size, metadata.input_size))
        differences.append(
            f"the recipe's canvas is {own}, '{path.name}' was trained at {given}: the new weights are for {own}; "
            f"--set input_size=checkpoint keeps {given}"
        )
    if metadata.thermal != recipe.thermal:
        differences.append(
            f"the recipe scales thermal images differently from the training of '{path.name}': "
            "--set thermal=checkpoint keeps its scaling"
        )
    return differences
