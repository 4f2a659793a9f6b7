# SPDX-License-Identifier: Apache-2.0
"""`bag_player`: publish a bag to a live ROS graph with its recorded timing, on machines without rosbag2."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.exceptions import ParameterException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rosbags.interfaces import QosDurability
from rosgraph_msgs.msg import Clock

from fusion_mamba_ros.bags.bag_reading import Bag, BagError, BagMessage, BagTopic
from fusion_mamba_ros.ros.process import ArgumentError, own_arguments
from fusion_mamba_ros.streams.message_text import quoted

_CLOCK_PERIOD_SEC = 0.01
# Longest sleep between two checks of the context. A signal ends the context from another thread.
_NAP_SEC = 0.05
_ACKNOWLEDGE_SEC = 5.0
# History depth: how far a slow subscriber may fall behind before messages are lost.
_DEPTH = 100


@dataclass(frozen=True)
class PlayOptions:
    """Settings of a playback.

    ``rate`` is a factor of the recorded speed. ``topics`` are the topics to play, all if empty; ``optional_topics``
    are played besides them if the bag has them, with or without a subscriber. ``clock`` publishes the bag's time on
    /clock. ``wait_sec`` is the longest time to wait until every topic has a subscriber; with
    ``require_subscribers`` the playback fails if a topic has no subscriber after this time.
    """

    rate: float = 1.0
    loop: bool = False
    clock: bool = False
    topics: tuple[str, ...] = ()
    optional_topics: tuple[str, ...] = ()
    wait_sec: float = 5.0
    require_subscribers: bool = False

    def __post_init__(self) -> None:
        if not 0.001 <= self.rate <= 1000:
            raise ValueError(f"rate is {self.rate:g}: expected 0.001 to 1000")
        if not 0 <= self.wait_sec <= 3600:
            raise ValueError(f"wait for subscribers is {self.wait_sec:g} s: expected 0 to 3600")


@dataclass(frozen=True)
class Played:
    """The result of a playback: the message count by topic, and the largest delay of a message in seconds."""

    counts: dict[str, int]
    latest_sec: float


class BagPlayer(Node):
    """Publish the recorded bytes of a bag unchanged and reliably, under the recorded names (remappable).

    Raises `BagError` if a topic is missing or no message type of the bag is installed.
    """

    def __init__(self, bag: Bag, options: PlayOptions, **node_options: Any) -> None:
        super().__init__("bag_player", **node_options)
        self._bag, self._options = bag, options
        bag.require(options.topics)
        self._publishers_by_topic: dict[str, Publisher] = {}
        for topic in bag.topics.values():
            if not options.topics or topic.name in (*options.topics, *options.optional_topics):
                self._advertise(topic)
        if not self._publishers_by_topic:
            raise BagError(f"bag '{bag.path}' has no topic whose message type is installed here")
        self._clock_publisher = self.create_publisher(Clock, "/clock", 10) if options.clock else None

    def wait_for_subscribers(self) -> list[str]:
        """Wait until every topic has a subscriber, at most ``wait_sec``. Return the topics that have none."""
        deadline = time.monotonic() + self._options.wait_sec
        while True:
            lonely = [
                name
                for name, publisher in self._publishers_by_topic.items()
                if name not in self._options.optional_topics and publisher.get_subscription_count() == 0
            ]
            if not lonely or time.monotonic() >= deadline or not self.context.ok():
                return lonely
            time.sleep(_NAP_SEC)

    def play(self, progress: Progress) -> Played:
        """Publish the bag once, or in a loop until the context ends. Return the result."""
        counts = dict.fromkeys(self._publishers_by_topic, 0)
        latest_sec = 0.0
        task = progress.add_task(str(self._bag.path), total=self._bag.duration_ns / 1e9 or None)
        while self.context.ok():
            for message, late_sec in self._timed():
                self._publishers_by_topic[message.topic].publish(message.data)
                counts[message.topic] += 1
                latest_sec = max(latest_sec, late_sec)
                progress.update(task, completed=(message.recorded_ns - self._bag.start_ns) / 1e9)
            if not self._options.loop:
                break
        return Played(counts, latest_sec)

    def wait_for_acknowledgement(self) -> bool:
        """Wait at most five seconds for acknowledgement of all messages. Return whether it arrived."""
        deadline = time.monotonic() + _ACKNOWLEDGE_SEC
        return all(
            publisher.wait_for_all_acked(Duration(seconds=max(deadline - time.monotonic(), 0.0)))
            for publisher in self._publishers_by_topic.values()
        )

    def _timed(self) -> Iterator[tuple[BagMessage, float]]:
        """Yield each message when it is due, with its delay in seconds. Stop when the context ends."""
        first_ns: int | None = None
        started = time.monotonic()
        for message in self._bag.messages(list(self._publishers_by_topic)):
            if first_ns is None:
                first_ns, started = message.recorded_ns, time.monotonic()
            due = started + (message.recorded_ns - first_ns) / 1e9 / self._options.rate
            while (left := due - time.monotonic()) > 0:
                if not self.context.ok():
                    return
                nap = _NAP_SEC if self._clock_publisher is None else _CLOCK_PERIOD_SEC
                time.sleep(min(left, nap))
                self._publish_clock(min(self._bag_time(first_ns, started), message.recorded_ns))
            if not self.context.ok():
                return
            self._publish_clock(message.recorded_ns)
            yield message, time.monotonic() - due

    def _bag_time(self, first_ns: int, started: float) -> int:
        return first_ns + int((time.monotonic() - started) * self._options.rate * 1e9)

    def _publish_clock(self, bag_ns: int) -> None:
        if self._clock_publisher is not None:
            clock = Clock()
            clock.clock.sec, clock.clock.nanosec = divmod(bag_ns, 1_000_000_000)
            self._clock_publisher.publish(clock)

    def _advertise(self, topic: BagTopic) -> None:
        message_class = message_class_of(topic.message_type)
        if message_class is None:
            self.get_logger().warning(
                f"topic {quoted(topic.name)} is not played: {quoted(topic.message_type)} is not installed here"
            )
            return
        latched = any(qos.durability is QosDurability.TRANSIENT_LOCAL for qos in topic.offered_qos)
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_DEPTH,
            # Publish reliably, whatever was recorded: compatible with reliable and best-effort subscribers.
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._publishers_by_topic[topic.name] = self.create_publisher(message_class, topic.name, profile)


def message_class_of(message_type: str) -> type | None:
    """Return the class of `package/msg/Name`, or None if it is not installed."""
    package, _, name = message_type.replace("/msg/", "/").rpartition("/")
    # Bags may also hold messages that are not of ROS, for example `foxglove.CompressedImage` in Protobuf.
    if not package.isidentifier():
        return None
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name, None)
    except ImportError:
        return None


def parse_arguments(arguments: list[str]) -> tuple[Path, PlayOptions]:
    """Parse the arguments and return the bag and the options. Invalid arguments end the process with code 2."""
    parser = argparse.ArgumentParser(
        prog="bag_player",
        description="Play a rosbag2 (mcap or sqlite3) into a live graph with its recorded timing.",
        epilog="example:\n  bag_player drive --rate 0.5 --clock --ros-args -r /rgb/image_raw:=/camera/image_raw",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bag", type=Path, help="folder or file of the bag")
    parser.add_argument("--rate", type=float, default=1.0, help="factor of the recorded speed (default: 1)")
    parser.add_argument("--loop", action="store_true", help="begin again at the end, until interrupted")
    parser.add_argument("--clock", action="store_true", help="publish the bag's time on /clock, for use_sim_time")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="only these topics (default: all)")
    parser.add_argument(
        "--optional-topics",
        nargs="+",
        default=[],
        metavar="TOPIC",
        help="besides those of --topics, if the bag has them; they need no subscriber",
    )
    parser.add_argument(
        "--wait-for-subscribers",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="longest wait until every topic has a subscriber (default: 5; 0: do not wait)",
    )
    parser.add_argument(
        "--require-subscribers", action="store_true", help="fail instead of warn if a topic has none after the wait"
    )
    parsed = parser.parse_args(arguments)
    try:
        options = PlayOptions(
            rate=parsed.rate,
            loop=parsed.loop,
            clock=parsed.clock,
            topics=tuple(parsed.topics),
            optional_topics=tuple(parsed.optional_topics),
            wait_sec=parsed.wait_for_subscribers,
            require_subscribers=parsed.require_subscribers,
        )
    except ValueError as error:
        parser.exit(2, f"bag_player: {error}\n")
    return parsed.bag, options


def main(arguments: list[str] | None = None) -> int:
    """Play a bag. Return 0 at its end or after an interruption, 2 if it cannot be played."""
    command_line = sys.argv if arguments is None else ["bag_player", *arguments]
    try:
        path, options = parse_arguments(own_arguments(command_line))
        bag = Bag(path)
    except (ArgumentError, BagError) as error:
        print(f"bag_player: {error}", file=sys.stderr)
        return 2
    rclpy.init(args=command_line)
    try:
        with bag:
            return _play(bag, options)
    except (BagError, ParameterException) as error:
        print(f"bag_player: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    except rclpy_implementation.RCLError:
        if rclpy.ok():
            raise
        return 0  # A signal shut the context down between the check and the call.
    finally:
        rclpy.try_shutdown()


def _play(bag: Bag, options: PlayOptions) -> int:
    player = BagPlayer(bag, options)
    try:
        lonely = player.wait_for_subscribers()
        if lonely and player.context.ok():
            sentence = f"nobody subscribes to {', '.join(sorted(lonely))} after {options.wait_sec:g} s"
            if options.require_subscribers:
                raise BagError(f"{sentence}: start the subscriber, or remap the topic")
            player.get_logger().warning(sentence)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.1f} s"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            played = player.play(progress)
        if player.context.ok() and not player.wait_for_acknowledgement():
            player.get_logger().warning("a subscriber has not acknowledged the last messages: it may have missed them")
        total = sum(played.counts.values())
        print(f"bag_player: {total} messages, at worst {1e3 * played.latest_sec:.0f} ms late")
        return 0
    finally:
        player.destroy_node()
