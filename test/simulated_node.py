# SPDX-License-Identifier: Apache-2.0
"""An active detector without DDS, threads or waiting: the node's own code on simulated ROS and steady clocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import message_filters
import numpy as np
import pytest
import torch
from simulated_inference import SimulatedScheduler, SimulatedWorker
from simulated_world import SECOND, World

from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.perception.predictor import Thresholds
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.ros.detector import detection_session
from fusion_mamba_ros.ros.detector.detection_session import DetectionSession
from fusion_mamba_ros.ros.detector.diagnostics import Diagnostics
from fusion_mamba_ros.ros.detector.outputs import Outputs
from fusion_mamba_ros.ros.detector.pair_names import PairNames
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters
from fusion_mamba_ros.streams.frames import Camera

RAISED = "the inference was asked to fail"
NON_FINITE = "the network's output is not finite (NaN or infinity) in precision fp16: try precision bf16 or fp32"


class SimulatedSubscription(message_filters.SimpleFilter):
    """A subscription whose messages come from the test."""

    def __init__(self, node: Any, topic: str, *, compressed: bool) -> None:
        super().__init__()
        self.topic = topic

    def close(self) -> None:
        self.callbacks.clear()

    def follow_publishers(self) -> None: ...


class SimulatedPredictor:
    """A predictor whose duration passes in simulated time; its box encodes which images it was given.

    ``duration_sec``: of an inference. ``fault``: "raise", "nan" or none. ``running_since_ns``: None while it waits.
    """

    metadata = CheckpointMetadata(("person",), (64, 64))
    device = torch.device("cpu")
    engine_description = "simulated 1.0, fp32"
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


class SimulatedPair:
    """Predictor, session and diagnostics of one camera pair, put together as `CameraPair` does."""

    def __init__(
        self, world: World, pair: str, predictor: Any, worker: Any, turns: float, parameters: dict[str, Any]
    ) -> None:
        node: Any = world
        names = PairNames(pair)
        values = {spec.name: spec.default for spec in SPECS} | parameters
        steady = {"steady_ns": lambda: world.steady_ns}
        self.predictor = predictor
        outputs = Outputs(node, predictor.metadata.class_names, ThermalScaling(), np.eye(3), names=names, **steady)
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
    """World and camera pairs, put together as `DetectorNode` does; by default one pair. It stands for the first one.

    ``make_predictor`` returns the predictor for a world. ``node_ns`` is the first time of the node's clock.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        *,
        names: tuple[str, ...] = ("",),
        make_predictor: Callable[[World], Any] | None = None,
        node_ns: int | None = None,
        **parameters: Any,
    ) -> None:
        world = self.world = World()
        if node_ns is not None:
            world.node_ns = node_ns
        make = make_predictor or SimulatedPredictor

        def worker(process: Any, *, on_error: Any) -> SimulatedWorker:
            return SimulatedWorker(world, process, on_error)

        patch.setattr(detection_session, "ImageSubscription", SimulatedSubscription)
        patch.setattr(detection_session, "InferenceWorker", worker)
        lane = SimulatedScheduler(world).lane if len(names) > 1 else None
        self.pairs = {
            name: SimulatedPair(world, name, make(world), lane, float(len(names)), parameters) for name in names
        }
        first = self.pairs[names[0]]
        self.predictor, self.diagnostics, self.session = first.predictor, first.diagnostics, first.session
        self.receive = first.receive
