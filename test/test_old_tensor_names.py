# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and training states with the tensor names of older formats load bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fusion_mamba_ros.network import FusionMamba, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointError, CheckpointMetadata, load_checkpoint, save_checkpoint
from fusion_mamba_ros.perception.checkpoint_format import current_tensor_names
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.training.distillation import DistillationState
from fusion_mamba_ros.training.training_state import TrainingState


@pytest.fixture(scope="module")
def model() -> FusionMambaDetector:
    torch.manual_seed(5)
    operator = FusionMamba(dssf_count=1, max_channels=8, state_size=4)
    return FusionMambaDetector(ModelConfig(classes=1, operator=operator))


def old(name: str) -> str:
    return name.replace("proj_in", "lead_in").replace("proj_out", "lead_out")


def with_old_names(tensors: dict[str, Any]) -> dict[str, Any]:
    renamed = {old(name): tensor for name, tensor in tensors.items()}
    assert len(renamed.keys() - tensors.keys()) == 12  # two streams, in and out, at three levels
    return renamed


def write_old(path: Path, model: FusionMambaDetector, version: int) -> Path:
    """Write a checkpoint as it was in format ``version``."""
    save_checkpoint(path, model, CheckpointMetadata(("person",), (96, 64)))
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        document = json.loads(file.metadata()["fusion_mamba"])
    save_file(with_old_names(tensors), path, {"fusion_mamba": json.dumps({**document, "format": version})})
    return path


@pytest.mark.parametrize("version", [1, 2])
def test_a_checkpoint_of_an_older_format_loads_bit_for_bit(
    model: FusionMambaDetector, version: int, tmp_path: Path
) -> None:
    loaded, _ = load_checkpoint(write_old(tmp_path / "old.safetensors", model, version))
    expected = model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_the_old_names_are_unknown_in_the_present_format(model: FusionMambaDetector, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"12 missing, 12 unknown.*proj_in"):
        load_checkpoint(write_old(tmp_path / "old.safetensors", model, 3))


def test_the_checkpoint_of_the_package_holds_the_tensors_of_its_file() -> None:
    path = default_checkpoint()
    loaded, _ = load_checkpoint(path)
    tensors = loaded.state_dict()
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # no mapping
            current = name.replace("lead_in", "proj_in").replace("lead_out", "proj_out")
            assert torch.equal(tensors[current], file.get_tensor(name).float()), name


def test_a_file_that_has_both_names_of_a_tensor_keeps_both() -> None:
    both = ["a.lead_in.0.weight", "a.proj_in.0.weight"]
    assert current_tensor_names(both, version=2) == {name: name for name in both}


def test_states_of_older_runs_are_resumed(model: FusionMambaDetector, tmp_path: Path) -> None:
    tensors = model.state_dict()
    renamed = with_old_names(tensors)
    training = TrainingState({}, "pairs", model=renamed, average=renamed)
    training.save(tmp_path / "state.pt")
    loaded = TrainingState.load(tmp_path / "state.pt")
    distillation = DistillationState({}, {}, {}, model=renamed)
    distillation.save(tmp_path / "distillation.pt")
    for read in (loaded.model, loaded.average, DistillationState.load(tmp_path / "distillation.pt").model):
        assert read.keys() == tensors.keys()
        assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
