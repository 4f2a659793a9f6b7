# SPDX-License-Identifier: Apache-2.0
"""All status functions of a node that is well."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

from healthy_observation import GOOD

from fusion_mamba_ros.ros.detector.camera_health import camera_status
from fusion_mamba_ros.ros.detector.health import Level, Observation
from fusion_mamba_ros.ros.detector.inference_health import inference_status
from fusion_mamba_ros.ros.detector.output_health import output_status
from fusion_mamba_ros.ros.detector.pairing_health import pairing_status


def test_all_is_well() -> None:
    for status in (camera_status(GOOD), pairing_status(GOOD), inference_status(GOOD, {"a": 1}), output_status(GOOD)):
        assert (status.level, status.message) == (Level.OK, "OK")
    assert inference_status(GOOD, {"device": "cpu"}).values["device"] == "cpu"


def test_an_inactive_node_is_well() -> None:
    idle = Observation()
    for status in (camera_status(idle), pairing_status(idle), inference_status(idle, {}), output_status(idle)):
        assert (status.level, status.message) == (Level.OK, "inactive")
