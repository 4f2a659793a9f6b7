# SPDX-License-Identifier: Apache-2.0
"""The engine that runs a detector in PyTorch, as it was trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.network.absent_streams import AbsentStreams
from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint
from fusion_mamba_ros.perception.compute import choose_device, choose_precision, fold_batch_norms
from fusion_mamba_ros.perception.engine import EngineOptions, EngineOutput
from fusion_mamba_ros.perception.finite_output import NOT_FINITE
from fusion_mamba_ros.perception.missing_images import missing_images
from fusion_mamba_ros.perception.threads import set_threads

_PRECISION_NAMES = {None: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


def load_engine(path: Path, options: EngineOptions) -> tuple[TorchEngine, CheckpointMetadata]:
    """Load a `.safetensors` checkpoint. Return its engine and its metadata.

    Raises `CheckpointError` for the file, and ``ValueError`` if the device or precision is not available.
    """
    if options.threads is not None:
        set_threads(options.threads)
    # Check the device and precision first: a wrong name should fail before the file is read.
    choose_precision(options.precision, choose_device(options.device))
    model, metadata = load_checkpoint(path)
    return TorchEngine(model, device=options.device, precision=options.precision), metadata


class TorchEngine:
    """An `Engine` that runs a `FusionMambaDetector` in PyTorch.

    ``model`` is the detector on its device, with folded batch normalisations.
    """

    name = "torch"
    version = str(torch.__version__)

    def __init__(self, model: FusionMambaDetector, *, device: str = "auto", precision: str = "auto") -> None:
        """Take over ``model``: move it to the device and fold its batch normalisations.

        Raises ``ValueError`` with one sentence if the device or precision is not available.
        """
        self._device = choose_device(device)
        self._dtype = choose_precision(precision, self._device)
        self.device = str(self._device)
        self.precision = _PRECISION_NAMES[self._dtype]
        self.modalities: Mapping[str, int] = dict(model.config.modalities)
        # On CUDA all threads would share one stream. On the CPU they share the autocast cache, which locks itself.
        self.is_reentrant = self._device.type == "cpu"
        fold_batch_norms(model)
        self.model = model.to(self._device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = AbsentStreams(self.model)

    def run(self, images: Mapping[str, npt.NDArray[np.uint8]], calibration: Calibration | None = None) -> EngineOutput:
        """Return the decoded output for a batch of prepared images. See `Engine.run`."""
        try:
            return self._run(images, calibration)
        except torch.cuda.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error

    def memory_mb(self) -> dict[str, float]:
        """Return the memory on the CUDA device, in MiB."""
        if self._device.type != "cuda":
            return {}
        return {
            "memory of the device (MB)": torch.cuda.memory_allocated(self._device) / 2**20,
            "memory of the device, peak (MB)": torch.cuda.max_memory_allocated(self._device) / 2**20,
        }

    def free_memory(self) -> None:
        """Return PyTorch's cached memory to the CUDA device."""
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _run(self, images: Mapping[str, npt.NDArray[np.uint8]], calibration: Calibration | None) -> EngineOutput:
        # A model of one stream always has an image.
        absent = missing_images(images) if len(images) > 1 else {}
        tensors = {name: to_tensor(image, self._device) for name, image in images.items()}
        autocast = torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype is not None)
        with torch.inference_mode(), autocast:
            levels = self._network(tensors, absent)
            # Check before decoding: a softmax or the score threshold would hide NaN and infinity.
            finite = are_finite(levels)
            decoded = self.model.decode(levels)
        if calibration is None:
            decoded = decoded.float()
        else:
            scores = calibrated_scores(decoded[..., 4:], calibration)
            decoded = torch.cat((decoded[..., :4].float(), scores), dim=-1)
        problem = None if finite else cause_of_non_finite_output(self.model, self._dtype)
        return EngineOutput(decoded.cpu().numpy(), problem)


def to_tensor(images: npt.NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Return images (B, C, H, W) as a float32 tensor in [0, 1], in the same memory order.

    The images are copied to the device as bytes and converted to float there, which needs a quarter of the transfer.
    """
    return torch.from_numpy(images).to(device).float().div_(255.0)


def calibrated_scores(scores: torch.Tensor, calibration: Calibration) -> torch.Tensor:
    """Return calibrated scores, float32, for raw scores (..., classes). The formula is that of `Calibration.apply`."""
    values = scores.float()
    return (values.logit() / values.new_tensor(calibration.temperatures)).sigmoid()


def are_finite(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return a boolean scalar, on the device of ``levels``, that says whether all of their values are finite.

    A float32 sum costs a third of `torch.isfinite` on every value. A sum that includes NaN or infinity is never finite.
    Finite values overflow the sum only near 1e33, which no working network outputs.
    """
    sums = torch.stack([level.sum(dtype=torch.float32) for level in levels])
    return torch.isfinite(sums).all()


def cause_of_non_finite_output(model: nn.Module, dtype: torch.dtype | None) -> str:
    """Return in one sentence why the output of ``model`` is not finite.

    ``dtype`` is the autocast type that the model ran in, None for float32.
    """
    symptom = NOT_FINITE
    damaged = [name for name, tensor in model.state_dict().items() if not torch.isfinite(tensor).all()]
    if damaged:
        return (
            f"{symptom}: {len(damaged)} of its weight tensors hold NaN or infinity, the first is '{damaged[0]}': "
            "use another checkpoint"
        )
    if dtype is torch.float16:
        return f"{symptom} in precision fp16: try precision bf16 or fp32"
    if dtype is torch.bfloat16:
        return f"{symptom} in precision bf16: try precision fp32"
    return f"{symptom}: its activations overflow in fp32, use another checkpoint"
