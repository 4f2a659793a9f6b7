# SPDX-License-Identifier: Apache-2.0
"""The bag player over real DDS: order, timing, topics, signals and wrong arguments."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from detector_graph import isolate, wait_until
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.progress import Progress
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.bags.bag_writing import ImageBagWriter
from fusion_mamba_ros.ros.bag_tools import bag_player
from fusion_mamba_ros.ros.bag_tools.bag_player import PlayOptions, message_class_of, parse_arguments

START_NS = 5_000_000_000
TOPICS = {"rgb": "/rgb/image_raw", "thermal": "/thermal/image_raw"}


@pytest.fixture(scope="module")
def domain() -> None:
    isolate()


@pytest.fixture
def listener(domain: None) -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


class Listener:
    """Subscriber in this process that keeps the received messages with their times of arrival."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.received: list[tuple[str, float, Any]] = []
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self.spin, daemon=True)
        self.thread.start()

    def spin(self) -> None:
        while not self.closing.is_set():
            self.executor.spin_once(timeout_sec=0.05)

    def hear(self, topic: str, kind: Any = Image, depth: int = 200) -> None:
        profile = QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE)
        self.node.create_subscription(
            kind, topic, lambda message: self.received.append((topic, time.monotonic(), message)), profile
        )

    def heard(self, topic: str, count: int) -> list[tuple[float, Any]]:
        """Return the messages of ``topic`` with their times of arrival, once there are ``count``."""

        def of_topic() -> list[tuple[float, Any]]:
            return [(at, message) for name, at, message in list(self.received) if name == topic]

        wait_until(lambda: len(of_topic()) >= count, f"{count} messages on {topic}")
        return of_topic()

    def close(self) -> None:
        self.closing.set()
        self.thread.join(5)
        self.executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)


def write_bag(path: Path, frames: int = 12, period_ns: int = 50_000_000, size: tuple[int, int] = (640, 480)) -> Path:
    rng = np.random.default_rng(7)
    bag = ImageBagWriter(path, topics=TOPICS, frame_ids={"rgb": "rgb", "thermal": "thermal"})
    for index in range(frames):
        stamp_ns = START_NS + index * period_ns
        bag.write_image("rgb", stamp_ns, rng.integers(0, 255, (size[1], size[0], 3), np.uint8))
        bag.write_image("thermal", stamp_ns, rng.integers(0, 65535, (size[1], size[0]), np.uint16))
    bag.close()
    return path


def player(*arguments: object) -> subprocess.Popen[str]:
    run = "import sys; from fusion_mamba_ros.ros.bag_tools.bag_player import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", run, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def played(*arguments: object) -> tuple[str, str, int]:
    """Play a bag and wait up to 60 s for its subscriber; return stdout, stderr and the exit code."""
    return finish(player(*arguments, "--require-subscribers", "--wait-for-subscribers", 60))


def finish(process: subprocess.Popen[str], seconds: float = 90) -> tuple[str, str, int]:
    try:
        return *process.communicate(timeout=seconds), process.returncode
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def nanoseconds(stamp: Any) -> int:
    total: int = stamp.sec * 10**9 + stamp.nanosec
    return total


def test_every_image_arrives_in_order_and_bit_for_bit(tmp_path: Path, listener: Listener) -> None:
    for topic in TOPICS.values():
        listener.hear(topic)
    bag_path = write_bag(tmp_path / "bag", frames=40, period_ns=33_000_000)
    _, errors, code = played(bag_path)
    assert code == 0, errors
    for topic in TOPICS.values():
        heard = [message for _, message in listener.heard(topic, 40)]
        with Bag(bag_path) as bag:
            recorded = [fields for _, fields in bag.read([topic])]
        assert [nanoseconds(m.header.stamp) for m in heard] == [nanoseconds(m.header.stamp) for m in recorded]
        assert all(bytes(m.data) == bytes(r.data) for m, r in zip(heard, recorded, strict=True))


class SimulatedTime:
    """Stand-in for the module `time`: time passes only in ``sleep``, by exactly the requested seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_messages_are_due_at_the_recorded_times_divided_by_the_rate(
    tmp_path: Path, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, sent = SimulatedTime(), []

    def publish(publisher: Any, data: bytes) -> None:
        if publisher.topic_name == TOPICS["rgb"]:
            sent.append(clock.now)

    monkeypatch.setattr(bag_player, "time", clock)
    monkeypatch.setattr(rclpy.publisher.Publisher, "publish", publish)
    options = PlayOptions(rate=0.5, topics=(TOPICS["rgb"],))
    with Bag(write_bag(tmp_path / "bag", frames=11, period_ns=100_000_000, size=(32, 24))) as bag:
        player_node = bag_player.BagPlayer(bag, options, context=listener.context)
        played_bag = player_node.play(Progress(disable=True))
        player_node.destroy_node()
    assert played_bag.counts == {TOPICS["rgb"]: 11}
    assert np.subtract(sent, sent[0]) == pytest.approx(0.2 * np.arange(11))


def test_only_the_topics_asked_for_are_played_and_can_be_remapped(tmp_path: Path, listener: Listener) -> None:
    listener.hear("/front/colour")
    listener.hear(TOPICS["thermal"])
    bag_path = write_bag(tmp_path / "bag", frames=4, size=(32, 24))
    remapping = ("--ros-args", "-r", f"{TOPICS['rgb']}:=/front/colour", "--")
    _, errors, code = played(bag_path, "--topics", TOPICS["rgb"], *remapping)
    assert code == 0, errors
    listener.heard("/front/colour", 4)
    assert [name for name, _, _ in listener.received] == ["/front/colour"] * 4


def test_an_optional_topic_is_played_where_the_bag_has_it_and_needs_no_subscriber(
    tmp_path: Path, listener: Listener
) -> None:
    options = PlayOptions(
        rate=100.0, topics=(TOPICS["rgb"],), optional_topics=(TOPICS["thermal"], "/rgb/camera_info"), wait_sec=0
    )
    with Bag(write_bag(tmp_path / "bag", frames=3, size=(32, 24))) as bag:
        player = bag_player.BagPlayer(bag, options, context=listener.context)
        assert player.wait_for_subscribers() == [TOPICS["rgb"]]
        assert player.play(Progress(disable=True)).counts == dict.fromkeys(TOPICS.values(), 3)
        player.destroy_node()


def test_clock_follows_the_bag_and_never_passes_the_next_message(tmp_path: Path, listener: Listener) -> None:
    listener.hear("/clock", Clock)
    listener.hear(TOPICS["rgb"])
    bag_path = write_bag(tmp_path / "bag", frames=6, period_ns=100_000_000, size=(32, 24))
    _, errors, code = played(bag_path, "--clock", "--topics", TOPICS["rgb"])
    assert code == 0, errors
    wait_until(lambda: nanoseconds(listener.heard("/clock", 12)[-1][1].clock) == START_NS + 500_000_000, "the end")
    # More than one for each message: the clock goes on between them.
    clocks = [nanoseconds(message.clock) for _, message in listener.heard("/clock", 12)]
    assert clocks == sorted(clocks)
    assert clocks[0] >= START_NS and clocks[-1] == START_NS + 500_000_000


def test_loop_goes_on_until_sigint_which_ends_it_cleanly(tmp_path: Path, listener: Listener) -> None:
    listener.hear(TOPICS["rgb"])
    bag_path = write_bag(tmp_path / "bag", frames=3, size=(32, 24))
    process = player(bag_path, "--loop", "--topics", TOPICS["rgb"], "--wait-for-subscribers", 60)
    try:
        stamps = [nanoseconds(message.header.stamp) for _, message in listener.heard(TOPICS["rgb"], 8)]
        process.send_signal(signal.SIGINT)
    finally:
        _, errors, code = finish(process, 30)
    assert code == 0 and "Traceback" not in errors
    assert stamps[:3] == stamps[3:6]


def test_sigint_while_waiting_for_subscribers_ends_it_cleanly(tmp_path: Path, listener: Listener) -> None:
    process = player(write_bag(tmp_path / "bag", frames=2, size=(32, 24)), "--wait-for-subscribers", 200)
    wait_until(lambda: listener.node.count_publishers(TOPICS["thermal"]), "a player that has advertised its topics")
    process.send_signal(signal.SIGINT)
    _, errors, code = finish(process, 30)
    assert code == 0 and "Traceback" not in errors


def test_no_subscriber_is_a_warning_or_by_request_an_error(tmp_path: Path, domain: None) -> None:
    bag_path = write_bag(tmp_path / "bag", frames=2, size=(32, 24))
    _, errors, code = finish(player(bag_path, "--wait-for-subscribers", 0.2))
    assert code == 0 and "nobody subscribes to /rgb/image_raw, /thermal/image_raw" in errors
    _, errors, code = finish(player(bag_path, "--wait-for-subscribers", 0.2, "--require-subscribers"))
    assert code == 2 and "nobody subscribes to /rgb/image_raw, /thermal/image_raw" in errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere",), "bag 'nowhere' does not exist"),
        ((Path(__file__).parent,), "is no bag: it has no metadata.yaml"),
        (("nowhere", "--rate", "0"), "rate is 0: expected 0.001 to 1000"),
        (("nowhere", "--wait-for-subscribers", "-1"), "wait for subscribers is -1 s"),
        (("nowhere", "--ros-args", "-r", "image"), "Couldn't parse remap rule: '-r image'"),
    ],
)
def test_what_cannot_be_played_is_said_in_one_sentence(
    domain: None, arguments: tuple[str | Path, ...], sentence: str
) -> None:
    _, errors, code = finish(player(*arguments))
    assert code == 2 and sentence in errors and "Traceback" not in errors


def test_missing_topic_and_empty_bag_are_said_in_one_sentence(tmp_path: Path, domain: None) -> None:
    bag_path = write_bag(tmp_path / "bag", frames=1, size=(32, 24))
    _, errors, code = finish(player(bag_path, "--topics", "/depth"))
    assert code == 2 and "has no messages on topic '/depth': it has /rgb/image_raw, /thermal/image_raw" in errors
    _, errors, code = finish(player(write_bag(tmp_path / "empty", frames=0)))
    assert code == 2 and "empty' is empty" in errors


def test_arguments_become_options(tmp_path: Path) -> None:
    words = ["--rate", "2", "--loop", "--clock", "--topics", "/a", "/b", "--optional-topics", "/c"]
    path, options = parse_arguments([str(tmp_path), *words])
    assert path == tmp_path
    assert options == PlayOptions(rate=2.0, loop=True, clock=True, topics=("/a", "/b"), optional_topics=("/c",))


def test_message_classes_are_found_by_the_name_in_the_bag() -> None:
    assert message_class_of("sensor_msgs/msg/Image") is Image
    assert message_class_of("zoo_msgs/msg/Animal") is None
    assert message_class_of("sensor_msgs/msg/Nothing") is None
    assert message_class_of("foxglove.CompressedImage") is None
