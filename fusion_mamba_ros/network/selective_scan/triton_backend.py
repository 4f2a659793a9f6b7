# SPDX-License-Identifier: Apache-2.0
"""Triton backend: kernels of this package for CUDA devices. Triton is imported and the kernels compile at first use."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily

from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs
from fusion_mamba_ros.network.selective_scan.reference import ReferenceBackend

_OLDEST_CAPABILITY = (7, 0)
# This many programs occupy a large device several times over.
_ENOUGH_PROGRAMS = 1024


@dataclass(frozen=True)
class Tiling:
    """Describe how a scan is split into programs; depends on shapes only, so results do not depend on the device."""

    chunk_steps: int
    states: int
    forward_channels: int
    warps: int = 4

    def options(self) -> dict[str, Any]:
        """Return the compiler options of triton for the kernels."""
        return {"num_warps": self.warps, "enable_fp_fusion": True}

    @classmethod
    def of(cls, inputs: ScanInputs, chunk_steps: int | None = None) -> Tiling:
        """Return the tiling of a problem; ``chunk_steps`` (a power of two) overrides the chunk length."""
        walks = inputs.delta.shape[0] * inputs.delta.shape[1]
        channels, group_count, state_size = inputs.u.shape[1], inputs.B.shape[2], inputs.B.shape[3]
        length = inputs.u.shape[-2] * inputs.u.shape[-1]
        states = _next_power_of_two(state_size)
        if chunk_steps is None:
            chunk_steps = max(16, min(64, 1024 // states, _next_power_of_two(length)))
        # The channels of one program share the loaded B and C.
        share = chunk_steps * states <= 1024 and walks * channels >= 2 * _ENOUGH_PROGRAMS
        return cls(chunk_steps, states, 2 if share and channels // group_count > 1 else 1)


class TritonBackend:
    """Run forward and backward passes in Triton for float32 tensors on CUDA; tests use Triton's CPU interpreter.

    Forward: one program processes one direction of one or two channels, chunk by chunk. It scans the steps of a chunk
    in parallel. Backward: `carry_kernel` computes the gradient of the state at the end of each chunk. Then all chunks
    run in parallel, each from its saved state. Sums over channels, chunks and batch are computed in two stages through
    a workspace, without atomics. Therefore repeated runs give identical bits.
    """

    name = "triton"
    device_type = "cuda"
    dtypes = (torch.float32,)
    slow = False
    structured_decay = False

    def __init__(self, chunk_steps: int | None = None) -> None:
        self._chunk_steps = chunk_steps

    def unavailable_reason(self) -> str | None:
        """Return why the backend cannot run, or None if it can.

        Reasons: triton is missing or broken, there is no suitable device, or the kernels fail or give wrong numbers.
        """
        try:
            if importlib.util.find_spec("triton") is None:
                return "the package triton is not installed (optional: pip install triton)"
            interpreted = _interpreted()
        except Exception as error:
            return f"triton is installed but broken ({type(error).__name__}: {error}): reinstall it for this torch"
        if interpreted:
            return None
        if not torch.cuda.is_available():
            return "torch sees no CUDA device"
        capability = torch.cuda.get_device_capability()
        if capability < _OLDEST_CAPABILITY:
            return f"the device has compute capability {capability[0]}.{capability[1]}, triton needs 7.0 or later"
        return self._disagreement(torch.device("cuda"))

    def _disagreement(self, device: torch.device) -> str | None:
        """Return what is wrong with a small scan on this device, or None if it matches the reference.

        Triton compiles on the user's machine with the user's versions. Some versions have miscompiled reverse scans
        (triton-lang/triton, issue 4362). Some machines lack the C compiler that the launcher of triton needs.
        """
        with unset_fake_temporarily(), torch.no_grad():
            inputs, grad_y = _small_problem()
            reference = ReferenceBackend()
            expected = (reference.forward(inputs, False)[0], *reference.backward(inputs, grad_y, grad_y))
            on_device: dict[str, Any] = {
                name: None if tensor is None else tensor.to(device, torch.float32)
                for name, tensor in inputs.tensors().items()
            }
            moved = inputs._replace(**on_device)
            try:
                y, states = self.forward(moved, keep_states=True)
                found = (y, *self.backward(moved, grad_y.to(device, torch.float32), states))
                for name, right, got in zip(("y", *Gradients._fields), expected, found, strict=True):
                    assert right is not None and got is not None
                    error = float((got.double().cpu() - right).abs().max() / right.abs().max())
                    if not error < 1e-4:
                        return f"its kernels give wrong numbers here ({name} off by {error:.1e}): try another triton"
            except Exception as error:
                line = next(iter(str(error).splitlines()), "")
                return f"its kernels do not compile or launch here ({type(error).__name__}: {line})"
        return None

    def states_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        """Return the shape of the kept states: the state at the first step of each chunk."""
        batch, directions, channels = inputs.delta.shape[:3]
        chunks = _ceil_div(inputs.u.shape[-2] * inputs.u.shape[-1], self._tiling(inputs).chunk_steps)
        return batch, directions, chunks, channels, inputs.B.shape[3]

    def forward(self, inputs: ScanInputs, keep_states: bool) -> tuple[Tensor, Tensor]:
        """Return y and the states for ``backward`` (an empty tensor unless ``keep_states``)."""
        inputs, tiling = inputs.contiguous(), self._tiling(inputs)
        y = torch.empty_like(inputs.delta)
        states = inputs.u.new_empty(self.states_shape(inputs) if keep_states else (0,))
        with _on_device_of(inputs.u):
            _kernels().forward_kernel[_forward_programs(inputs, tiling)](
                *(tensor if tensor is not None else inputs.u for tensor in inputs.tensors().values()),
                y,
                states,
                *_counts(inputs),
                HAS_D=inputs.D is not None,
                HAS_BIAS=inputs.delta_bias is not None,
                SOFTPLUS=inputs.delta_softplus,
                KEEP_STATES=keep_states,
                CHANNELS=tiling.forward_channels,
                STATES=tiling.states,
                STEPS=tiling.chunk_steps,
                **tiling.options(),
            )
        return _sum_directions(y), states

    def backward(self, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
        """Return the gradients of all inputs."""
        inputs, tiling = inputs.contiguous(), self._tiling(inputs)
        grad_y, states = grad_y.contiguous(), states.contiguous()
        batch, directions, channels = inputs.delta.shape[:3]
        groups = inputs.B.shape[2]
        parts, part_channels = self._parts(inputs, tiling)
        carries, grad_A = torch.empty_like(states), torch.empty_like(states)
        grad_u, grad_delta = torch.empty_like(inputs.delta), torch.empty_like(inputs.delta)
        grad_B, grad_C = inputs.B.new_empty(parts, *inputs.B.shape), inputs.C.new_empty(parts, *inputs.C.shape)
        bias = inputs.u if inputs.delta_bias is None else inputs.delta_bias
        switches: dict[str, Any] = {
            "HAS_BIAS": inputs.delta_bias is not None,
            "SOFTPLUS": inputs.delta_softplus,
            "STATES": tiling.states,
            "STEPS": tiling.chunk_steps,
            **tiling.options(),
        }
        with _on_device_of(inputs.u):
            _kernels().carry_kernel[_forward_programs(inputs, tiling)](
                *(inputs.delta, inputs.A, inputs.C, bias, grad_y, carries),
                *_counts(inputs),
                CHANNELS=tiling.forward_channels,
                **switches,
            )
            _kernels().backward_kernel[(parts * batch * directions * groups * states.shape[2],)](
                *(tensor if tensor is not None else inputs.u for tensor in inputs.tensors().values()),
                *(states, carries, grad_y, grad_u, grad_delta, grad_A, grad_B, grad_C),
                batch * directions,
                *_counts(inputs),
                part_channels,
                HAS_D=inputs.D is not None,
                **switches,
            )
        # All directions share u and dy, therefore they share the gradient of D.
        grad_D = (grad_y * inputs.u).sum((0, 2, 3)).expand(directions, channels)
        return Gradients(
            u=_sum_directions(grad_u),
            delta=grad_delta,
            A=grad_A.sum((0, 2)),
            B=grad_B.sum(0) if parts > 1 else grad_B[0],
            C=grad_C.sum(0) if parts > 1 else grad_C[0],
            D=None if inputs.D is None else grad_D.contiguous(),
            delta_bias=None if inputs.delta_bias is None else grad_delta.sum((0, 3, 4)),
        )

    def _tiling(self, inputs: ScanInputs) -> Tiling:
        return Tiling.of(inputs, self._chunk_steps)

    @staticmethod
    def _parts(inputs: ScanInputs, tiling: Tiling) -> tuple[int, int]:
        """Return the number of parts into which the backward pass splits the channels of a group, and a part's size.

        Each part sums its own gradients of B and C. More parts use the device better on small maps but take more
        memory. If there is more than one part, all parts together take no more memory than ``delta``.
        """
        batch, directions, channels = inputs.delta.shape[:3]
        groups, state_size = inputs.B.shape[2:4]
        chunks = _ceil_div(inputs.u.shape[-2] * inputs.u.shape[-1], tiling.chunk_steps)
        wanted = _ceil_div(_ENOUGH_PROGRAMS, batch * directions * groups * chunks)
        affordable = channels // (2 * groups * state_size)
        part_channels = _ceil_div(channels // groups, max(1, min(wanted, affordable)))
        return _ceil_div(channels // groups, part_channels), part_channels


def _kernels() -> Any:
    return importlib.import_module("fusion_mamba_ros.network.selective_scan.triton_kernels")


def _interpreted() -> bool:
    """Return whether the kernels run in triton's interpreter, as TRITON_INTERPRET said when triton was imported."""
    return type(_kernels().forward_kernel).__name__ == "InterpretedFunction"


def _forward_programs(inputs: ScanInputs, tiling: Tiling) -> tuple[int]:
    batch, directions, channels = inputs.delta.shape[:3]
    groups = inputs.B.shape[2]
    return (batch * directions * groups * _ceil_div(channels // groups, tiling.forward_channels),)


def _counts(inputs: ScanInputs) -> tuple[int, ...]:
    """Return directions, channels, groups, state_size, height and width."""
    directions, channels, height, width = inputs.delta.shape[1:]
    return directions, channels, inputs.B.shape[2], inputs.B.shape[3], height, width


def _sum_directions(maps: Tensor) -> Tensor:
    return maps.sum(1) if maps.shape[1] > 1 else maps.squeeze(1)


def _on_device_of(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _small_problem() -> tuple[ScanInputs, Tensor]:
    """Return a float64 scan whose map fills one and a half chunks, and a gradient of y."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, states, height, width = 2, 3, 16, 9, 11

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    inputs = ScanInputs(
        u=normal(batch, channels, height, width),
        delta=normal(batch, 4, channels, height, width) - 1,
        A=-normal(4, channels, states).exp(),
        B=normal(batch, 4, 1, states, height, width),
        C=normal(batch, 4, 1, states, height, width),
        D=normal(4, channels),
        delta_bias=normal(4, channels),
        delta_softplus=True,
    )
    return inputs, normal(batch, channels, height, width)


def _ceil_div(number: int, divisor: int) -> int:
    return -(-number // divisor)


def _next_power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()
