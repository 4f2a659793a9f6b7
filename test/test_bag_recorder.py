# SPDX-License-Identifier: Apache-2.0
"""Recording a live graph: which topics, with which quality of service, and what a player makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

import rclpy
from detector_graph import PATIENCE_SEC, isolate
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rich.progress import Progress
from rosbags.interfaces import QosDurability, QosReliability
from std_msgs.msg import String
from vision_msgs.msg import LabelInfo, VisionClass

from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.ros.bag_tools.bag_player import BagPlayer, PlayOptions
from fusion_mamba_ros.ros.bag_tools.bag_recorder import BagRecorder
from fusion_mamba_ros.ros.bag_tools.recorded_qos import request_all
from fusion_mamba_ros.ros.bag_tools.replay_observer import spin_executor_until

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


class Nodes:
    """Nodes of one context that are spun together."""

    def __init__(self) -> None:
        isolate()
        self.context = Context()
        rclpy.init(context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)

    def add(self, name: str, *arguments: str, namespace: str = "") -> Node:
        options: dict[str, Any] = {"cli_args": ["--ros-args", *arguments]} if arguments else {}
        node = Node(name, context=self.context, namespace=namespace, **options)
        self.executor.add_node(node)
        return node

    def wait(self, condition: Callable[[], object], what: str) -> None:
        met = spin_executor_until(self.executor, lambda: bool(condition()), PATIENCE_SEC)
        assert met, f"waited in vain for: {what}"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    nodes = Nodes()
    yield nodes
    nodes.executor.shutdown()
    rclpy.shutdown(context=nodes.context)


def names(path: Path, topic: str) -> list[str]:
    with Bag(path) as bag:
        return [fields.data for _, fields in bag.read([topic])]


@pytest.mark.parametrize("published_first", [True, False])
def test_a_latched_topic_is_recorded_as_latched_and_replayed_to_late_subscribers(
    tmp_path: Path, nodes: Nodes, published_first: bool
) -> None:
    source, peer = nodes.add("source"), nodes.add("peer")
    message = LabelInfo(class_map=[VisionClass(class_id=0, class_name="person")])
    if published_first:
        source.create_publisher(LabelInfo, "label_info", LATCHED).publish(message)
    recorder = BagRecorder(peer, tmp_path / "bag", {"label_info": LabelInfo})
    if not published_first:
        source.create_publisher(LabelInfo, "label_info", LATCHED).publish(message)
    nodes.wait(lambda: recorder.counts["/label_info"] == 1, "the message")
    recorder.close()
    for node in (source, peer):
        nodes.executor.remove_node(node)
        node.destroy_node()

    got: list[LabelInfo] = []
    with Bag(tmp_path / "bag") as bag:
        (offered,) = bag.topics["/label_info"].offered_qos
        assert (offered.durability, offered.reliability) == (QosDurability.TRANSIENT_LOCAL, QosReliability.RELIABLE)
        player = BagPlayer(bag, PlayOptions(wait_sec=0), context=nodes.context)
        player.play(Progress(disable=True))
        nodes.add("late").create_subscription(LabelInfo, "label_info", got.append, LATCHED)
        nodes.wait(lambda: got, "the label of a player that has played it before")
        player.destroy_node()
    assert got[0].class_map[0].class_name == "person"


@pytest.mark.parametrize("second_rule", ["/rig/right:=/rig/left", "/rig/right:=/nowhere"])
def test_remapped_topics_are_remapped_once(tmp_path: Path, nodes: Nodes, second_rule: str) -> None:
    source = nodes.add("source")
    publishers = {name: source.create_publisher(String, name, RELIABLE) for name in ("/rig/left", "/rig/right")}
    peer = nodes.add("peer", "-r", "left:=/rig/right", "-r", second_rule, namespace="/rig")
    heard: list[tuple[str, str]] = []

    def hear(topic: str, message: Any) -> None:
        heard.append((topic, message.data))

    recorder = BagRecorder(peer, tmp_path / "bag", {"left": String}, on_message=hear)
    nodes.wait(lambda: not recorder.waiting, "a publisher")

    def arrived() -> bool:
        for name, publisher in publishers.items():
            publisher.publish(String(data=name))
        return bool(heard)

    nodes.wait(arrived, "a message")
    recorder.close()
    assert set(heard) == {("/rig/right", "/rig/right")}
    assert set(names(tmp_path / "bag", "/rig/right")) == {"/rig/right"}


def test_a_publisher_that_offers_less_than_the_first_is_recorded_too(tmp_path: Path, nodes: Nodes) -> None:
    first, second = nodes.add("first"), nodes.add("second")
    latched = first.create_publisher(String, "words", LATCHED)
    latched.publish(String(data="latched"))
    recorder = BagRecorder(nodes.add("peer"), tmp_path / "bag", {"words": String})
    nodes.wait(lambda: recorder.counts["/words"] == 1, "the latched message")
    weak = second.create_publisher(String, "words", BEST_EFFORT)

    def arrived() -> bool:
        weak.publish(String(data="best effort"))
        return recorder.counts["/words"] >= 3

    nodes.wait(arrived, "messages of the second publisher")
    recorder.close()
    recorded = names(tmp_path / "bag", "/words")
    assert recorded.count("latched") == 1 and set(recorded) == {"latched", "best effort"}


def test_a_topic_without_publisher_is_waiting_and_closing_is_harmless(tmp_path: Path, nodes: Nodes) -> None:
    source = nodes.add("source")
    publisher = source.create_publisher(String, "words", RELIABLE)
    recorder = BagRecorder(nodes.add("peer"), tmp_path / "bag", {"words": String, "nothing": String})

    def arrived() -> bool:
        publisher.publish(String(data="word"))
        return recorder.counts["/words"] > 0

    nodes.wait(arrived, "a message")
    assert recorder.waiting == ["/nothing"]
    recorder.close()
    with Bag(tmp_path / "bag") as bag:
        assert set(bag.topics) == {"/words"}


def test_what_is_requested_suits_every_publisher() -> None:
    reliable_and_latched = request_all([LATCHED, LATCHED])
    assert reliable_and_latched.reliability is ReliabilityPolicy.RELIABLE
    assert reliable_and_latched.durability is DurabilityPolicy.TRANSIENT_LOCAL
    assert request_all([LATCHED, RELIABLE]).durability is DurabilityPolicy.VOLATILE
    assert request_all([LATCHED, RELIABLE]).reliability is ReliabilityPolicy.RELIABLE
    assert request_all([RELIABLE, BEST_EFFORT]).reliability is ReliabilityPolicy.BEST_EFFORT
    assert request_all([LATCHED]).history is HistoryPolicy.KEEP_LAST
