# SPDX-License-Identifier: Apache-2.0
"""An active node that gets its images without DDS: its log, and an inference that does not end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy")

from detector_graph import wait_until
from patient_detector import IMAGES, Log, Patient, node_with_patient
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from ros_cameras import image_message
from sensor_msgs.msg import Image

from fusion_mamba_ros.ros.detector import detection_session
from fusion_mamba_ros.ros.detector.detector_node import DetectorNode
from fusion_mamba_ros.ros.detector.message_conversion import to_stamp
from fusion_mamba_ros.ros.detector.outputs import Outputs
from fusion_mamba_ros.streams.frames import Camera

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ActiveNode(DetectorNode):
    """A node that is active, with its log."""

    def __init__(self, context: Context) -> None:
        super().__init__(context=context, load=Patient)
        self.log = Log()
        self.get_logger = lambda: self.log  # type: ignore[method-assign]
        assert self.trigger_configure() == SUCCESS
        assert self.trigger_activate() == SUCCESS

    def see(self, camera: Camera, stamp_ns: int, encoding: str = "") -> None:
        """Hand the node an image of one camera, as its subscription would."""
        message: Image = image_message(camera, IMAGES[camera])
        message.header.stamp = to_stamp(stamp_ns)
        message.encoding = encoding or message.encoding
        assert self._session is not None
        self._session.subscriptions[camera].signalMessage(message)

    def see_pairs(self, count: int) -> None:
        """Hand the node pairs of images, as two cameras of 30 Hz would."""
        now_ns = time.time_ns()
        for index in range(count):
            for camera in Camera:
                self.see(camera, now_ns + index * 33_000_000)


@pytest.fixture
def node() -> Iterator[ActiveNode]:
    with node_with_patient(ActiveNode) as node:
        yield node


def test_the_fault_of_one_camera_does_not_hide_that_of_the_other(node: ActiveNode) -> None:
    for index in range(10):
        for camera in Camera:
            node.see(camera, time.time_ns() + index, encoding="nonsense")
    refusals = [sentence for sentence in node.log.sentences if "image refused" in sentence]
    assert [sentence.split(" image")[0] for sentence in refusals] == ["rgb", "thermal"]
    node.see(Camera.THERMAL, 0)
    assert node.log.says("thermal image refused, its stamp is zero or negative")


def test_a_debug_image_that_fails_costs_the_image_only(node: ActiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(outputs: Outputs, result: object) -> None:
        raise RuntimeError("no colour left")

    monkeypatch.setattr(Outputs, "publish_image", fail)
    Patient.made[0].go.set()
    node.see_pairs(4)
    wait_until(lambda: node.log.says("the debug image could not be published"), "a report")
    assert node.log.says("the debug image could not be published: RuntimeError: no colour left")
    assert not node.log.says("a result could not be published")
    assert node._session is not None and node._session.counters()[1] >= 1


@pytest.mark.parametrize("part", ["InferenceWorker", "PairingFilter"])
def test_a_session_that_cannot_be_created_leaves_no_subscription_and_no_thread(
    node: ActiveNode, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no more of these")

    assert node.trigger_deactivate() == SUCCESS
    topics = [subscription.topic_name for subscription in node.subscriptions]
    monkeypatch.setattr(detection_session, part, fail)
    assert node.trigger_activate() == FAILURE
    assert node.log.says("activate failed: no more of these")
    assert [subscription.topic_name for subscription in node.subscriptions] == topics
    wait_until(lambda: "inference" not in [thread.name for thread in threading.enumerate()], "the thread's end")
    monkeypatch.undo()
    assert node.trigger_activate() == SUCCESS


@pytest.fixture
def hanging(node: ActiveNode, monkeypatch: pytest.MonkeyPatch) -> ActiveNode:
    """A node that was deactivated while its inference would not end."""
    monkeypatch.setattr(detection_session, "_STOP_TIMEOUT_SEC", 0.01)
    node.see_pairs(4)
    wait_until(lambda: Patient.made[0].inside, "an inference")
    assert node.trigger_deactivate() == SUCCESS
    assert node.log.says("inference did not end within")
    return node


def test_no_second_thread_enters_a_predictor_whose_last_inference_goes_on(hanging: ActiveNode) -> None:
    assert hanging.trigger_activate() == FAILURE
    assert hanging.log.says("activate failed: the inference that was under way at deactivation has not ended")
    (predictor,) = Patient.made
    predictor.go.set()
    wait_until(lambda: hanging.trigger_activate() == SUCCESS, "an activation")
    hanging.see_pairs(4)
    session = hanging._session
    assert session is not None
    wait_until(lambda: session.counters()[1], "an array")
    assert predictor.most_inside == 1


def test_a_model_loaded_anew_need_not_wait_for_the_old_one(hanging: ActiveNode) -> None:
    assert hanging.trigger_cleanup() == SUCCESS
    assert hanging.trigger_configure() == SUCCESS
    assert hanging.trigger_activate() == SUCCESS
    old, new = Patient.made
    hanging.see_pairs(4)
    wait_until(lambda: new.inside, "an inference of the new model")
    assert (old.most_inside, new.most_inside) == (1, 1)
