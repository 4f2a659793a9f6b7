# SPDX-License-Identifier: Apache-2.0
"""Parameters that are given and that the node does not have: each is named, none is a fault."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")

import rclpy
from detector_graph import isolate
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from stand_in_detector import StandIn

from fusion_mamba_ros.ros.detector.detector_node import DetectorNode

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class Log:
    """Stand-in for the node's logger."""

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self.info = self.warning = self.error = self.sentences.append


@pytest.mark.parametrize("depth", [7, -5])
def test_each_unknown_parameter_is_named_and_a_bad_depth_refused(monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    log = Log()
    monkeypatch.setattr(DetectorNode, "get_logger", lambda self: log)
    isolate()
    context = rclpy.Context()
    rclpy.init(context=context)
    values = {
        "score_treshold": 0.3,
        "velocity": 3,
        "qos_overrides./rgb/image_raw.subscription.depth": 7,
        "qos_overrides./detections.publisher.depth": depth,
        "qos_overrides./rgb/imge_raw.subscription.depth": 7,
    }
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = DetectorNode(context=context, load=StandIn, parameter_overrides=overrides)
    try:
        assert [sentence for sentence in log.sentences if "unknown" in sentence] == [
            "parameter score_treshold is unknown to this node and has no effect: did you mean score_threshold?",
            "parameter velocity is unknown to this node and has no effect: "
            "see config/detector.yaml for those that it has",
        ]
        if depth < 0:
            assert node.trigger_configure() == FAILURE
            assert "`/detections`" in log.sentences[-1]
            assert log.sentences[-1].endswith("depth is -5, expected 1 to 10000")
            return
        assert node.trigger_configure() == SUCCESS
        assert node.trigger_activate() == SUCCESS
        (warning,) = [sentence for sentence in log.sentences if "qos_overrides./" in sentence]
        assert warning.startswith("parameter qos_overrides./rgb/imge_raw.subscription.depth has no effect: ")
    finally:
        node.destroy_node()
        context.shutdown()
