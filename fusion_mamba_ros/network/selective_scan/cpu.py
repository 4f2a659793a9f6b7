# SPDX-License-Identifier: Apache-2.0
"""CPU backend: calls the C kernel of `kernel/` through ctypes, so that the library works with every torch version."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from fusion_mamba_ros.network.selective_scan import build
from fusion_mamba_ros.network.selective_scan.problem import DECAYS, Gradients, ScanInputs
from fusion_mamba_ros.network.selective_scan.threads import parallel_function

LIBRARY = Path(__file__).with_name(build.LIBRARY_NAME)

# Same values as in kernel/scan.h. A library with other values is rejected.
CHUNK_STEPS = 192
PANEL_COLUMNS = 16
BUILD_COMMAND = "python -m fusion_mamba_ros.network.selective_scan.build"

_COUNTS = (
    *("batch", "directions", "channels", "groups", "state_size", "height", "width", "chunks", "parts", "softplus"),
    "decay",
)
_ARRAYS = (
    *("u", "delta", "A", "B", "C", "D", "delta_bias", "y", "states", "grad_y", "grad_u", "grad_delta", "grad_A"),
    *("grad_B", "grad_C", "more_grad_B", "more_grad_C", "grad_D", "grad_bias"),
)


class _Problem(ctypes.Structure):
    """Mirror `scan_problem` of kernel/scan.h."""

    _fields_ = [*((name, ctypes.c_int64) for name in _COUNTS), *((name, ctypes.c_void_p) for name in _ARRAYS)]


@lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(str(LIBRARY))
    interface = (ctypes.c_int64 * 3).in_dll(library, "fusion_mamba_scan_interface")
    if tuple(interface) != (CHUNK_STEPS, PANEL_COLUMNS, ctypes.sizeof(_Problem)):
        raise OSError("it was compiled from other sources: build it again")
    library.fusion_mamba_scan_instruction_set.restype = ctypes.c_char_p
    library.fusion_mamba_scan_instruction_set.argtypes = [ctypes.c_char_p]
    for function in (library.fusion_mamba_scan_forward, library.fusion_mamba_scan_backward):
        function.argtypes = [ctypes.POINTER(_Problem), ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
    return library


def instruction_set(name: str | None = None) -> str | None:
    """Return the instruction set that the kernel uses here.

    With ``name``: return ``name`` if this CPU has that instruction set, otherwise None.
    """
    found = _library().fusion_mamba_scan_instruction_set(None if name is None else name.encode())
    return None if found is None else found.decode()


class CpuBackend:
    """Run forward and backward passes in C for float32 tensors on the CPU."""

    name = "cpu"
    device_type = "cpu"
    dtypes = (torch.float32,)
    slow = False
    structured_decay = True

    def __init__(self, forced_instruction_set: str | None = None) -> None:
        self._forced = None if forced_instruction_set is None else forced_instruction_set.encode()

    def unavailable_reason(self) -> str | None:
        """Return why the kernel cannot run here, or None if it can."""
        if not LIBRARY.exists():
            return f"{LIBRARY.name} was not compiled: run `{BUILD_COMMAND}` (needs gcc or clang)"
        try:
            _library()
        except (OSError, AttributeError, ValueError) as error:
            return f"{LIBRARY.name} does not load: {error}; run `{BUILD_COMMAND}`"
        return None

    def states_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        """Return the shape of the kept states: the state at the first step of each chunk."""
        height, width = inputs.u.shape[-2:]
        if inputs.delta.shape[1] == 1:
            chunks = (height * width + CHUNK_STEPS - 1) // CHUNK_STEPS
        else:
            panels = (width + PANEL_COLUMNS - 1) // PANEL_COLUMNS
            chunks = panels * ((height * PANEL_COLUMNS + CHUNK_STEPS - 1) // CHUNK_STEPS)
        batch, directions, channels = inputs.delta.shape[:3]
        return batch, directions, chunks, inputs.B.shape[3], channels

    def forward(self, inputs: ScanInputs, keep_states: bool) -> tuple[Tensor, Tensor]:
        """Return y and the states for ``backward`` (an empty tensor unless ``keep_states``)."""
        inputs = inputs.contiguous()
        y = torch.empty_like(inputs.u)
        states = inputs.u.new_empty(self.states_shape(inputs) if keep_states else (0,))
        self._run("forward", inputs, y=y, states=states if keep_states else None)
        return y, states

    def backward(self, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
        """Return the gradients of all inputs."""
        inputs = inputs.contiguous()
        batch, directions, channels = inputs.delta.shape[:3]
        parts = self._parts(inputs)
        new = inputs.u.new_empty
        results = {
            "grad_u": torch.empty_like(inputs.u),
            "grad_delta": torch.empty_like(inputs.delta),
            "grad_A": new(batch, *inputs.A.shape),
            "grad_B": torch.empty_like(inputs.B),
            "grad_C": torch.empty_like(inputs.C),
            "more_grad_B": new(parts - 1, *inputs.B.shape),
            "more_grad_C": new(parts - 1, *inputs.C.shape),
            "grad_D": new(batch, directions, channels),
            "grad_bias": new(batch, directions, channels),
        }
        self._run("backward", inputs, parts=parts, states=states.contiguous(), grad_y=grad_y.contiguous(), **results)
        for part in range(parts - 1):
            results["grad_B"] += results["more_grad_B"][part]
            results["grad_C"] += results["more_grad_C"][part]
        return Gradients(
            u=results["grad_u"],
            delta=results["grad_delta"],
            A=_sum_batch(results["grad_A"]),
            B=results["grad_B"],
            C=results["grad_C"],
            D=None if inputs.D is None else _sum_batch(results["grad_D"]),
            delta_bias=None if inputs.delta_bias is None else _sum_batch(results["grad_bias"]),
        )

    @staticmethod
    def _parts(inputs: ScanInputs) -> int:
        """Return the number of parts into which the backward pass splits the channels; depends on shapes only.

        Each part sums its own gradients of B and C. The sums of the parts are added in a fixed order, so the result
        does not depend on the number of threads. More parts use more threads and more memory. The extra parts never
        take more memory than ``u``.
        """
        batch, directions, channels = inputs.delta.shape[:3]
        groups, state_size = inputs.B.shape[2:4]
        affordable = 1 + channels // (2 * directions * groups * state_size)
        blocks = (channels // groups + 15) // 16
        wanted = -(-32 // (batch * groups))
        return max(1, min(affordable, blocks, wanted))

    def _run(self, direction: str, inputs: ScanInputs, parts: int = 1, **arrays: Tensor | None) -> None:
        batch, directions, channels = inputs.delta.shape[:3]
        groups, state_size = inputs.B.shape[2:4]
        height, width = inputs.u.shape[-2:]
        problem = _Problem(batch, directions, channels, groups, state_size, height, width)
        problem.parts = parts
        problem.softplus = int(inputs.delta_softplus)
        problem.decay = DECAYS.index(inputs.decay)
        problem.chunks = self.states_shape(inputs)[2]
        for name, tensor in {**inputs.tensors(), **arrays}.items():
            if tensor is not None:
                setattr(problem, name, tensor.data_ptr())
        function = getattr(_library(), f"fusion_mamba_scan_{direction}")
        code = function(ctypes.byref(problem), self._forced, torch.get_num_threads(), parallel_function())
        if code == 1:
            raise MemoryError(f"selective scan {direction}: not enough memory for the scratch buffer of one thread")
        if code != 0:
            raise RuntimeError(f"selective scan {direction}: the kernel rejected its arguments (code {code})")


def _sum_batch(parts: Tensor) -> Tensor:
    """Return the sum over the first dimension, added in a fixed order for any number of threads."""
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    return total
