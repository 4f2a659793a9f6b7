# SPDX-License-Identifier: Apache-2.0
"""The inference thread: newest first, nothing queues, errors cost one item."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("rclpy")

from detector_graph import wait_until

from fusion_mamba_ros.ros.detector.inference_worker import InferenceWorker


class Slow:
    """Processes one item when it is allowed to."""

    def __init__(self) -> None:
        self.started: list[int] = []
        self.allowed = threading.Semaphore(0)
        self.errors: list[Exception] = []
        self.worker: InferenceWorker[int] = InferenceWorker(self.process, on_error=self.errors.append)

    def process(self, item: int) -> None:
        self.started.append(item)
        assert self.allowed.acquire(timeout=30)
        if item < 0:
            raise ValueError(item)


def test_while_one_is_processed_only_the_newest_waits() -> None:
    slow = Slow()
    assert slow.worker.submit(1) is None
    wait_until(lambda: slow.started == [1], "the first")
    assert [slow.worker.submit(item) for item in (2, 3, 4)] == [None, 2, 3]
    slow.allowed.release(2)
    wait_until(lambda: slow.started == [1, 4], "the newest")
    assert slow.worker.stop(timeout_sec=30)


def test_an_error_is_handed_on_and_the_thread_goes_on() -> None:
    slow = Slow()
    slow.allowed.release(2)
    slow.worker.submit(-1)
    wait_until(lambda: slow.errors, "the error")
    slow.worker.submit(5)
    wait_until(lambda: slow.started == [-1, 5], "the next item")
    assert slow.worker.stop(timeout_sec=30)


def test_stop_says_whether_the_thread_has_ended() -> None:
    slow = Slow()
    slow.worker.submit(1)
    wait_until(lambda: slow.started, "the first")
    slow.worker.submit(2)
    assert not slow.worker.stop(timeout_sec=0.01)
    slow.allowed.release(1)
    assert slow.worker.stop(timeout_sec=30)
    assert slow.started == [1], "what waited is forgotten"


def test_an_idle_thread_keeps_no_item_alive() -> None:
    import weakref

    class Image: ...

    seen = threading.Event()
    worker: InferenceWorker[Image] = InferenceWorker(lambda image: seen.set(), on_error=lambda error: None)
    image = Image()
    alive = weakref.ref(image)
    worker.submit(image)
    del image
    assert seen.wait(30)
    wait_until(lambda: alive() is None, "the item to be freed")
    assert worker.stop(timeout_sec=30)


def test_a_detached_thread_that_never_ends_keeps_nothing_alive() -> None:
    import weakref

    class Owner:
        def on_error(self, error: Exception) -> None: ...

    inside, go = threading.Event(), threading.Event()

    def hang(item: int) -> None:
        inside.set()
        assert go.wait(90)
        raise ValueError(item)

    owner = Owner()
    alive = weakref.ref(owner)
    worker: InferenceWorker[int] = InferenceWorker(hang, on_error=owner.on_error)
    worker.submit(1)
    assert inside.wait(30)
    del owner
    assert alive() is not None and not worker.stop(timeout_sec=0.01)
    worker.detach()
    assert alive() is None
    go.set()
    assert worker.stop(timeout_sec=30)
