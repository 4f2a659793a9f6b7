# SPDX-License-Identifier: Apache-2.0
"""List the scan backends in order of preference, say why a backend cannot run, and choose one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Protocol

import torch
from torch import Tensor

from fusion_mamba_ros.network.selective_scan.cpu import CpuBackend
from fusion_mamba_ros.network.selective_scan.mamba_ssm import MambaSsmBackend
from fusion_mamba_ros.network.selective_scan.problem import Gradients, ScanInputs
from fusion_mamba_ros.network.selective_scan.reference import ReferenceBackend
from fusion_mamba_ros.network.selective_scan.triton_backend import TritonBackend


class Backend(Protocol):
    """One implementation of the scan.

    The caller has checked ``inputs``: all tensors are on one device and have one dtype out of ``dtypes``.
    """

    @property
    def name(self) -> str:
        """Name of the backend for `use_backend` and `fusion-mamba info`."""

    @property
    def device_type(self) -> str | None:
        """Type of the torch device it runs on; None means any device."""

    @property
    def dtypes(self) -> tuple[torch.dtype, ...]:
        """Dtypes it can compute in."""

    @property
    def slow(self) -> bool:
        """Whether `active_backend` warns when it falls back to this backend."""

    @property
    def structured_decay(self) -> bool:
        """Whether it takes any ``decay``; if not, `run_forward` and `run_backward` give it the free form."""

    def __hash__(self) -> int:
        """Hash by identity."""

    def unavailable_reason(self) -> str | None:
        """Return one sentence that says why the backend cannot run here, or None if it can. Never raises."""

    def states_shape(self, inputs: ScanInputs) -> tuple[int, ...]:
        """Return the shape of the states that ``forward`` keeps for ``backward``; depends on shapes only."""

    def forward(self, inputs: ScanInputs, keep_states: bool) -> tuple[Tensor, Tensor]:
        """Return y (batch, D, H, W) and the states for ``backward``; without ``keep_states`` their shape is (0,)."""

    def backward(self, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
        """Return the gradients of all inputs."""


def run_forward(backend: Backend, inputs: ScanInputs, keep_states: bool) -> tuple[Tensor, Tensor]:
    """Return ``backend.forward`` for inputs with any form of decay."""
    return backend.forward(inputs if backend.structured_decay else inputs.with_free_decay(), keep_states)


def run_backward(backend: Backend, inputs: ScanInputs, grad_y: Tensor, states: Tensor) -> Gradients:
    """Return ``backend.backward`` for inputs with any form of decay."""
    if backend.structured_decay:
        return backend.backward(inputs, grad_y, states)
    return backend.backward(inputs.with_free_decay(), grad_y, states).of_decay(inputs.decay)


@lru_cache(maxsize=1)
def all_backends() -> tuple[Backend, ...]:
    """Return all backends, the preferred one first."""
    return (MambaSsmBackend(), TritonBackend(), CpuBackend(), ReferenceBackend())


@cache
def unavailable_reason(backend: Backend) -> str | None:
    """Return why the backend cannot run in this process; the answer is cached."""
    return backend.unavailable_reason()


_forced: Backend | None = None


@contextmanager
def use_backend(backend: str | Backend) -> Iterator[Backend]:
    """Run all scans inside the ``with`` block on this backend, given by name or as an object.

    Not safe for concurrent threads. Raises ``ValueError`` if no backend has that name or if it cannot run here.
    """
    global _forced
    if isinstance(backend, str):
        found = [candidate for candidate in all_backends() if candidate.name == backend]
        if not found:
            names = ", ".join(candidate.name for candidate in all_backends())
            raise ValueError(f"no selective scan backend '{backend}': choose one of {names}")
        backend = found[0]
    reason = unavailable_reason(backend)
    if reason is not None:
        raise ValueError(f"selective scan backend '{backend.name}' cannot run here: {reason}")
    before, _forced = _forced, backend
    try:
        yield backend
    finally:
        _forced = before


def active_backend(device_type: str, dtype: torch.dtype = torch.float32) -> Backend:
    """Return the backend for tensors of this device type and dtype; warn once if only a slow backend can run."""
    if _forced is not None and dtype in _forced.dtypes:
        return _forced
    return _choose(device_type, dtype)


@cache
def _choose(device_type: str, dtype: torch.dtype) -> Backend:
    reasons: list[str] = []
    for backend in all_backends():
        if backend.device_type not in (None, device_type) or dtype not in backend.dtypes:
            continue
        reason = unavailable_reason(backend)
        if reason is None:
            if backend.slow and reasons:
                warnings.warn(
                    f"selective scan on {device_type}: slow '{backend.name}' backend in use ({'; '.join(reasons)})",
                    RuntimeWarning,
                    stacklevel=2,
                )
            return backend
        reasons.append(f"{backend.name}: {reason}")
    raise TypeError(f"no selective scan backend for {dtype} on {device_type}: convert to torch.float32")
