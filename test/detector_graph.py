# SPDX-License-Identifier: Apache-2.0
"""A ROS graph for tests: the detector as a process of its own, and an observer."""

from __future__ import annotations

import fcntl
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from vision_msgs.msg import Detection2DArray

from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.ros.bag_tools.lifecycle_client import LifecycleClient
from fusion_mamba_ros.ros.bag_tools.service_client import ServiceClient
from fusion_mamba_ros.ros.detector.pair_names import PairNames
from fusion_mamba_ros.ros.large_image_transport import profile_environment

ROOT = Path(__file__).parents[1]
PATIENCE_SEC = 90.0
# A killed node stays visible in its domain for some seconds, so a process returns to a domain only after this many
# others. Several test processes share the 101 domains of a machine.
_DOMAINS_OF_A_PROCESS = 20
_domains: deque[tuple[int, IO[str]]] = deque()  # the domains of this process with their locks, the oldest use first
OK, WARN, ERROR = b"\x00", b"\x01", b"\x02"


def isolate() -> int:
    """Give this process and its children a ROS domain on this machine that no other test uses; return it."""
    domain = _free_domain()
    os.environ.update(
        ROS_DOMAIN_ID=str(domain),
        ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST",
        **profile_environment(ROOT / "config" / "fastdds_large_images.xml"),
    )
    return domain


@contextmanager
def isolated_context() -> Iterator[Context]:
    """Return a ROS context of this process in a domain of its own, and shut it down at the end."""
    isolate()
    context = Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


def _free_domain() -> int:
    if len(_domains) == _DOMAINS_OF_A_PROCESS:
        _domains.rotate(-1)
        return _domains[-1][0]
    domains = list(range(1, 102))
    random.SystemRandom().shuffle(domains)
    for domain in domains:
        lock = (Path(tempfile.gettempdir()) / f"ros_domain_{domain}.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _domains.append((domain, lock))
        return domain
    raise RuntimeError("all ROS domains are in use by other tests")


def wait_until(condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SEC) -> Any:
    """Return the first true value of ``condition``; fail, naming ``what``, if there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds:g} s in vain for: {what}")


def is_met(condition: Callable[[], Any], seconds: float) -> bool:
    """Wait for ``condition`` at most ``seconds``; return whether it holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


class DetectorProcess:
    """A detector node that runs by itself; its log can be read."""

    def __init__(
        self, program: list[str], log: Path, *parameters: str, environment: dict[str, str] | None = None
    ) -> None:
        self.log_path = log
        arguments = [part for parameter in parameters for part in ("-p", parameter)]
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, *program, "--ros-args", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                # One thread: several threads would wait for each other in busy loops on the few shared cores.
                env={"OMP_NUM_THREADS": "1", **os.environ, **(environment or {})},
            )

    @property
    def log(self) -> str:
        """Everything that the process has printed."""
        return self.log_path.read_text()

    def shared_memory(self) -> set[Path]:
        """Return the DDS segments that the process owns: it holds their lock files open."""
        handles = (os.readlink(handle) for handle in Path(f"/proc/{self.process.pid}/fd").iterdir())
        return {
            Path(match[1]) for match in (re.fullmatch(r"(/dev/shm/fast\S+_[0-9a-f]+)_el", h) for h in handles) if match
        }

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SEC)

    def kill(self) -> None:
        """Kill the process if it runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Graph:
    """An observer in the test's process, spun by a thread; cameras (`ros_cameras.py`) join its node.

    ``pair``: the camera pair that is observed, of a node that has several.
    """

    def __init__(self, namespace: str = "", *, pair: str = "") -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node("test_graph", context=self.context, namespace=namespace)
        self.arrays: list[Detection2DArray] = []
        self.statuses: list[FusionStatus] = []
        self.diagnostics: dict[str, Any] = {}
        names = PairNames(pair)
        self._subject = names.subject("detector_node")
        self.node.create_subscription(Detection2DArray, names.topic("detections"), self.arrays.append, 1000)
        status = names.topic("~/status").replace("~", "detector_node")
        self.node.create_subscription(FusionStatus, status, self.statuses.append, 1000)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._clients: dict[str, ServiceClient] = {}
        self._lifecycle = LifecycleClient(self.node, "detector_node", is_met)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            # The node may have a namespace.
            if not f"/{status.name}".rpartition(": ")[0].endswith(f"/{self._subject}"):
                continue
            self.diagnostics[status.name.rsplit(": ")[-1]] = status

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """Return the answer of a service; the request may be sent again, so it must be idempotent."""
        if service not in self._clients:
            self._clients[service] = ServiceClient(self.node, kind, service, is_met)
        return self._clients[service].call(request, PATIENCE_SEC)

    def transition(self, transition_id: int) -> bool:
        """Ask the detector for a transition; return whether it succeeded."""
        self._lifecycle.wait_for_node(PATIENCE_SEC)
        return self._lifecycle.change_state(transition_id, PATIENCE_SEC)

    def state(self) -> str:
        """Return the detector's lifecycle state."""
        return self._lifecycle.state(PATIENCE_SEC)

    def activate(self) -> None:
        """Bring the detector from unconfigured to active."""
        assert self.transition(Transition.TRANSITION_CONFIGURE), "configure failed"
        assert self.transition(Transition.TRANSITION_ACTIVATE), "activate failed"

    def wait_for_health(self, subject: str, level: bytes, words: str = "") -> None:
        """Wait until diagnostics report ``subject`` at ``level`` with ``words`` in the message."""

        def reported() -> bool:
            status = self.diagnostics.get(subject)
            return status is not None and status.level == level and words in status.message

        wait_until(reported, f"diagnostics of {subject} at level {level!r} with '{words}'")

    def counters_add_up(self) -> FusionStatus:
        """Return the newest status, having checked that each frame is in exactly one counter."""
        status = self.statuses[-1]
        for camera in (status.rgb, status.thermal):
            counts = [getattr(camera, name) for name in camera.get_fields_and_field_types()]
            assert 2 * camera.received == sum(counts), camera
        for modality in status.further:
            parts = (modality.used, modality.unused, modality.refused, modality.waiting)
            assert modality.received == sum(parts), modality
        return status

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self.context.try_shutdown()


@contextmanager
def running_detector(
    log: Path, *parameters: str, namespace: str = "", delay_sec: float = 0.0, active: bool = True
) -> Iterator[tuple[DetectorProcess, Graph]]:
    """A stand-in detector process and a graph around it, both ended at the end."""
    isolate()
    program = [str(Path(__file__).with_name("stand_in_detector.py"))]
    environment = {"FUSION_MAMBA_STAND_IN_SEC": str(delay_sec)}
    detector = DetectorProcess(program, log, *parameters, environment=environment)
    graph = Graph(namespace)
    try:
        if active:
            graph.activate()
        yield detector, graph
    finally:
        graph.close()
        detector.kill()
