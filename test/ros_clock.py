# SPDX-License-Identifier: Apache-2.0
"""A /clock for tests that publish to a ROS graph; it may stop and jump."""

from __future__ import annotations

import threading
import time

from detector_graph import Graph
from rosgraph_msgs.msg import Clock

from fusion_mamba_ros.ros.detector.message_conversion import to_stamp

HOUR_NS = 3600 * 10**9


class SimulatedClock:
    """Publishes /clock every 10 ms, at the speed of real time unless it is paused, silent or set."""

    def __init__(self, graph: Graph) -> None:
        self.now_ns = 2 * HOUR_NS
        self.paused = False
        self.silent = False
        self._publisher = graph.node.create_publisher(Clock, "/clock", 10)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        before = time.monotonic_ns()
        while not self._stop.wait(0.01):
            now = time.monotonic_ns()
            if not (self.paused or self.silent):
                self.now_ns += now - before
            before = now
            if not self.silent:
                self._publisher.publish(Clock(clock=to_stamp(self.now_ns)))

    def close(self) -> None:
        """Stop publishing."""
        self._stop.set()
        self._thread.join()
