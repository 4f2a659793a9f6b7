# SPDX-License-Identifier: Apache-2.0
"""An active detector without DDS, threads or waiting: the node's own code on simulated ROS and steady clocks."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import message_filters
import numpy as np
import pytest
import torch
from rclpy.clock import ClockType

from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.perception.predictor import Thresholds
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.ros.detector import detection_session
from fusion_mamba_ros.ros.detector.detection_session import DetectionSession
from fusion_mamba_ros.ros.detector.diagnostics import Diagnostics
from fusion_mamba_ros.ros.detector.inference_turns import Turns
from fusion_mamba_ros.ros.detector.message_conversion import to_stamp
from fusion_mamba_ros.ros.detector.outputs import Outputs
from fusion_mamba_ros.ros.detector.pair_names import PairNames
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters
from fusion_mamba_ros.streams.frames import Camera

SECOND = 10**9
MS = 10**6
RAISED = "the inference was asked to fail"
NON_FINITE = "the network's output is not finite (NaN or infinity) in precision fp16: try precision bf16 or fp32"


class Timer:
    """A timer of the simulated executor; `reset` lets its period begin anew, as rclpy's does."""

    def __init__(self, world: World, period_ns: int, callback: Callable[[], None], *, steady: bool) -> None:
        self.timer_period_ns = period_ns
        self.callback = callback
        self._world = world
        self._steady = steady
        self.reset()

    def reset(self) -> None:
        """Be due one period from now."""
        self.due_ns = self._now_ns() + self.timer_period_ns

    def steady_due_ns(self) -> int | None:
        """Return when it is due by the steady clock, None while its clock stands still."""
        if self._steady:
            return self.due_ns
        if self._world.clock_stopped and self.due_ns > self._world.node_ns:
            return None
        return self._world.steady_ns + max(0, self.due_ns - self._world.node_ns)

    def after_jump(self) -> None:
        """Do as rcl does when the clock went back: the period begins anew."""
        if not self._steady and self.due_ns > self._world.node_ns + self.timer_period_ns:
            self.reset()

    def _now_ns(self) -> int:
        return self._world.steady_ns if self._steady else self._world.node_ns


class World:
    """Both clocks, and everything that is due; stands where the node and its executor do.

    An inference runs as a nested `run_until`: frames, timers and clocks go on while it lasts.
    """

    def __init__(self) -> None:
        self.steady_ns = 1000 * SECOND
        self.node_ns = 5000 * SECOND
        self.clock_stopped = False
        self.context = SimpleNamespace(ok=lambda: True)
        self.published: dict[str, list[Callable[[Any], None]]] = {}
        self.subscribed: dict[str, Callable[[Any], None]] = {}
        self._timers: list[Timer] = []
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, steady_ns: int, action: Callable[[], None]) -> None:
        """Let something happen at a moment of the steady clock."""
        heapq.heappush(self._due, (steady_ns, next(self._order), action))

    def run_until(self, end_ns: int) -> None:
        """Let time go by."""
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

    # What the package asks of a node.

    def get_clock(self) -> Any:
        return SimpleNamespace(
            now=lambda: SimpleNamespace(nanoseconds=self.node_ns, to_msg=lambda: to_stamp(self.node_ns)),
            create_jump_callback=lambda *_, **__: SimpleNamespace(unregister=lambda: None),
        )

    def get_logger(self) -> Any:
        return SimpleNamespace(**dict.fromkeys(("info", "warning", "error"), lambda *_, **__: None))

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


class SimulatedSubscription(message_filters.SimpleFilter):
    """A subscription whose messages come from the test."""

    def __init__(self, node: Any, topic: str, *, compressed: bool) -> None:
        super().__init__()
        self.topic = topic

    def close(self) -> None:
        self.callbacks.clear()

    def follow_publishers(self) -> None: ...


class SimulatedWorker:
    """An inference worker without a thread: it begins with the world's next event."""

    def __init__(self, world: World, process: Callable[[Any], None], on_error: Callable[[Exception], None]) -> None:
        self._world = world
        self._process = process
        self._on_error = on_error
        self._waiting: Any = None
        self._busy = False

    def submit(self, item: Any) -> Any:
        replaced, self._waiting = self._waiting, item
        if not self._busy:
            self._busy = True
            self._world.at(self._world.steady_ns, self._run)
        return replaced

    def stop(self, *, timeout_sec: float) -> bool:
        self._waiting = None
        return not self._busy

    def _run(self) -> None:
        item, self._waiting = self._waiting, None
        try:
            self._process(item)
        except Exception as error:
            self._on_error(error)
        self._busy = self._waiting is not None
        if self._busy:
            self._world.at(self._world.steady_ns, self._run)


class SimulatedPredictor:
    """A predictor whose time passes in the world; its box tells which images it was given.

    ``duration_sec``: of an inference. ``fault``: "raise", "nan" or none. ``running_since_ns``: None while it waits.
    """

    metadata = CheckpointMetadata(("person",), (64, 64))
    device = torch.device("cpu")
    modes = tuple(Mode)

    def __init__(self, world: World) -> None:
        self.thresholds = Thresholds()
        self.duration_sec = 0.03
        self.fault = ""
        self.running_since_ns: int | None = None
        self.outcomes: list[str] = []
        self._world = world

    def warm_up(self) -> tuple[float, ...]:
        return (self.duration_sec,) * 3

    def reset_stream(self) -> None: ...

    def memory_mb(self) -> dict[str, float]:
        return {}

    def free_memory(self) -> None: ...

    def predict(self, images: Any, *, reference_size: Any = None) -> Detections:
        self.running_since_ns = self._world.steady_ns
        fault = self.fault
        self._world.run_until(self._world.steady_ns + int(self.duration_sec * SECOND))
        self.running_since_ns = None
        self.outcomes.append(fault)
        if fault == "raise":
            raise RuntimeError(RAISED)
        if fault == "nan":
            raise NonFiniteOutputError(NON_FINITE)
        rgb, thermal = number_in(images.get("rgb")), number_in(images.get("thermal"))
        mode = Mode.FUSED if len(images) == 2 else Mode.RGB_ONLY if "rgb" in images else Mode.THERMAL_ONLY
        box = np.array([[rgb, thermal, rgb + 2, thermal + 2]], np.float32)
        return Detections(box, np.array([0.9], np.float32), np.zeros(1, np.int64), mode)


def number_in(pixels: np.ndarray | None) -> int:
    """Return the number that `numbered_pixels` wrote, 0 without an image."""
    if pixels is None:
        return 0
    middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    return int(middle) if pixels.ndim == 2 else int(middle[0]) * 256 + int(middle[1])


def numbered_pixels(camera: Camera, number: int) -> np.ndarray:
    """Return an image of one camera that carries ``number`` in its middle."""
    if camera is Camera.THERMAL:
        return np.full((24, 16), number, np.uint16)
    pixels = np.zeros((24, 16, 4), np.uint8)  # bgra8
    pixels[..., 2], pixels[..., 1] = divmod(number, 256)
    return pixels


class SimulatedScheduler:
    """One inference thread that several pairs share in turns, without a thread."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._turns: Turns[Any] = Turns()
        self._lanes: dict[int, tuple[Callable[[Any], None], Callable[[Exception], None]]] = {}
        self._busy = False

    def lane(self, process: Callable[[Any], None], *, on_error: Callable[[Exception], None]) -> Any:
        """Return a lane, as `InferenceScheduler.lane` does."""
        number = self._turns.add_lane()
        self._lanes[number] = process, on_error
        return SimpleNamespace(
            submit=lambda item: self._submit(number, item), stop=lambda timeout_sec: self._stop(number)
        )

    def _submit(self, number: int, item: Any) -> Any:
        replaced = self._turns.submit(number, item)
        if not self._busy:
            self._busy = True
            self._world.at(self._world.steady_ns, self._run)
        return replaced

    def _stop(self, number: int) -> bool:
        self._turns.remove_lane(number)
        return not self._turns.is_busy(number)

    def _run(self) -> None:
        taken = self._turns.take()
        self._busy = taken is not None
        if taken is None:
            return
        process, on_error = self._lanes[taken[0]]
        try:
            process(taken[1])
        except Exception as error:
            on_error(error)
        self._turns.finish(taken[0])
        self._world.at(self._world.steady_ns, self._run)


class SimulatedPair:
    """Predictor, session and diagnostics of one camera pair, put together as `CameraPair` does."""

    def __init__(self, world: World, pair: str, worker: Any, turns: float, parameters: dict[str, Any]) -> None:
        node: Any = world
        names = PairNames(pair)
        values = {spec.name: spec.default for spec in SPECS} | parameters
        steady = {"steady_ns": lambda: world.steady_ns}
        self.predictor = SimulatedPredictor(world)
        outputs = Outputs(node, ("person",), ThermalScaling(), np.eye(3), names=names, **steady)
        self.diagnostics = Diagnostics(node, self.predictor, names=names, turns=turns, **steady)
        self.session = DetectionSession(
            node,
            self.predictor,
            outputs,
            DetectorParameters.from_values(values),
            names=names,
            worker=worker,
            warm_up_sec=self.predictor.warm_up(),
            **steady,
        )
        self.diagnostics.watch(self.session)

    def receive(self, camera: Camera, message: Any) -> None:
        """Deliver a message of one camera."""
        subscription: Any = self.session.subscriptions[camera]
        subscription.signalMessage(message)


class SimulatedDetector:
    """World and camera pairs, put together as `DetectorNode` does; by default one pair. It stands for the first one."""

    def __init__(self, patch: pytest.MonkeyPatch, *, names: tuple[str, ...] = ("",), **parameters: Any) -> None:
        world = self.world = World()

        def worker(process: Any, *, on_error: Any) -> SimulatedWorker:
            return SimulatedWorker(world, process, on_error)

        patch.setattr(detection_session, "ImageSubscription", SimulatedSubscription)
        patch.setattr(detection_session, "InferenceWorker", worker)
        lane = SimulatedScheduler(world).lane if len(names) > 1 else None
        self.pairs = {name: SimulatedPair(world, name, lane, float(len(names)), parameters) for name in names}
        first = self.pairs[names[0]]
        self.predictor, self.diagnostics, self.session = first.predictor, first.diagnostics, first.session
        self.receive = first.receive
