# SPDX-License-Identifier: Apache-2.0
"""Saving and loading of checkpoints, and the refusal of damaged or foreign files."""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import (
    CheckpointError,
    CheckpointMetadata,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

METADATA = CheckpointMetadata(
    class_names=("person", "car"),
    input_size=(96, 64),
    thermal=ThermalScaling(method="range", range_min=7000, range_max=9000, polarity="black_hot"),
    homography=((1.0, 0.0, 0.1), (0.0, 1.1, 0.0), (0.0, 0.0, 1.0)),
    training={"data": ["msrs"], "split": "train", "commit": "abc"},
    metrics={"modes": {"fused": {"mAP": 0.4, "mAP50": 0.7, "per_class": {"person": 0.8}}}},
)
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def model() -> FusionMambaDetector:
    torch.manual_seed(3)
    return FusionMambaDetector(ModelConfig(classes=2, fusion="add"))


@pytest.fixture
def path(tmp_path: Path, model: FusionMambaDetector) -> Path:
    file = tmp_path / "model.safetensors"
    save_checkpoint(file, model, METADATA)
    return file


def rewrite(
    path: Path, *, document: Change | None = None, tensors: Change | None = None, drop_metadata: bool = False
) -> None:
    with safe_open(path, framework="pt") as file:
        names = list(file.keys())
        values = {name: file.get_tensor(name) for name in names}
        header = file.metadata()
    content = json.loads(header["fusion_mamba"])
    if document is not None:
        document(content)
    if tensors is not None:
        tensors(values)
    save_file(values, path, {} if drop_metadata else {"fusion_mamba": json.dumps(content)})


def test_what_is_saved_comes_back_bit_for_bit(path: Path, model: FusionMambaDetector) -> None:
    loaded, metadata = load_checkpoint(path)
    assert metadata == METADATA
    assert loaded.config == model.config
    assert not loaded.training
    expected = model.state_dict()
    assert loaded.state_dict().keys() == expected.keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_homographies_of_further_modalities_are_kept_beside_that_of_thermal(
    tmp_path: Path, model: FusionMambaDetector
) -> None:
    radar = ((0.9, 0.0, 0.05), (0.0, 0.9, 0.0), (0.0, 0.0, 1.0))
    save_checkpoint(tmp_path / "a.safetensors", model, replace(METADATA, further_homographies={"radar": radar}))
    _, metadata = read_metadata(tmp_path / "a.safetensors")
    assert metadata.homographies == {"thermal": METADATA.homography, "radar": radar}


def test_metadata_reads_without_the_tensors(path: Path, model: FusionMambaDetector) -> None:
    config, metadata = read_metadata(path)
    assert config == model.config
    assert metadata.metrics["modes"]["fused"]["mAP50"] == 0.7


def test_half_storage_rounds_filters_to_float16_and_keeps_vectors(
    tmp_path: Path, path: Path, model: FusionMambaDetector
) -> None:
    half = tmp_path / "half.safetensors"
    save_checkpoint(half, model, METADATA, half=True)
    assert half.stat().st_size < 0.55 * path.stat().st_size
    loaded, _ = load_checkpoint(half)
    for name, tensor in loaded.state_dict().items():
        original = model.state_dict()[name]
        assert tensor.dtype == original.dtype
        expected = original.half().float() if original.ndim >= 2 else original
        assert torch.equal(tensor, expected), name


def test_half_storage_keeps_values_that_float16_cannot_hold(tmp_path: Path, model: FusionMambaDetector) -> None:
    name = next(name for name, tensor in model.state_dict().items() if tensor.ndim == 4)
    before = model.state_dict()[name].clone()
    model.state_dict()[name].view(-1)[0] = 1e6
    save_checkpoint(tmp_path / "large.safetensors", model, METADATA, half=True)
    loaded, _ = load_checkpoint(tmp_path / "large.safetensors")
    assert loaded.state_dict()[name].view(-1)[0] == 1e6
    model.state_dict()[name].copy_(before)


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_checkpoint(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", np.random.default_rng(0).bytes(4096)])
def test_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "noise.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_checkpoint(file)


def test_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="not a complete safetensors file"):
        load_checkpoint(path)


def test_file_without_metadata_is_refused(path: Path) -> None:
    rewrite(path, drop_metadata=True)
    with pytest.raises(CheckpointError, match="carries no 'fusion_mamba' metadata"):
        load_checkpoint(path)


def test_checkpoint_of_the_first_format_loads_without_a_warning(path: Path, model: FusionMambaDetector) -> None:
    def as_version_1(content: dict[str, Any]) -> None:
        content["format"] = 1
        content["model"]["width"] = content["model"].pop("scale")
        content["model"] |= {"dssf_count": 8, "fusion_channels": None, "sscs": True, "state_size": 16}

    rewrite(path, document=as_version_1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded, _ = load_checkpoint(path)
    assert loaded.config == model.config
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_newer_format_is_refused_with_the_advice_to_update_this_package(path: Path) -> None:
    rewrite(path, document=lambda content: content.update(format=99))
    with pytest.raises(CheckpointError, match="format 99, this package reads formats up to 3: update fusion_mamba_ros"):
        load_checkpoint(path)


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None])
def test_a_format_that_was_never_written_is_refused(path: Path, version: bool | str | float | None) -> None:
    rewrite(path, document=lambda content: content.update(format=version))
    with pytest.raises(CheckpointError, match="expected a whole number from 1 to 3"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("format"),
        lambda content: content.pop("input_size"),
        lambda content: content.update(input_size=[100, 100]),
        lambda content: content.update(model={"width": "enormous"}),
        lambda content: content.update(model=None),
        lambda content: content.update(thermal={"method": "guess"}),
        lambda content: content.update(class_names=[]),
        lambda content: content.update(homography="none"),
    ],
)
def test_unusable_metadata_is_refused(path: Path, spoil: Change) -> None:
    rewrite(path, document=spoil)
    with pytest.raises(CheckpointError, match="unusable metadata"):
        load_checkpoint(path)


def test_class_names_that_do_not_fit_the_model_are_refused(
    path: Path, model: FusionMambaDetector, tmp_path: Path
) -> None:
    rewrite(path, document=lambda content: content.update(class_names=["person"]))
    with pytest.raises(CheckpointError, match="names 1 classes, its model has 2"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="1 class names for a model of 2 classes"):
        save_checkpoint(tmp_path / "x.safetensors", model, CheckpointMetadata(("person",), (64, 64)))


def test_tensors_of_another_model_are_refused(path: Path) -> None:
    rewrite(path, document=lambda content: content["model"].update(scale="s"))
    with pytest.raises(CheckpointError, match=r"tensors that do not fit its configuration.*of another shape"):
        load_checkpoint(path)


def test_missing_and_unknown_tensors_are_refused_by_name(path: Path) -> None:
    def rename(values: dict[str, torch.Tensor]) -> None:
        name = next(name for name in values if name.endswith("conv.weight"))
        values["stranger"] = values.pop(name)

    rewrite(path, tensors=rename)
    with pytest.raises(CheckpointError, match=r"1 missing, 1 unknown.*conv.weight' is missing"):
        load_checkpoint(path)


def test_full_disk_leaves_the_earlier_file_and_no_remains(
    path: Path, model: FusionMambaDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CheckpointError, match=r"No space left on device.*untouched"):
        save_checkpoint(path, model, METADATA)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_metadata_that_json_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, model: FusionMambaDetector
) -> None:
    file = tmp_path / "model.safetensors"
    with pytest.raises(CheckpointError, match="not JSON"):
        save_checkpoint(file, model, CheckpointMetadata(("a", "b"), (64, 64), metrics={"mAP": float("nan")}))
    assert not file.exists()
