# SPDX-License-Identifier: Apache-2.0
"""Where the weights are found that come with the package: source tree, colcon's install space, a wheel's prefix."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_mamba_ros.commands.bag_options import BagOptions
from fusion_mamba_ros.perception import default_checkpoint as default_checkpoint_module
from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointError
from fusion_mamba_ros.perception.default_checkpoint import EXPORTED_NAME, NAME, default_checkpoint

SHARE = f"share/fusion_mamba_ros/weights/{NAME}"


def lay(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    ("package", "weights"),
    [
        ("fusion_mamba_ros", f"weights/{NAME}"),
        ("lib/python3.12/site-packages/fusion_mamba_ros", SHARE),
        ("local/lib/python3.10/dist-packages/fusion_mamba_ros", SHARE),  # colcon on Ubuntu
        ("local/lib/python3.10/dist-packages/fusion_mamba_ros", f"local/{SHARE}"),  # pip on Ubuntu
        ("fusion_mamba_ros", SHARE),  # pip --target
    ],
)
def test_weights_of_every_kind_of_installation_are_found(tmp_path: Path, package: str, weights: str) -> None:
    there = lay(tmp_path / weights)
    assert default_checkpoint(tmp_path / package) == there


def test_the_source_tree_goes_before_an_installed_copy(tmp_path: Path) -> None:
    lay(tmp_path / SHARE)
    own = lay(tmp_path / "source" / "weights" / NAME)
    assert default_checkpoint(tmp_path / "source" / "fusion_mamba_ros") == own


def test_absent_weights_are_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=rf"came without weights/{NAME}: name one$"):
        default_checkpoint(tmp_path / "lib" / "fusion_mamba_ros")


@pytest.mark.parametrize(
    ("missing", "expected"),
    [((), NAME), (("torch",), EXPORTED_NAME), (("torch", "onnxruntime"), NAME), (("onnxruntime",), NAME)],
)
def test_the_exported_weights_are_used_if_only_their_engine_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], expected: str
) -> None:
    weights = lay(tmp_path / "weights" / NAME).parent
    (weights / EXPORTED_NAME).touch()
    reasons = dict.fromkeys(missing, "is not installed")
    monkeypatch.setattr(default_checkpoint_module, "why_unavailable", lambda kind: reasons.get(kind.name))
    assert default_checkpoint(tmp_path / "fusion_mamba_ros") == weights / expected


@pytest.mark.parametrize(("engine", "expected"), [("onnxruntime", EXPORTED_NAME), ("torch", NAME), ("auto", NAME)])
def test_the_named_engine_gets_the_file_that_it_runs(tmp_path: Path, engine: str, expected: str) -> None:
    weights = lay(tmp_path / "weights" / NAME).parent
    (weights / EXPORTED_NAME).touch()
    assert default_checkpoint(tmp_path / "fusion_mamba_ros", engine=engine) == weights / expected


@pytest.mark.parametrize(
    ("engine", "name"), [("auto", NAME), ("torch", NAME), ("onnxruntime", EXPORTED_NAME), ("nonsense", NAME)]
)
def test_evaluation_of_a_bag_takes_the_weights_that_the_named_engine_runs(engine: str, name: str) -> None:
    checkpoint = BagOptions(engine=engine).evaluation_options().detector.checkpoint
    assert checkpoint is not None and checkpoint.name == name
