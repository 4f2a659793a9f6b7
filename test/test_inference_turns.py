# SPDX-License-Identifier: Apache-2.0
"""Turns of several lanes, checked by brute force on drawn arrivals: no lane starves, the newest item is served."""

from __future__ import annotations

import heapq
import threading
from collections import Counter
from functools import partial

import numpy as np
import pytest

pytest.importorskip("rclpy")

from detector_graph import wait_until

from fusion_mamba_ros.ros.detector.inference_scheduler import InferenceScheduler
from fusion_mamba_ros.ros.detector.inference_turns import Turns


class Simulation:
    """Lanes with arrivals at drawn times and threads that take drawn times, on a simulated clock."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([77, seed])
        self.turns: Turns[tuple[int, int]] = Turns()
        self.lanes = [self.turns.add_lane() for _ in range(int(rng.integers(1, 6)))]
        self.threads = int(rng.integers(1, 4))
        self._rng = rng
        self.arrivals: list[tuple[float, int]] = []
        for lane in self.lanes:
            # One lane may flood, another may send nothing.
            rate = float(rng.choice([0.0, 0.3, 1.0, 50.0]))
            times: list[float] = np.cumsum(rng.exponential(1 / rate, int(rate * 40))).tolist() if rate else []
            self.arrivals += [(time, lane) for time in times if time < 40]
        self.arrivals.sort()
        self.starts: list[tuple[float, int, tuple[int, int]]] = []
        self.waiting_since: dict[int, int] = {}  # lane to the number of starts when it began to wait
        self.overtaken: Counter[int] = Counter()
        self.outcomes: Counter[tuple[int, int]] = Counter()
        self.newest: dict[int, tuple[int, int]] = {}
        self.served_at_once = 0

    def run(self) -> None:
        running: list[tuple[float, int]] = []
        counts: Counter[int] = Counter()
        arrivals = list(self.arrivals)
        now = 0.0
        while arrivals or running:
            if running and (not arrivals or running[0][0] <= arrivals[0][0]):
                now, lane = heapq.heappop(running)
                self.turns.finish(lane)
            else:
                now, lane = arrivals.pop(0)
                item = (lane, counts[lane])
                counts[lane] += 1
                replaced = self.turns.submit(lane, item)
                if replaced is not None:
                    self.outcomes[replaced] += 1
                self.newest[lane] = item
                if not self.turns.is_busy(lane):
                    self.waiting_since.setdefault(lane, len(self.starts))
            while len(running) < self.threads and (taken := self.turns.take()) is not None:
                self.start(now, *taken)
                heapq.heappush(running, (now + float(self._rng.uniform(0.5, 2.0)), taken[0]))
                assert len({lane for _, lane in running}) == len(running), "two threads in one lane"
            idle = self.threads - len(running)
            busy = {lane for _, lane in running}
            assert not idle or not {lane for lane in self.waiting_since if lane not in busy}, "an idle thread"
            # A lane that has become free waits from now on.
            for lane in self.lanes:
                if lane in self.newest and not self.turns.is_busy(lane):
                    self.waiting_since.setdefault(lane, len(self.starts))

    def start(self, now: float, lane: int, item: tuple[int, int]) -> None:
        assert item == self.newest.pop(lane), "an old item was served"
        since = self.waiting_since.pop(lane, len(self.starts))
        others = [other for _, other, _ in self.starts[since:]]
        assert lane not in others
        assert all(count == 1 for count in Counter(others).values()), f"overtaken twice: {others}"
        self.outcomes[item] += 1
        self.starts.append((now, lane, item))


@pytest.mark.parametrize("first_seed", range(0, 60, 20))
def test_no_lane_is_overtaken_twice_while_it_waits(first_seed: int) -> None:
    served = 0
    for seed in range(first_seed, first_seed + 20):
        simulation = Simulation(seed)
        try:
            simulation.run()
            # Each item is served or replaced, once.
            assert set(simulation.outcomes.values()) <= {1}
            assert sum(simulation.outcomes.values()) == len(simulation.arrivals)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        served += len(simulation.starts)
    assert served > 100


def test_a_flooding_lane_gets_every_second_turn() -> None:
    turns: Turns[str] = Turns()
    flood, other = turns.add_lane(), turns.add_lane()
    order = []
    for number in range(10):
        turns.submit(flood, f"flood {number}")
        turns.submit(other, f"other {number}")
        taken = turns.take()
        assert taken is not None
        turns.finish(taken[0])
        order.append(taken[0])
    assert order == [flood, other] * 5


def test_a_removed_lane_takes_and_gives_nothing() -> None:
    turns: Turns[str] = Turns()
    lane, other = turns.add_lane(), turns.add_lane()
    turns.submit(lane, "a")
    turns.remove_lane(lane)
    assert turns.submit(lane, "b") == "b"
    assert turns.take() is None
    turns.submit(other, "c")
    assert turns.take() == (other, "c")


class Slow:
    """A scheduler whose lanes process an item when they are allowed to."""

    def __init__(self, threads: int, lanes: int = 2) -> None:
        self.started: list[tuple[int, int]] = []
        self.allowed = threading.Semaphore(0)
        self.errors: list[Exception] = []
        self.scheduler = InferenceScheduler(threads)
        self.lanes = [
            self.scheduler.lane(partial(self.process, lane), on_error=self.errors.append) for lane in range(lanes)
        ]

    def process(self, lane: int, item: int) -> None:
        self.started.append((lane, item))
        assert self.allowed.acquire(timeout=30)
        if item < 0:
            raise ValueError(item)


def test_one_thread_serves_the_newest_of_each_lane_in_turn() -> None:
    slow = Slow(1)
    slow.lanes[0].submit(1)
    wait_until(lambda: slow.started == [(0, 1)], "the first")
    assert [slow.lanes[0].submit(item) for item in (2, 3)] == [None, 2]
    assert [slow.lanes[1].submit(item) for item in (4, 5)] == [None, 4]
    slow.allowed.release(3)
    wait_until(lambda: len(slow.started) == 3, "all")
    assert slow.started == [(0, 1), (1, 5), (0, 3)]
    assert all(lane.stop(timeout_sec=30) for lane in slow.lanes)
    slow.scheduler.close()


def test_a_thread_for_each_lane_lets_none_wait() -> None:
    slow = Slow(2)
    for lane in slow.lanes:
        lane.submit(1)
    wait_until(lambda: sorted(slow.started) == [(0, 1), (1, 1)], "both at once")
    slow.lanes[0].submit(2)
    slow.allowed.release(3)
    assert slow.lanes[1].stop(timeout_sec=30)
    wait_until(lambda: slow.started[-1] == (0, 2), "the next of the first lane")
    assert slow.lanes[0].stop(timeout_sec=30)
    slow.scheduler.close()


def test_an_error_costs_one_item_of_its_lane() -> None:
    slow = Slow(1)
    slow.allowed.release(3)
    slow.lanes[0].submit(-1)
    wait_until(lambda: slow.errors, "the error")
    slow.lanes[0].submit(5)
    slow.lanes[1].submit(6)
    wait_until(lambda: {(0, 5), (1, 6)} <= set(slow.started), "the next items")
    assert all(lane.stop(timeout_sec=30) for lane in slow.lanes)
    slow.scheduler.close()


def test_a_lane_that_hangs_says_so_at_its_stop_and_the_others_go_on() -> None:
    slow = Slow(2)
    slow.lanes[0].submit(1)
    wait_until(lambda: slow.started, "the first")
    assert not slow.lanes[0].stop(timeout_sec=0.01)
    slow.lanes[1].submit(2)
    wait_until(lambda: (1, 2) in slow.started, "the other lane")
    slow.allowed.release(2)
    assert all(lane.stop(timeout_sec=30) for lane in slow.lanes)
    slow.scheduler.close()


def test_the_threads_end_with_the_scheduler() -> None:
    before = set(threading.enumerate())
    slow = Slow(3)
    created = set(threading.enumerate()) - before
    assert len(created) == 3
    slow.lanes[0].submit(1)
    wait_until(lambda: slow.started, "the first")
    slow.lanes[1].submit(2)
    slow.scheduler.close()
    slow.allowed.release(1)
    slow.allowed.release(1)
    wait_until(lambda: not any(thread.is_alive() for thread in created), "the threads' end")
    assert slow.started in ([(0, 1)], [(0, 1), (1, 2)])
