# SPDX-License-Identifier: Apache-2.0
"""Drawn combinations of faults over real DDS, with the weights of the package: one node of each engine meets them all.

FUSION_MAMBA_FAULT_SCENARIOS says how many are drawn (5), FUSION_MAMBA_FAULT_SEED where to begin (0), and
FUSION_MAMBA_FAULT_VARIANTS which nodes meet them all: of "plain", "tracking", "rectified", "pairs" and "everything"
("plain"). A node with everything, which is tracking, rectification and a second camera pair, always meets one.
"""

from __future__ import annotations

import importlib
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from detector_graph import OK, DetectorProcess, Graph, isolate, wait_until
from fault_scenarios import KINDS
from faulty_detector import HANG, NAN, RAISE, SLOW
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_cameras import RGB_SIZE, THERMAL_SIZE, Cameras
from ros_clock import SimulatedClock
from sensor_msgs.msg import CameraInfo, Image

from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.streams.frames import Camera

SCENARIOS = int(os.environ.get("FUSION_MAMBA_FAULT_SCENARIOS", "5"))
FIRST_SEED = int(os.environ.get("FUSION_MAMBA_FAULT_SEED", "0"))
# Slow enough for an inference of the package's weights on one busy core.
PERIOD_SEC, PAIRING_TIMEOUT_SEC = 0.4, 1.5
# Of the second camera pair, which is well all the time.
REAR_PERIOD_SEC = 1.0
# With ONNX Runtime, the faults mostly last as long as it takes to report them.
FAULT_SEC = {"torch": 8.0, "onnxruntime": 2.0}
INFERENCE_TIMEOUT_SEC = 3.0
COMMANDS = {
    "inference slow": SLOW,
    "inference hung": HANG,
    "inference raising": RAISE,
    "inference NaN": NAN,
    "overload": SLOW,
}
SUBJECTS = ("cameras", "pairing", "inference", "output")
VARIANTS = os.environ.get("FUSION_MAMBA_FAULT_VARIANTS", "plain").split()
# Engine and variant of a node. The other variants run in PyTorch.
NODES = [
    f"{engine} {variant}"
    for variant in VARIANTS
    for engine in (sorted(FAULT_SEC, reverse=True) if variant == "plain" else ["torch"])
]
CASES = [(node, seed) for node in NODES for seed in range(FIRST_SEED, FIRST_SEED + SCENARIOS)]
CASES += [] if "everything" in VARIANTS else [("torch everything", FIRST_SEED)]


class System:
    """Node, clock, cameras and observer. A second pair of cameras is there in some variants."""

    def __init__(self, log: Path, engine: str, variant: str) -> None:
        isolate()
        self.engine = engine
        self.pair = "front" if variant in ("pairs", "everything") else ""
        prefix = f"{self.pair}/" if self.pair else ""
        parameters = [
            f"engine:={engine}",
            # Two threads where two pairs infer at the same time.
            f"threads:={2 if self.pair else 1}",
            "use_sim_time:=true",
            f"pairing.timeout_sec:={PAIRING_TIMEOUT_SEC}",
            f"inference.timeout_sec:={INFERENCE_TIMEOUT_SEC}",
        ]
        if variant in ("tracking", "everything"):
            parameters.append("tracking:=true")
        if self.pair:
            parameters += ["pairs:=[front, rear]", "rear.pairing.timeout_sec:=3.0"]
        program = [str(Path(__file__).with_name("faulty_detector.py"))]
        self.detector = DetectorProcess(program, log, *parameters)
        self.graph = Graph(pair=self.pair)
        self.rear = Graph(pair="rear") if self.pair else None
        if variant in ("rectified", "everything"):
            self._publish_camera_info(prefix)
        self.graph.activate()
        self.clock = SimulatedClock(self.graph)
        self.cameras = Cameras(self.graph, period_sec=PERIOD_SEC, now_ns=lambda: self.clock.now_ns, prefix=prefix)
        self.rear_cameras = self.rear and Cameras(
            self.rear, period_sec=REAR_PERIOD_SEC, now_ns=lambda: self.clock.now_ns, prefix="rear/"
        )
        self.commands: dict[int, set[int]] = defaultdict(set)
        self.cameras.spoil = self.healthy
        # The very first images may have gone out without a note of their command.
        wait_until(lambda: len(self.graph.arrays) >= 3, "arrays")

    def close(self) -> None:
        """End everything."""
        for part in (self.cameras, self.rear_cameras, self.clock, self.graph, self.rear):
            if part is not None:
                part.close()
        self.detector.kill()

    def _publish_camera_info(self, prefix: str) -> None:
        """Let both lenses distort, but by so little that the first pixel, which is a command, stays where it is."""
        kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        for camera, (height, width) in ((Camera.RGB, RGB_SIZE), (Camera.THERMAL, THERMAL_SIZE)):
            info = CameraInfo(width=width, height=height, distortion_model="plumb_bob", d=[1e-9, 0.0, 0.0, 0.0, 0.0])
            info.k = [50.0, 0.0, width / 2, 0.0, 50.0, height / 2, 0.0, 0.0, 1.0]
            topic = f"{prefix}{camera.value}/camera_info"
            self.graph.node.create_publisher(CameraInfo, topic, kept).publish(info)

    def healthy(self, camera: Camera, message: Image) -> Image:
        """Note which command goes out under which stamp."""
        self.commands[to_nanoseconds(message.header.stamp)].add(message.data[0])
        return message

    def is_well(self) -> bool:
        """Return whether all subjects are OK, and not just inactive. Those of the second camera pair too."""
        graphs = [graph for graph in (self.graph, self.rear) if graph is not None]
        messages = [{name: status.message for name, status in dict(graph.diagnostics).items()} for graph in graphs]
        return messages == [dict.fromkeys(SUBJECTS, "OK")] * len(graphs)

    def says(self, subject: str, words: str) -> bool:
        """Return whether the newest report on ``subject`` is not OK and has ``words``."""
        status = self.graph.diagnostics[subject]
        return bool(status.level != OK and words in status.message)


@pytest.fixture(scope="module", params=[f"{engine} plain" for engine in sorted(FAULT_SEC, reverse=True)])
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(tmp_path_factory.mktemp("combinations") / "detector.log", *request.param.split())
    yield system
    system.close()


def draw(seed: int) -> tuple[list[str], Camera]:
    """Return up to four kinds of faults, at most one of them in inference, and the camera that has them."""
    rng = np.random.default_rng([41, seed])
    kinds = [str(kind) for kind in rng.permutation(KINDS)][: int(rng.integers(2, 5))]
    first = next((kind for kind in kinds if kind in COMMANDS), "")
    return [kind for kind in kinds if kind not in COMMANDS or kind == first], list(Camera)[int(rng.integers(2))]


def begin(system: System, kinds: list[str], camera: Camera) -> None:
    """Let all faults begin."""
    cameras, clock = system.cameras, system.clock
    held: list[Image] = []

    def spoil(of: Camera, message: Image) -> Image:
        system.healthy(of, message)
        if of is not camera:
            return message
        if "camera late" in kinds:
            # In order, two periods late.
            held.append(message)
            message = held.pop(0) if len(held) > 2 else held[0]
        if "camera corrupt" in kinds:
            message.data = message.data[:-7]
        return message

    cameras.spoil = spoil
    cameras.running[camera] = "camera dead" not in kinds
    cameras.frozen = "camera frozen" in kinds
    cameras.period_sec = PERIOD_SEC / 4 if "overload" in kinds else PERIOD_SEC
    cameras.first_pixel = next((COMMANDS[kind] for kind in kinds if kind in COMMANDS), 0)
    clock.silent = "clock stopped" in kinds
    if "clock jumping" in kinds:
        clock.now_ns += 30 * 10**9 if camera is Camera.RGB else -30 * 10**9


def end(system: System) -> None:
    """Let all faults end."""
    cameras = system.cameras
    cameras.spoil = system.healthy
    cameras.running, cameras.frozen = dict.fromkeys(Camera, True), False
    cameras.period_sec, cameras.first_pixel = PERIOD_SEC, 0
    system.clock.silent = False


def expectations(system: System, kinds: list[str], camera: Camera) -> dict[str, Callable[[], bool]]:
    """Return what diagnostics have to say while the faults last, as far as no other fault stands before it."""
    seen: dict[str, Callable[[], bool]] = {}
    dead = "camera dead" in kinds
    if dead:
        seen["camera dead"] = lambda: system.says("cameras", f"{camera.value} is missing")
    if "camera frozen" in kinds and not (camera is Camera.THERMAL and {"camera dead", "camera corrupt"} & set(kinds)):
        seen["camera frozen"] = lambda: (
            system.says("cameras", "thermal is missing") or system.says("cameras", "stood still")
        )
    if "camera corrupt" in kinds and not dead:
        seen["camera corrupt"] = lambda: system.says("cameras", f"{camera.value} images refused: ")
    if "clock stopped" in kinds:
        seen["clock stopped"] = lambda: system.says("cameras", "the node's clock has stood still")
    elif not (camera is Camera.RGB and "camera frozen" in kinds and {"camera dead", "camera corrupt"} & set(kinds)):
        if "inference hung" in kinds:
            seen["inference hung"] = lambda: system.says("inference", "inference has not ended for")
        if "inference raising" in kinds:
            seen["inference raising"] = lambda: system.says("inference", "the detector was asked to fail")
        if "inference NaN" in kinds:
            seen["inference NaN"] = lambda: system.says("inference", "the network's output is not finite")
        if {"inference slow", "overload"} & set(kinds):
            seen["overload"] = lambda: not system.is_well()
    return seen


def test_log_and_diagnostics_name_the_engine_with_its_version(system: System) -> None:
    module = importlib.import_module(system.engine)
    expected = f"{system.engine} {module.__version__}, fp32"
    wait_until(lambda: "engine" in values(system, "inference"), "a report on inference")
    assert values(system, "inference")["engine"] == expected
    assert float(values(system, "inference")["memory of the process (MB)"]) > 50
    assert f"on cpu by {expected}, modes fused" in system.detector.log


def values(system: System, subject: str) -> dict[str, str]:
    """Return the values of the newest report on ``subject``."""
    status = system.graph.diagnostics.get(subject)
    return {} if status is None else {value.key: value.value for value in status.values}


@pytest.mark.parametrize(("system", "seed"), CASES, indirect=["system"])
def test_combinations_over_dds(system: System, seed: int) -> None:
    kinds, camera = draw(seed)
    print(f"seed {seed}: {', '.join(kinds)} of {camera.value}")
    wait_until(system.is_well, f"all is well before {kinds}: {system.graph.diagnostics}")
    start = len(system.graph.arrays)
    begin(system, kinds, camera)
    try:
        began = time.monotonic()
        for kind, is_said in expectations(system, kinds, camera).items():
            wait_until(is_said, f"{kind} of {kinds} ({camera.value}) to be reported")
        time.sleep(max(0.0, FAULT_SEC[system.engine] - (time.monotonic() - began)))
    finally:
        end(system)
    fused = len(system.graph.statuses)

    def modes() -> list[str]:
        # Where an inference takes longer than a second, statuses without an array stand between the arrays.
        return [status.mode for status in system.graph.statuses[fused:] if status.mode != FusionStatus.NONE]

    wait_until(lambda: modes()[-3:] == ["fused"] * 3, f"pairs after {kinds}")
    wait_until(system.is_well, f"all is well after {kinds}")
    assert system.detector.process.poll() is None, system.detector.log
    system.graph.counters_add_up()
    if system.rear is not None:
        system.rear.counters_add_up()
    sent = {stamp for stamps in system.cameras.sent.values() for stamp in stamps}
    for array in system.graph.arrays[start:]:
        stamp_ns = to_nanoseconds(array.header.stamp)
        assert stamp_ns in sent, f"no camera sent the stamp {stamp_ns}"
        commands = system.commands[stamp_ns]
        assert commands, "an image without a note of its command"
        assert commands - {NAN, RAISE}, "an array of an inference that failed"
