# SPDX-License-Identifier: Apache-2.0
"""The interface of an engine: the software that runs a trained network, for example PyTorch or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.calibration import Calibration


@dataclass(frozen=True)
class EngineOptions:
    """Settings for loading an engine.

    * ``device``: `auto`, `cpu`, `cuda` or `cuda:N`.
    * ``precision``: `auto`, `fp32`, `fp16` or `bf16`. `auto` is what suits the device, or what an exported file holds.
    * ``threads``: CPU threads of the network, 0 for the default of the engine. None leaves the number unchanged if it
      belongs to the whole process, as that of PyTorch does, and means 0 otherwise.
    """

    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 0:
            raise ValueError(f"the number of threads is {self.threads}: expected 0 (automatic) or more")


@dataclass(frozen=True)
class EngineOutput:
    """The decoded output of the network for one batch.

    ``rows`` (B, anchors, 4 + classes) float32 holds for each anchor the box x1 y1 x2 y2 in pixels of the canvas, then
    one score in [0, 1] for each class. ``problem`` is None if every value that the network computed is finite.
    Otherwise it is one sentence with the cause and the remedy, and ``rows`` must not be used. An engine must look for
    NaN and infinity before the decoding if it can, because a softmax or a sigmoid may hide them.
    """

    rows: npt.NDArray[np.float32]
    problem: str | None = None


class Engine(Protocol):
    """A network that is ready to run. Only one thread may call it, unless it has a true attribute ``is_reentrant``.

    Several threads may call `run` of a reentrant engine at the same time; the node does so with several camera pairs.
    An engine knows no camera image, threshold or NMS: `Predictor` does everything before and after it. All attributes
    are constant.
    """

    @property
    def name(self) -> str:
        """Name of the engine in the registry, for example ``torch``."""

    @property
    def version(self) -> str:
        """Version of the software that runs the network, for example that of PyTorch."""

    @property
    def modalities(self) -> Mapping[str, int]:
        """Names and channel counts of the network's inputs, in the order of the model."""

    @property
    def device(self) -> str:
        """Name of the device that runs the network, for example ``cpu`` or ``cuda:0``."""

    @property
    def precision(self) -> str:
        """Precision of the network, for example ``fp32``, ``bf16`` or ``int8``."""

    def run(self, images: Mapping[str, npt.NDArray[np.uint8]], calibration: Calibration | None = None) -> EngineOutput:
        """Return the decoded output for a batch of prepared images.

        ``images`` has one entry (B, C, H, W) uint8 for every modality of the engine. The values 0 to 255 stand for 0
        to 1. All entries have the same B, H and W; H and W are the input size of the checkpoint, and B is 1 or more. A
        missing image is filled with the missing value of its modality. The arrays are usually views of (B, H, W, C), so
        do not rely on their memory order, and do not keep or change them.

        Apply ``calibration``, if there is one, to the class scores. An engine without a faster way calls
        ``calibration.calibrate(rows)``.

        Raises ``MemoryError`` if the device has not enough memory. Any other exception is a fault of the engine.
        """

    def memory_mb(self) -> Mapping[str, float]:
        """Return the memory that the engine uses outside the process's own, in MiB by name. Empty on the CPU.

        The names are keys of the node's diagnostics.
        """

    def free_memory(self) -> None:
        """Return unused cached memory to the device after a failure. Do nothing if there is no cache."""


def run_in_parts(
    engine: Engine, images: Mapping[str, npt.NDArray[np.uint8]], calibration: Calibration | None, most: int
) -> EngineOutput:
    """Return the output for a batch of any size, at most ``most`` images at a time. See `Engine.run`."""
    count = len(next(iter(images.values())))
    if count <= most:
        return engine.run(images, calibration)
    outputs = [
        engine.run({name: batch[first : first + most] for name, batch in images.items()}, calibration)
        for first in range(0, count, most)
    ]
    problem = next((output.problem for output in outputs if output.problem is not None), None)
    return EngineOutput(np.concatenate([output.rows for output in outputs]), problem)
