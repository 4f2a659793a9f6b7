# SPDX-License-Identifier: Apache-2.0
"""A message filter that pairs images, used in place of an ApproximateTimeSynchronizer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import message_filters
from rclpy.clock import JumpThreshold
from rclpy.node import Node
from std_msgs.msg import Header

from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds, to_stamp
from fusion_mamba_ros.ros.detector.pair_names import ONE_PAIR, PairNames
from fusion_mamba_ros.ros.throttled_reports import ThrottledReports
from fusion_mamba_ros.streams.frames import Camera, Frame
from fusion_mamba_ros.streams.pairing import Pairing
from fusion_mamba_ros.streams.pairing_limits import PairingLimits

# Period of the timer while no frame waits, because a timer must have a period.
_IDLE_SEC = 3600.0
_SHORTEST_SEC = 0.001


@dataclass(frozen=True, eq=False)
class ReceivedImage:
    """The payload of a frame: a message and its arrival time.

    ``steady_ns`` is the arrival time on the steady clock, which never jumps. ``arrival_stamp_ns`` is the time of the
    node's clock that replaces the stamp of the message, or None if the message's own stamp is used.
    """

    message: Any
    steady_ns: int
    arrival_stamp_ns: int | None = None

    @property
    def header(self) -> Any:
        """Header for the results of the image: that of the message, or a copy with the arrival time as its stamp."""
        if self.arrival_stamp_ns is None:
            return self.message.header
        return Header(stamp=to_stamp(self.arrival_stamp_ns), frame_id=self.message.header.frame_id)


class PairingFilter(message_filters.SimpleFilter):
    """Pass each `Pair` or `LoneFrame` of `ReceivedImage` to the callbacks, in the thread of the node's executor.

    ``rgb`` and ``thermal`` are message filters whose messages have a header. ``is_fresh(camera, message, now_ns)``
    returns False for a frozen image. ``refuse(camera, message)`` returns why a message is not a valid image, or None.
    ``on_refused(camera, reason)`` is called for each image that is refused for its fields or for a zero or negative
    stamp, before the image is counted. With ``use_arrival_time`` the time of the node's clock at the arrival of a
    message replaces its stamp. ``names`` are those of the camera pair. Unlike ApproximateTimeSynchronizer, this filter
    continues when an input dies or a bag loops, and it calls back outside any lock. Timeouts run on the node's clock.
    """

    def __init__(
        self,
        node: Node,
        rgb: message_filters.SimpleFilter,
        thermal: message_filters.SimpleFilter,
        limits: PairingLimits,
        *,
        is_fresh: Callable[[Camera, Any, int], bool] = lambda camera, message, now_ns: True,
        refuse: Callable[[Camera, Any], str | None] = lambda camera, message: None,
        on_refused: Callable[[Camera, str], None] = lambda camera, reason: None,
        use_arrival_time: bool = False,
        names: PairNames = ONE_PAIR,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__()
        self._use_arrival_time = use_arrival_time
        self.pairing = Pairing(limits)
        self._node = node
        self._reports = ThrottledReports(node.get_logger(), sentence=names.sentence)
        self._clock = node.get_clock()
        self._is_fresh = is_fresh
        self._refuse = refuse
        self._on_refused = on_refused
        self._steady_ns = steady_ns
        self._closed = False
        self._timer = node.create_timer(_IDLE_SEC, self._release, clock=self._clock)
        # `Pairing` itself detects jumps of simulated time. A switch between clocks is not a jump and is handled here.
        threshold = JumpThreshold(min_forward=None, min_backward=None, on_clock_change=True)
        self._jumps = self._clock.create_jump_callback(threshold, post_callback=self._on_clock_change)
        rgb.registerCallback(self._on_image, Camera.RGB)
        thermal.registerCallback(self._on_image, Camera.THERMAL)

    def close(self) -> None:
        """Stop calling back and discard the waiting frames."""
        if not self._closed:
            self._closed = True
            self._jumps.unregister()
            self._node.destroy_timer(self._timer)
            self.pairing.clear()
            self.callbacks.clear()

    def now_ns(self) -> int:
        """Return the time of the node's clock, in nanoseconds."""
        return int(self._clock.now().nanoseconds)

    def _on_image(self, message: Any, camera: Camera) -> None:
        steady_ns = self._steady_ns()
        if self._closed:
            return
        now_ns = self.now_ns()
        reason = self._refuse(camera, message)
        if reason is not None:
            self._on_refused(camera, reason)
            self.pairing.count_refused(camera)
            self._reports.warning(f"{camera.value} image refused: {reason}")
            return
        stamp_ns = now_ns if self._use_arrival_time else to_nanoseconds(message.header.stamp)
        if stamp_ns <= 0 and self._use_arrival_time:
            self._on_refused(camera, "the node's clock has not started, so the image has no time of arrival")
        elif stamp_ns <= 0:
            self._on_refused(camera, "its stamp is zero or negative: let the driver set it")
            self._reports.warning(f"{camera.value} image refused, its stamp is zero or negative: let the driver set it")
        payload = ReceivedImage(message, steady_ns, stamp_ns if self._use_arrival_time else None)
        fresh = self._is_fresh(camera, message, now_ns)
        self.pairing.add(Frame(camera, stamp_ns, now_ns, payload, fresh))
        self._release()

    def _release(self) -> None:
        if self._closed:
            return
        now_ns = self.now_ns()
        for released in self.pairing.match(now_ns=now_ns):
            self.signalMessage(released)
        self._arm(now_ns)

    def _arm(self, now_ns: int) -> None:
        wakeup_ns = self.pairing.next_wakeup_ns()
        delay_sec = _IDLE_SEC if wakeup_ns is None else max(_SHORTEST_SEC, (wakeup_ns - now_ns) * 1e-9)
        self._timer.timer_period_ns = int(delay_sec * 1e9)
        self._timer.reset()

    def _on_clock_change(self, _: object) -> None:
        if not self._closed:
            self.pairing.clear()
