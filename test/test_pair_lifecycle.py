# SPDX-License-Identifier: Apache-2.0
"""Transitions of a node with two camera pairs, of which one cannot be activated or does not end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

pytest.importorskip("rclpy")

from detector_graph import wait_until
from patient_detector import IMAGES, Log, Patient, node_with_patient
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_cameras import image_message

from fusion_mamba_ros.ros.detector import detection_session
from fusion_mamba_ros.ros.detector.detector_node import DetectorNode
from fusion_mamba_ros.ros.detector.message_conversion import to_stamp
from fusion_mamba_ros.ros.detector.pairing_filter import PairingFilter

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
START = {"pairs": ["front", "rear"], "threads": 2}


class ReentrantEngine:
    """An engine that several threads may call."""

    is_reentrant = True


class PatientPair(Patient):
    """A predictor that blocks, of an engine that the pairs call at the same time."""

    engine = ReentrantEngine()


class PairsNode(DetectorNode):
    """A configured node with two camera pairs, and its log."""

    def __init__(self, context: Context) -> None:
        super().__init__(
            context=context,
            load=PatientPair,
            share=lambda predictor, parameters: PatientPair(parameters),
            parameter_overrides=[Parameter(name, value=value) for name, value in START.items()],
        )
        self.log = Log()
        self.get_logger = lambda: self.log  # type: ignore[method-assign]
        assert self.trigger_configure() == SUCCESS

    def wait_for_arrays(self) -> None:
        """Hand each pair images as two cameras of 30 Hz would, and wait until an array is published."""
        for pair in self._pairs:
            wait_until(partial(has_array, self.see(pair)), f"an array of {pair.names.pair}")

    def see(self, pair: Any) -> Any:
        """Hand one pair images. Return its session."""
        now_ns = self.get_clock().now().nanoseconds
        for number in range(4):
            for camera, subscription in pair.session.subscriptions.items():
                message = image_message(camera, IMAGES[camera])
                message.header.stamp = to_stamp(now_ns + number * 33_000_000)
                subscription.signalMessage(message)
        return pair.session


@pytest.fixture
def node() -> Iterator[PairsNode]:
    with node_with_patient(PairsNode) as node:
        yield node


def has_array(session: Any) -> bool:
    return bool(session.counters()[1])


def inference_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("inference")]


def test_a_pair_that_cannot_be_activated_leaves_nothing_of_the_other(
    node: PairsNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    topics = [subscription.topic_name for subscription in node.subscriptions]
    make, calls = PairingFilter, list[object]()

    def fail_for_the_second(*arguments: Any, **options: Any) -> Any:
        calls.append(options)
        if len(calls) == 2:
            raise RuntimeError("no more of these")
        return make(*arguments, **options)

    monkeypatch.setattr(detection_session, "PairingFilter", fail_for_the_second)
    assert node.trigger_activate() == FAILURE
    assert node.log.says("activate failed: no more of these")
    assert [subscription.topic_name for subscription in node.subscriptions] == topics
    assert [pair.session for pair in node._pairs] == [None, None]
    wait_until(lambda: not inference_threads(), "the end of the threads")
    assert node.trigger_activate() == SUCCESS
    for predictor in Patient.made:
        predictor.go.set()
    node.wait_for_arrays()


def test_an_inference_of_one_pair_that_does_not_end_keeps_the_other_from_no_later_array(
    node: PairsNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection_session, "_STOP_TIMEOUT_SEC", 0.05)
    assert node.trigger_activate() == SUCCESS
    hung, well = Patient.made
    well.go.set()
    sessions = [node.see(pair) for pair in node._pairs]
    wait_until(lambda: hung.inside and sessions[1].counters()[1], "an inference that hangs and an array")
    assert node.trigger_deactivate() == SUCCESS
    ends = [text for text in node.log.sentences if "did not end" in text]
    assert ends == ["front: inference did not end within 0.05 s, leaving it behind"]
    assert node.trigger_activate() == FAILURE
    hung.go.set()
    wait_until(lambda: node.trigger_activate() == SUCCESS, "an activation")
    node.wait_for_arrays()
    assert hung.most_inside == well.most_inside == 1
    assert len(inference_threads()) == 2
