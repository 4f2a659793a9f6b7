# SPDX-License-Identifier: Apache-2.0
"""The CUDA kernel of the mamba_ssm package as a backend, where that package is installed and works."""

from __future__ import annotations

import importlib
import importlib.util

import torch
from torch import Tensor

from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs
from fusion_mamba_ros.network.selective_scan.reference import from_sequences, to_sequences


class MambaSsmBackend:
    """``selective_scan_cuda`` of mamba_ssm: the K directions become K times as many groups of channels of a sequence.

    Copies the map once for each direction, because that kernel reads sequences only.
    Interface: ``mamba_ssm.ops.selective_scan_interface``, version 2.2.
    """

    name = "mamba_ssm"
    device_type = "cuda"
    dtypes = (torch.float32,)
    slow = False

    def unavailable_reason(self) -> str | None:
        """Return why mamba_ssm cannot be used: no CUDA device, not installed, or installed but broken."""
        if not torch.cuda.is_available():
            return "torch sees no CUDA device"
        if importlib.util.find_spec("mamba_ssm") is None:
            return "the package mamba_ssm is not installed (pip install mamba-ssm; optional)"
        # Its modules import the compiled extension unconditionally; a wheel for another torch fails in many ways.
        try:
            importlib.import_module("selective_scan_cuda")
        except Exception as error:
            return f"mamba_ssm is installed but broken ({type(error).__name__}: {error}): reinstall it for this torch"
        return None

    def states_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        """Return the shape of an empty tensor: ``backward`` runs the forward kernel again for its states."""
        return (0,)

    def forward(self, inputs: ScanInputs, keep_states: bool) -> tuple[Tensor, Tensor]:
        """Return y and an empty tensor."""
        kernel = importlib.import_module("selective_scan_cuda")
        y = kernel.fwd(*_as_sequence(inputs))[0]
        return self._put_back(y, inputs).sum(dim=1), inputs.u.new_empty(0)

    def backward(self, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
        """Return the gradients of all inputs."""
        kernel = importlib.import_module("selective_scan_cuda")
        u, delta, A, B, C, D, z, delta_bias, softplus = _as_sequence(inputs)
        saved = kernel.fwd(u, delta, A, B, C, D, z, delta_bias, softplus)[1]
        dy = to_sequences(grad_y.unsqueeze(1).expand_as(inputs.delta)).flatten(1, 2).contiguous()
        du, ddelta, dA, dB, dC, dD, dbias, *_ = kernel.bwd(
            u, delta, A, B, C, D, z, delta_bias, dy, saved, None, None, softplus, False
        )
        directions, groups = inputs.delta.shape[1], inputs.B.shape[2]
        height, width = inputs.u.shape[-2:]
        grad_B, grad_C = (
            from_sequences(grad.unflatten(1, (directions, groups)), height, width).to(inputs.B.dtype) for grad in (dB, dC)
        )
        return Gradients(
            u=self._put_back(du, inputs).sum(dim=1),
            delta=self._put_back(ddelta, inputs),
            A=dA.reshape(inputs.A.shape),
            B=grad_B,
            C=grad_C,
            D=None if inputs.D is None else dD.reshape(inputs.D.shape),
            delta_bias=None if inputs.delta_bias is None else dbias.reshape(inputs.delta_bias.shape),
        )

    @staticmethod
    def _put_back(sequences: Tensor, inputs: ScanInputs) -> Tensor:
        height, width = inputs.u.shape[-2:]
        return from_sequences(sequences.unflatten(1, (inputs.delta.shape[1], -1)), height, width)


def _as_sequence(
    inputs: ScanInputs,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None, None, Tensor | None, bool]:
    """Return the arguments of the forward kernel: u, delta (batch, K D, L), B, C (batch, K G, N, L), and so on."""
    u, delta = (
        to_sequences(maps).flatten(1, 2).contiguous()
        for maps in (inputs.u.unsqueeze(1).expand_as(inputs.delta), inputs.delta)
    )
    B, C = (to_sequences(maps).flatten(1, 2).contiguous() for maps in (inputs.B, inputs.C))
    D, bias = (None if value is None else value.flatten().float() for value in (inputs.D, inputs.delta_bias))
    return u, delta, inputs.A.flatten(0, 1).float().contiguous(), B, C, D, None, bias, inputs.delta_softplus
