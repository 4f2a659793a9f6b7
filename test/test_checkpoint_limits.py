# SPDX-License-Identifier: Apache-2.0
"""A checkpoint cannot ask for more than it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hostile_files
import pytest

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception import checkpoint
from fusion_mamba_ros.perception.checkpoint import (
    CheckpointError,
    CheckpointMetadata,
    load_checkpoint,
    read_metadata,
    save_checkpoint,
)

DEEP = {"state_size": 4, "dssf_count": 10}


def test_a_deep_network_is_built_only_if_the_file_holds_its_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[int] = []

    def build(config: Any) -> FusionMambaDetector:
        built.append(config.operator.dssf_count)
        return FusionMambaDetector(config)

    config = ModelConfig.from_dict({"scale": "n", "fusion_mamba": DEEP, "classes": 2})
    path = tmp_path / "deep.safetensors"
    save_checkpoint(path, FusionMambaDetector(config), CheckpointMetadata(("a", "b"), (96, 64)))
    monkeypatch.setattr(checkpoint, "FusionMambaDetector", build)
    load_checkpoint(path)
    assert built == [1, 10]
    built.clear()
    claimed = hostile_files.checkpoint(
        tmp_path / "c.safetensors", hostile_files.with_fusion_mamba(**DEEP | {"dssf_count": 64})
    )
    with pytest.raises(CheckpointError, match="tensors that do not fit its configuration"):
        load_checkpoint(claimed)
    assert built == [1]


@pytest.mark.parametrize("field", ["classes", "reg_max"])
def test_whole_numbers_of_a_model_have_an_upper_limit(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field} is 4000000000: give a whole number of at most"):
        ModelConfig.from_dict({field: 4_000_000_000})


@pytest.mark.parametrize("field", ["dssf_count", "state_size", "max_channels"])
def test_whole_numbers_of_a_fusion_have_an_upper_limit(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field} is 4000000000: give a whole number of at most"):
        ModelConfig.from_dict({"fusion_mamba": {field: 4_000_000_000}})


@pytest.mark.parametrize(
    "changes",
    [
        {"input_size": [float("inf"), 64]},
        {"input_size": [4128, 64]},
        {"input_size": [True, 64]},
        {"class_names": "ab"},
        {"class_names": ["a", "b\x1b[31m"]},
        {"class_names": ["a", "b" * 201]},
        {"homography": [[float("nan"), 0, 0], [0, 1, 0], [0, 0, 1]]},
        {"metrics": {"modes": {"fused": 5}}},
        {"training": []},
        {"training": {"a": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}},
        {"model": {"modalities": {"rgb": 65}}},
    ],
)
def test_hostile_metadata_is_refused_by_reading_the_metadata_alone(changes: dict[str, Any], tmp_path: Path) -> None:
    path = hostile_files.checkpoint(tmp_path / "c.safetensors", changes)
    with pytest.raises(CheckpointError, match=r"c\.safetensors' has unusable metadata"):
        read_metadata(path)
