# SPDX-License-Identifier: Apache-2.0
"""The node's parameters for tiles, from the parameter file to the predictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fusion_mamba_ros.perception.tiling import Tiling
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters
from fusion_mamba_ros.ros.detector.predictor_loading import load_predictor

DEFAULTS = {spec.name: spec.default for spec in SPECS}
YAML = Path(__file__).parents[1] / "config" / "detector.yaml"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tiles": "3"}, "parameter tiles is '3': expected auto, COLUMNSxROWS such as 3x2, or empty for none"),
        ({"tiles": "20x20"}, "parameter tiles is 20x20: expected at most 256 tiles"),
        ({"tiles": 3}, "parameter tiles is 3: expected text"),
        ({"tile_overlap": 0.9}, "parameter tile_overlap is 0.9: expected 0 to 0.8"),
        (
            {"tiles": "2x2", "contributions": True},
            "contributions is true and tiles is '2x2': contributions of tiles are",
        ),
        ({"tiles": "2x2", "tile_overlap": float("nan")}, "parameter tile_overlap is nan"),
    ],
)
def test_bad_tiles_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        DetectorParameters.from_values({**DEFAULTS, **values})


@pytest.mark.parametrize(
    ("values", "tiling"),
    [
        ({}, None),
        ({"tiles": "auto"}, Tiling(0, 0, 0.2)),
        ({"tiles": "3x2", "tile_overlap": 0}, Tiling(3, 2, 0.0)),
    ],
)
def test_the_predictor_of_the_node_has_the_tiles_of_the_parameters(
    values: dict[str, Any], tiling: Tiling | None
) -> None:
    parameters = DetectorParameters.from_values({**DEFAULTS, **values, "device": "cpu"})
    assert load_predictor(parameters).tiling == tiling


def test_the_parameter_file_has_the_defaults() -> None:
    stored = yaml.safe_load(YAML.read_text())["/**"]["ros__parameters"]
    assert (stored["tiles"], stored["tile_overlap"]) == ("", 0.2)
