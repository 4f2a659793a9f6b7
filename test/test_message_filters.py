# SPDX-License-Identifier: Apache-2.0
"""message_filters as the node sees it: the original where ROS brings it, else the underlay's."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import message_filters
import pytest
from builtin_interfaces.msg import Time as TimeMessage
from message_filters import ApproximateTimeSynchronizer, Cache, SimpleFilter, Subscriber, TimeSynchronizer
from rclpy.clock import ClockType
from rclpy.time import Time
from std_msgs.msg import Header, String


@dataclass
class Stamped:
    header: Any = field(default_factory=Header)


def at(seconds: float) -> Stamped:
    nanoseconds = round(seconds * 1e9)
    return Stamped(Header(stamp=TimeMessage(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)))


def seconds_of(message: Stamped) -> float:
    seconds: float = message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
    return seconds


def ros_time(seconds: float) -> Time:
    return Time(nanoseconds=round(seconds * 1e9), clock_type=ClockType.ROS_TIME)


def synchronized(synchronizer: TimeSynchronizer) -> list[Any]:
    """Return a list that fills with the stamps of what the synchronizer passes on."""
    passed: list[Any] = []
    synchronizer.registerCallback(lambda *messages: passed.append(tuple(seconds_of(m) for m in messages)))
    return passed


def test_callbacks_get_their_own_arguments_after_the_messages() -> None:
    source = SimpleFilter()
    got: list[tuple[object, ...]] = []
    source.registerCallback(lambda *values: got.append(values), "first", 1)
    source.registerCallback(lambda *values: got.append(values))
    source.signalMessage("image", "info")
    assert got == [("image", "info", "first", 1), ("image", "info")]


def test_exact_synchronizer_passes_only_equal_stamps() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    passed = synchronized(TimeSynchronizer([left, right], 10))
    left.signalMessage(at(1.0))
    right.signalMessage(at(1.000000001))
    left.signalMessage(at(2.0))
    right.signalMessage(at(2.0))
    assert passed == [(2.0, 2.0)]


def test_exact_synchronizer_forgets_the_oldest_stamp_of_a_full_queue() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    passed = synchronized(TimeSynchronizer([left, right], 2))
    for seconds in (1, 2, 3):
        left.signalMessage(at(seconds))
    for seconds in (1, 2, 3):
        right.signalMessage(at(seconds))
    assert passed == [(2.0, 2.0), (3.0, 3.0)]


def test_each_message_is_passed_once() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    passed = synchronized(ApproximateTimeSynchronizer([left, right], 10, 0.5))
    left.signalMessage(at(1.0))
    right.signalMessage(at(1.1))
    right.signalMessage(at(1.2))
    assert passed == [(1.0, pytest.approx(1.1))]


def test_slop_itself_is_too_far() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    passed = synchronized(ApproximateTimeSynchronizer([left, right], 10, 0.1))
    left.signalMessage(at(1.0))
    right.signalMessage(at(1.1))
    left.signalMessage(at(2.0))
    right.signalMessage(at(2.099999999))
    assert passed == [(2.0, pytest.approx(2.1))]


def test_a_new_message_takes_its_nearest_neighbour() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    passed = synchronized(ApproximateTimeSynchronizer([left, right], 10, 1.0))
    left.signalMessage(at(1.0))
    left.signalMessage(at(1.5))
    right.signalMessage(at(1.4))
    assert passed == [(1.5, pytest.approx(1.4))]


def test_a_set_of_three_spans_less_than_the_slop_in_all() -> None:
    sources = [SimpleFilter() for _ in range(3)]
    passed = synchronized(ApproximateTimeSynchronizer(sources, 10, 0.1))
    for source, seconds in zip(
        sources, (1.00, 1.16, 1.08), strict=True
    ):  # each within 0.1 of the last, ends 0.16 apart
        source.signalMessage(at(seconds))
    assert passed == []
    sources[1].signalMessage(at(1.05))
    assert passed == [(1.0, pytest.approx(1.05), pytest.approx(1.08))]


def test_jittered_streams_are_paired_one_to_one_as_they_were_made() -> None:
    seed = 20240911
    print(f"seed {seed}")
    generator = random.Random(seed)
    left, right = SimpleFilter(), SimpleFilter()
    passed = synchronized(ApproximateTimeSynchronizer([left, right], 10, 0.02))
    expected = []
    for index in range(200):
        moments = (index * 0.1, index * 0.1 + generator.uniform(-0.015, 0.015))
        moments = (round(10 + moments[0], 9), round(10 + moments[1], 9))
        expected.append(moments)
        arrivals = [(left, moments[0]), (right, moments[1])]
        generator.shuffle(arrivals)
        for source, seconds in arrivals:
            source.signalMessage(at(seconds))
    assert [tuple(round(value, 6) for value in pair) for pair in passed] == [
        tuple(round(value, 6) for value in pair) for pair in expected
    ]


def test_a_message_without_header_counts_only_where_that_is_allowed() -> None:
    for allowed in (False, True):
        left, right = SimpleFilter(), SimpleFilter()
        got: list[Any] = []
        ApproximateTimeSynchronizer([left, right], 10, 5.0, allow_headerless=allowed).registerCallback(
            lambda *messages, got=got: got.extend(messages)
        )
        left.signalMessage(String(data="left"))
        right.signalMessage(String(data="right"))
        assert [message.data for message in got] == (["left", "right"] if allowed else [])


def test_arrival_times_replace_stamps_on_request() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    passed = synchronized(ApproximateTimeSynchronizer([left, right], 10, 5.0, sync_arrival_time=True))
    left.signalMessage(at(1.0))
    right.signalMessage(at(1000.0))
    assert passed == [(1.0, 1000.0)]


@pytest.mark.skipif("underlay" not in message_filters.__file__, reason="the original holds its lock during callbacks")
def test_a_callback_that_raises_leaves_the_synchronizer_usable() -> None:
    left, right = SimpleFilter(), SimpleFilter()
    synchronizer = TimeSynchronizer([left, right], 10)
    got: list[float] = []

    def fail_once(first: Stamped, second: Stamped) -> None:
        got.append(seconds_of(first))
        if len(got) == 1:
            raise RuntimeError("callback failed")

    synchronizer.registerCallback(fail_once)

    def feed() -> None:
        left.signalMessage(at(1.0))
        with pytest.raises(RuntimeError):
            right.signalMessage(at(1.0))
        left.signalMessage(at(2.0))
        right.signalMessage(at(2.0))

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    thread.join(10)
    assert got == [1.0, 2.0]


def test_cache_keeps_the_newest_and_finds_them_by_stamp() -> None:
    source = SimpleFilter()
    cache = Cache(source, 3)
    passed: list[float] = []
    cache.registerCallback(lambda message: passed.append(seconds_of(message)))
    for seconds in (1, 2, 3, 4):
        source.signalMessage(at(seconds))
    assert passed == [1, 2, 3, 4]
    assert [seconds_of(m) for m in cache.getInterval(ros_time(1), ros_time(3))] == [2, 3]
    assert seconds_of(cache.getElemAfterTime(ros_time(2.5))) == 3
    assert seconds_of(cache.getElemBeforeTime(ros_time(2.5))) == 2
    assert cache.getElemAfterTime(ros_time(5)) is None
    assert cache.getElemBeforeTime(ros_time(1)) is None
    assert (cache.getOldestTime(), cache.getLatestTime()) == (ros_time(2), ros_time(4))
    assert seconds_of(cache.getLast()) == 4


@dataclass
class TimeHeader:
    stamp: Time


@pytest.mark.parametrize("clock_type", [ClockType.ROS_TIME, ClockType.SYSTEM_TIME])
def test_a_stamp_may_be_a_time_of_rclpy(clock_type: ClockType) -> None:
    def timed(seconds: float) -> Stamped:
        return Stamped(TimeHeader(Time(seconds=seconds, clock_type=clock_type)))

    source = SimpleFilter()
    cache = Cache(source, 5)
    messages = [timed(seconds) for seconds in range(5)]
    for message in messages:
        source.signalMessage(message)
    interval = cache.getInterval(Time(seconds=1, clock_type=clock_type), Time(seconds=3, clock_type=clock_type))
    assert interval == messages[1:4]
    assert cache.getElemAfterTime(Time(seconds=2.5, clock_type=clock_type)) is messages[3]
    assert cache.getLatestTime() == messages[-1].header.stamp

    left, right = SimpleFilter(), SimpleFilter()
    passed: list[tuple[Stamped, ...]] = []
    ApproximateTimeSynchronizer([left, right], 10, 0.2).registerCallback(lambda *pair: passed.append(pair))
    first, second = timed(1.0), timed(1.1)
    left.signalMessage(first)
    right.signalMessage(second)
    assert passed == [(first, second)]


class RecordingNode:
    """Stand-in for a node that keeps the requests."""

    def create_subscription(
        self, msg_type: type, topic: str, callback: Callable[[object], object], qos_profile: object, **options: object
    ) -> RecordingNode:
        self.asked = (msg_type, topic, qos_profile, options)
        self.callback = callback
        return self


def test_subscriber_passes_its_topic_and_options_to_the_node() -> None:
    node = RecordingNode()
    subscriber = Subscriber(node, String, "chatter", qos_profile=3, raw=True)
    got: list[object] = []
    subscriber.registerCallback(got.append)
    node.callback("message")
    assert node.asked == (String, "chatter", 3, {"raw": True})
    assert subscriber.getTopic() == "chatter"
    assert subscriber.sub is node
    assert got == ["message"]


def test_subscriber_keeps_ten_messages_by_default() -> None:
    node = RecordingNode()
    Subscriber(node, String, "chatter")
    assert node.asked == (String, "chatter", 10, {})
