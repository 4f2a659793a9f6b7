# SPDX-License-Identifier: Apache-2.0
"""Simulated ROS and steady clocks, and what the package asks of a node."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from rclpy.clock import ClockType

from fusion_mamba_ros.ros.detector.message_conversion import to_stamp

SECOND = 10**9
MS = 10**6


class Timer:
    """A timer of the simulated executor; `reset` restarts its period, as that of rclpy does."""

    def __init__(self, world: World, period_ns: int, callback: Callable[[], None], *, steady: bool) -> None:
        self.timer_period_ns = period_ns
        self.callback = callback
        self._world = world
        self._steady = steady
        self.reset()

    def reset(self) -> None:
        """Restart the period: the timer is due one period from now."""
        self.due_ns = self._now_ns() + self.timer_period_ns

    def steady_due_ns(self) -> int | None:
        """Return when it is due by the steady clock, None while its clock stands still."""
        if self._steady:
            return self.due_ns
        if self._world.clock_stopped and self.due_ns > self._world.node_ns:
            return None
        return self._world.steady_ns + max(0, self.due_ns - self._world.node_ns)

    def after_jump(self) -> None:
        """Restart the period, as rcl does when the clock has gone back."""
        if not self._steady and self.due_ns > self._world.node_ns + self.timer_period_ns:
            self.reset()

    def _now_ns(self) -> int:
        return self._world.steady_ns if self._steady else self._world.node_ns


class World:
    """Stand-in for the node and its executor: both clocks, and everything that is due.

    An inference runs as a nested `run_until`: frames, timers and clocks continue during it.
    """

    def __init__(self) -> None:
        self.steady_ns = 1000 * SECOND
        self.node_ns = 5000 * SECOND
        self.clock_stopped = False
        self.context = SimpleNamespace(ok=lambda: True)
        self.published: dict[str, list[Callable[[Any], None]]] = {}
        self.logged: list[str] = []
        self.subscribed: dict[str, Callable[[Any], None]] = {}
        self._timers: list[Timer] = []
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, steady_ns: int, action: Callable[[], None]) -> None:
        """Schedule a call at a time of the steady clock."""
        heapq.heappush(self._due, (steady_ns, next(self._order), action))

    def run_until(self, end_ns: int) -> None:
        """Advance the time."""
        while True:
            timers = [(due, timer) for timer in self._timers if (due := timer.steady_due_ns()) is not None]
            timer_ns, timer = min(timers, key=lambda item: item[0], default=(end_ns + 1, None))
            event_ns = self._due[0][0] if self._due else end_ns + 1
            if min(timer_ns, event_ns) > end_ns:
                self._advance(end_ns)
                return
            self._advance(min(timer_ns, event_ns))
            if timer is not None and timer_ns < event_ns:
                timer.reset()
                timer.callback()
            else:
                heapq.heappop(self._due)[2]()

    def jump(self, nanoseconds: int) -> None:
        """Set the node's clock forward or back."""
        self.node_ns += nanoseconds
        for timer in self._timers:
            timer.after_jump()

    def _advance(self, steady_ns: int) -> None:
        step_ns = max(0, steady_ns - self.steady_ns)
        self.steady_ns += step_ns
        if not self.clock_stopped:
            self.node_ns += step_ns

    # The methods of a node that the package calls.

    def get_clock(self) -> Any:
        return SimpleNamespace(
            now=lambda: SimpleNamespace(nanoseconds=self.node_ns, to_msg=lambda: to_stamp(self.node_ns)),
            create_jump_callback=lambda *_, **__: SimpleNamespace(unregister=lambda: None),
        )

    def get_logger(self) -> Any:
        return SimpleNamespace(**dict.fromkeys(("info", "warning", "error"), self.logged.append))

    def get_fully_qualified_name(self) -> str:
        return "/detector_node"

    def create_timer(self, period_sec: float, callback: Callable[[], None], *, clock: Any) -> Timer:
        steady = getattr(clock, "clock_type", None) == ClockType.STEADY_TIME
        self._timers.append(Timer(self, int(period_sec * SECOND), callback, steady=steady))
        return self._timers[-1]

    def destroy_timer(self, timer: Timer) -> None:
        self._timers.remove(timer)

    def create_publisher(self, kind: Any, topic: str, *_: Any, **__: Any) -> Any:
        receivers = self.published.setdefault(topic, [])

        def publish(message: Any) -> None:
            for receive in receivers:
                receive(message)

        return SimpleNamespace(publish=publish, get_subscription_count=lambda: 0)

    def resolve_topic_name(self, name: str, *, only_expand: bool = False) -> str:
        return name if name.startswith("/") else f"/{name}"

    def create_subscription(self, kind: Any, topic: str, callback: Callable[[Any], None], profile: Any) -> Any:
        self.subscribed[self.resolve_topic_name(topic)] = callback
        return topic

    def destroy_subscription(self, subscription: Any) -> None:
        del self.subscribed[self.resolve_topic_name(subscription)]

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        return []

    create_lifecycle_publisher = create_publisher

    def destroy_publisher(self, publisher: Any) -> None: ...

    destroy_lifecycle_publisher = destroy_publisher
