# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from fusion_mamba_ros.network import ModelConfig


def test_plain_mapping_brings_back_what_was_written() -> None:
    config = ModelConfig(backbone="yolov5", width="s", modalities={"thermal": 1, "rgb": 3}, levels=(3, 5), gate=False)
    again = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert list(again.modalities) == ["thermal", "rgb"]


def test_list_of_names_gets_the_usual_channels() -> None:
    assert ModelConfig(modalities=["rgb", "thermal"]).modalities == {"rgb": 3, "thermal": 1}


def test_named_configuration_can_be_changed() -> None:
    config = ModelConfig.named("paper-yolov8", classes=6)
    assert (config.classes, config.scale.channels[2:], config.scale.depths) == (6, (256, 512, 1024), (3, 9, 9, 3))
    assert config.neck_layout == "yolov5"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backbone": "resnet"}, "backbone is 'resnet': choose yolov8, yolov5"),
        ({"width": "z"}, "width is 'z'"),
        ({"fusion": "magic"}, "fusion is 'magic'"),
        ({"classes": 0}, "classes is 0: give a whole number of at least 1"),
        ({"classes": True}, "classes is True"),
        ({"dssf_count": -1}, "dssf_count is -1"),
        ({"gate": 1}, "gate is 1: set it to true or false"),
        ({"levels": [2]}, "levels is"),
        ({"modalities": []}, "name 1 to 4 inputs"),
        ({"modalities": {"rgb": 0}}, "channels of modality 'rgb'"),
        ({"modalities": ["rgb", "rgb"]}, "name each once"),
        ({"modalities": {"a b": 1}}, "letters, digits"),
        ({"fusion_channels": 30}, "multiple of 4"),
        ({"dssf_count": 0, "sscs": False}, "nothing to fuse"),
        ({"depth": 3}, "has no field 'depth'"),
    ],
    ids=str,
)
def test_bad_value_is_refused_with_one_sentence(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        ModelConfig.from_dict(changes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
