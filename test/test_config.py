# SPDX-License-Identifier: Apache-2.0
"""Model configurations: plain form, bad values and old names."""

import dataclasses
import json
import warnings
from typing import Any

import pytest

from fusion_mamba_ros.network import Add, FusionMamba, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.network.backbones.yolo import SCALES


def test_plain_mapping_brings_back_what_was_written() -> None:
    config = ModelConfig(
        backbone="yolov5",
        scale="s",
        modalities={"thermal": 1, "rgb": 3},
        levels=(3, 5),
        operator=FusionMamba(gate=False),
    )
    again = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert list(again.modalities) == ["thermal", "rgb"]


def test_list_of_names_gets_the_usual_channels() -> None:
    names: Any = ["rgb", "thermal"]
    assert ModelConfig(modalities=names).modalities == {"rgb": 3, "thermal": 1}


def test_named_configuration_can_be_changed() -> None:
    config = ModelConfig.named("paper-yolov8", classes=6)
    assert (config.classes, config.level_channels, SCALES["yolov8"]["paper"].depths) == (
        6,
        (256, 512, 1024),
        (3, 9, 9, 3),
    )
    assert config.neck_layout == "yolov5"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "resnet"}, "backbone is 'resnet': choose yolov8, yolov5"),
        ({"scale": "z"}, "scale is 'z'"),
        ({"fusion": "magic"}, "fusion is 'magic'"),
        ({"classes": 0}, "classes is 0: give a whole number of at least 1"),
        ({"classes": True}, "classes is True"),
        ({"fusion_mamba": {"dssf_count": -1}}, "dssf_count is -1"),
        ({"fusion_mamba": {"dssf_count": 10**9}}, "dssf_count is 1000000000: give a whole number of at most 64"),
        ({"fusion_mamba": {"gate": 1}}, "gate is 1: set it to true or false"),
        ({"levels": [2]}, "levels is"),
        ({"modalities": []}, "name 1 to 4 inputs"),
        ({"modalities": {"rgb": 0}}, "channels of modality 'rgb'"),
        ({"modalities": ["rgb", "rgb"]}, "name each once"),
        ({"modalities": {"a b": 1}}, "letters, digits"),
        ({"fusion_mamba": {"max_channels": 30}}, "multiple of 4"),
        ({"fusion_mamba": {"dssf_count": 0, "sscs": False}}, "nothing to fuse"),
        ({"fusion_mamba": {"scan_directions": 3}}, "scan_directions is 3: choose 1, 2 or 4"),
        ({"fusion_mamba": {"scan_directions": True}}, "scan_directions is True: choose 1, 2 or 4"),
        ({"fusion_mamba": {"gating": "none"}}, "gating is 'none': choose simultaneous, sequential"),
        ({"fusion_mamba": {"dssf_loop": True}}, "dssf_loop is True: choose chained, last"),
        ({"depth": 3}, "has no field 'depth'"),
        ({"fusion_mamba": {"depth": 3}}, "the section fusion_mamba has no field 'depth': use dssf_count"),
        ({"add": {"depth": 3}}, "the section add has no field 'depth': leave it out"),
        ({"fusion_mamba": 3}, "fusion_mamba is 3: write the section as a mapping"),
        ({"backbone": "efficientnet_lite0", "scale": "paper"}, "scale is 'paper'"),
        ({"fusion": ["add"]}, "fusion is ['add']"),
    ],
    ids=str,
)
def test_bad_value_is_refused_with_one_sentence(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ModelConfig.from_dict(changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# What version 0.1 wrote into checkpoints and recipes.
FLAT = {
    "backbone": "yolov8",
    "width": "n",
    "neck": "auto",
    "classes": 3,
    "modalities": {"rgb": 3, "thermal": 1},
    "fusion": "fusion_mamba",
    "levels": [3, 4, 5],
    "fusion_channels": 32,
    "dssf_count": 1,
    "sscs": False,
    "gate": False,
    "dual_attention": False,
    "share_ssm": False,
    "state_size": 4,
    "reg_max": 8,
}
TODAY = ModelConfig(
    classes=3,
    operator=FusionMamba(
        dssf_count=1, max_channels=32, sscs=False, gate=False, dual_attention=False, share_ssm=False, state_size=4
    ),
    reg_max=8,
)


def test_stored_configuration_of_the_last_version_is_read_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ModelConfig.from_dict(FLAT, stored=True) == TODAY


def test_each_old_name_in_a_recipe_is_accepted_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="model configuration: write") as caught:
        assert ModelConfig.from_dict(FLAT) == TODAY
    messages = {str(warning.message) for warning in caught}
    assert len(messages) == 8
    assert "model configuration: write scale for width, which the next release drops" in messages
    assert any("write fusion_mamba.max_channels for fusion_channels" in message for message in messages)


def test_old_names_of_constructor_and_attributes_warn_and_work() -> None:
    old_names: dict[str, Any] = {"width": "s", "dssf_count": 2, "fusion_channels": 64}
    with pytest.warns(DeprecationWarning, match="for (width|dssf_count|fusion_channels)"):
        config: Any = ModelConfig(**old_names)
    assert config == ModelConfig(scale="s", operator=FusionMamba(dssf_count=2, max_channels=64))
    with pytest.warns(DeprecationWarning, match="for (width|dssf_count|fusion_channels)"):
        assert (config.dssf_count, config.fusion_channels, config.width) == (2, 64, "s")
    with pytest.warns(DeprecationWarning, match="write fusion_mamba.dssf_count"):
        one = dataclasses.replace(config, dssf_count=1)
    assert one == ModelConfig(scale="s", operator=FusionMamba(dssf_count=1, max_channels=64))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"scale": "n", "width": "m"}, ModelConfig(scale="m")),
        ({"width": "n", "scale": "m"}, ModelConfig(scale="m")),
        ({"fusion_mamba": {"dssf_count": 1, "gate": False}, "dssf_count": 4}, FusionMamba(4, gate=False)),
        ({"dssf_count": 4, "fusion_mamba": {"dssf_count": 1}}, FusionMamba(1)),
        ({"fusion_mamba": {"gate": False}, "fusion_mamba.dssf_count": 1}, FusionMamba(1, gate=False)),
        ({"fusion_mamba": {"dssf_count": 1}, "fusion": "add"}, Add()),
        ({"dssf_count": 1, "fusion": "add"}, Add()),
    ],
    ids=str,
)
def test_later_of_two_names_counts_and_sections_of_other_operators_are_left_out(
    values: dict[str, Any], expected: object
) -> None:
    # As when `--set` changes a field, by its old or its new name, of a recipe that has it by the other one.
    config = ModelConfig.from_dict(values, stored=True)
    assert expected in (config, config.operator)


def test_section_of_an_operator_that_is_not_chosen_is_checked_all_the_same() -> None:
    with pytest.raises(ValueError, match="dssf_count is 'many'"):
        ModelConfig.from_dict({"fusion": "add", "fusion_mamba": {"dssf_count": "many"}})


def test_settings_of_another_operator_are_refused() -> None:
    with pytest.raises(ValueError, match="fusion is add: set both"):
        ModelConfig(fusion="add", operator=FusionMamba())


def test_network_of_an_old_configuration_has_the_same_tensors() -> None:
    old = FusionMambaDetector(ModelConfig.from_dict({**FLAT, "sscs": True}, stored=True))
    blocks = [name for name in old.state_dict() if name.startswith("fusions.2.enhance.")]
    assert "fusions.2.enhance.proj_in.0.weight" in blocks
    assert "fusions.2.enhance.dssf.0.scans.1.A_log" in blocks
