# SPDX-License-Identifier: Apache-2.0
"""Choose the device and precision of a detector, and prepare its model for inference."""

from __future__ import annotations

import torch
from torch import nn

from fusion_mamba_ros.network.convolution import NormalisedConv

PRECISIONS = ("auto", "fp32", "fp16", "bf16")
_AUTOCAST = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


def choose_device(name: str) -> torch.device:
    """Return the device for ``name``: ``auto`` (CUDA if available, else the CPU), ``cpu``, ``cuda`` or ``cuda:1``.

    Raises ``ValueError`` with one sentence if the device is not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device '{name}' is unknown: expected auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device '{name}' is not supported: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(
                f"device '{name}' is not there: torch {torch.__version__} finds no CUDA, use 'cpu' or 'auto'"
            )
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise ValueError(f"device '{name}' is not there: torch finds {torch.cuda.device_count()} CUDA device(s)")
    return device


def choose_precision(name: str, device: torch.device) -> torch.dtype | None:
    """Return the dtype for autocast, or None for plain float32. ``auto`` is fp16 on CUDA and fp32 on the CPU.

    Raises ``ValueError`` with one sentence if the device does not support the precision.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision '{name}' is unknown: expected one of {', '.join(PRECISIONS)}")
    if name == "auto":
        name = "fp16" if device.type == "cuda" else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise ValueError("precision 'fp16' needs a CUDA device: use 'fp32', 'bf16' or 'auto' on the CPU")
    if name == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ValueError(f"precision 'bf16' is not supported by {torch.cuda.get_device_name(device)}: use 'fp16'")
    return _AUTOCAST[name]


def fold_batch_norms(model: nn.Module) -> None:
    """Fold each batch normalisation into the preceding convolution, in place, and switch to evaluation mode."""
    model.eval()
    for module in model.modules():
        if isinstance(module, NormalisedConv):
            module.fold_norm()
