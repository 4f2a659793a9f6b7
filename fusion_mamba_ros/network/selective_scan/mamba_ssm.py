# SPDX-License-Identifier: Apache-2.0
"""Backend that calls the CUDA kernel of the mamba_ssm package, if that package is installed and works."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor

from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs
from fusion_mamba_ros.network.selective_scan.reference import from_sequences, to_sequences

_INTERFACE = "mamba_ssm.ops.selective_scan_interface"


class _Context:
    """Replace autograd's context: a registered operator runs below autograd and has no context of its own."""

    saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors


class MambaSsmBackend:
    """Scan with mamba_ssm: the K directions become K times as many channels in K times as many groups.

    The kernel of mamba_ssm reads sequences only, so this backend copies the map once for each direction. It calls
    ``SelectiveScanFn.forward`` and ``SelectiveScanFn.backward``: their signatures are stable, while the signature of
    the compiled extension changes between releases. Supports mamba_ssm 1.2 to 2.2 and state sizes up to 256.
    """

    name = "mamba_ssm"
    device_type = "cuda"
    dtypes = (torch.float32,)
    slow = False
    structured_decay = False

    def unavailable_reason(self) -> str | None:
        """Return why mamba_ssm cannot be used: no CUDA device, not installed, or installed but broken."""
        if not torch.cuda.is_available():
            return "torch sees no CUDA device"
        try:
            if importlib.util.find_spec("mamba_ssm") is None:
                return "the package mamba_ssm is not installed (optional: pip install mamba-ssm)"
            # The import loads the compiled extension. If that was built for another torch, it fails in many ways.
            importlib.import_module(_INTERFACE)
        except Exception as error:
            return f"mamba_ssm is installed but broken ({type(error).__name__}: {error}): reinstall it for this torch"
        return None

    def states_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        """Return the shape of an empty tensor: ``backward`` recomputes the states with the forward kernel."""
        return (0,)

    def forward(self, inputs: ScanInputs, keep_states: bool) -> tuple[Tensor, Tensor]:
        """Return y and an empty tensor in place of the states."""
        y, _ = _forward(inputs)
        return _put_back(y, inputs).sum(dim=1), inputs.u.new_empty(0)

    def backward(self, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
        """Return the gradients of all inputs."""
        _, context = _forward(inputs)
        grad_sequences = to_sequences(grad_y.unsqueeze(1).expand_as(inputs.delta)).flatten(1, 2).contiguous()
        u, delta, A, B, C, D, _, delta_bias, *_ = _function().backward(context, grad_sequences)
        groups = (inputs.delta.shape[1], inputs.B.shape[2])
        height, width = inputs.u.shape[-2:]
        return Gradients(
            u=_put_back(u, inputs).sum(dim=1),
            delta=_put_back(delta, inputs),
            A=A.reshape(inputs.A.shape),
            B=from_sequences(B.unflatten(1, groups), height, width),
            C=from_sequences(C.unflatten(1, groups), height, width),
            D=None if inputs.D is None else D.reshape(inputs.D.shape),
            delta_bias=None if inputs.delta_bias is None else delta_bias.reshape(inputs.delta_bias.shape),
        )


def _function() -> Any:
    return importlib.import_module(_INTERFACE).SelectiveScanFn


def _forward(inputs: ScanInputs) -> tuple[Tensor, _Context]:
    """Return y (batch, K D, L) and the context for ``SelectiveScanFn.backward``."""
    u, delta, B, C = (
        to_sequences(maps).flatten(1, 2).contiguous()
        for maps in (inputs.u.unsqueeze(1).expand_as(inputs.delta), inputs.delta, inputs.B, inputs.C)
    )
    D, delta_bias = (None if value is None else value.flatten() for value in (inputs.D, inputs.delta_bias))
    A = inputs.A.flatten(0, 1).contiguous()
    context = _Context()
    y = _function().forward(context, u, delta, A, B, C, D, None, delta_bias, inputs.delta_softplus)
    return y, context


def _put_back(sequences: Tensor, inputs: ScanInputs) -> Tensor:
    """Return (batch, K D, L) as maps (batch, K, D, H, W)."""
    height, width = inputs.u.shape[-2:]
    return from_sequences(sequences.unflatten(1, (inputs.delta.shape[1], -1)), height, width)
