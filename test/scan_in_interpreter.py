# SPDX-License-Identifier: Apache-2.0
"""Run the Triton scan in triton's interpreter on small cases; print one JSON document of what came out.

A process of its own, because triton decides at import whether it interprets. Errors are relative to the largest value
of the same tensor from the reference in float64.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from scan_problems import relative_error
from torch import Tensor

from fusion_mamba_ros.network.selective_scan import selective_scan, selective_scan_2d, use_backend
from fusion_mamba_ros.network.selective_scan.triton_backend import Tiling, TritonBackend

NAMES = ("u", "delta", "A", "B", "C", "D", "delta_bias")
MAPS = {
    # batch, channels, states, height, width
    "odd sizes": (1, 2, 3, 3, 5),
    "many chunks": (1, 1, 2, 5, 4),
    "a batch": (2, 1, 2, 2, 3),
    "one pixel": (1, 1, 2, 1, 1),
    "one state, one column": (1, 2, 1, 5, 1),
}


def errors(expected: list[Tensor | None], found: list[Tensor | None]) -> dict[str, float]:
    """Return the error of y and of each gradient."""
    compared = zip(("y", *NAMES), expected, found, strict=True)
    return {name: relative_error(got, right) for name, right, got in compared if right is not None and got is not None}


def run(function: object, backend: object, tensors: list[Tensor | None], softplus: bool) -> list[Tensor | None]:
    """Return y and the gradients of the sum of y weighted by 1, 2, 3, ..."""
    leaves = [None if t is None else t.clone().requires_grad_() for t in tensors]
    with use_backend(backend):  # type: ignore[arg-type]
        y = function(*leaves[:6], delta_bias=leaves[6], delta_softplus=softplus)  # type: ignore[operator]
        y.backward(torch.arange(1, y.numel() + 1, dtype=y.dtype).reshape(y.shape) / y.numel())
    return [y.detach(), *(None if leaf is None else leaf.grad for leaf in leaves)]


def compare(function: object, tensors: list[Tensor | None], softplus: bool = True) -> dict[str, float]:
    """Return the errors of the Triton backend, with chunks of 8 steps."""
    expected = run(function, "reference", tensors, softplus)
    single = [None if t is None else t.float() for t in tensors]
    return errors(expected, run(function, TritonBackend(chunk_steps=8), single, softplus))


def map_tensors(batch: int, channels: int, states: int, height: int, width: int) -> list[Tensor | None]:
    """Return u, delta, A, B, C, D, delta_bias in float64."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64)

    return [
        normal(batch, channels, height, width),
        normal(batch, 4, channels, height, width),
        -normal(4, channels, states).exp(),
        normal(batch, 4, states, height, width),
        normal(batch, 4, states, height, width),
        normal(4, channels),
        normal(4, channels),
    ]


def sequence_tensors(batch: int, channels: int, groups: int, states: int, length: int) -> list[Tensor | None]:
    """Return the same for sequences with grouped B and C, without D and delta_bias; delta is positive."""
    return [
        torch.randn(batch, channels, length, dtype=torch.float64),
        torch.rand(batch, channels, length, dtype=torch.float64),
        -torch.randn(channels, states, dtype=torch.float64).exp(),
        torch.randn(batch, groups, states, length, dtype=torch.float64),
        torch.randn(batch, groups, states, length, dtype=torch.float64),
        None,
        None,
    ]


def main() -> None:
    seed = int(sys.argv[1])
    torch.manual_seed(seed)
    found: dict[str, object] = {name: compare(selective_scan_2d, map_tensors(*sizes)) for name, sizes in MAPS.items()}
    sequences = sequence_tensors(batch=2, channels=6, groups=2, states=3, length=13)
    found["sequences in groups"] = compare(selective_scan, sequences, softplus=False)

    whole = Tiling.of
    Tiling.of = lambda *given: Tiling(8, whole(*given).states, forward_channels=2)  # type: ignore[method-assign]
    found["two channels at a time"] = compare(selective_scan_2d, map_tensors(1, 3, 2, 2, 5))
    Tiling.of = whole  # type: ignore[method-assign]

    extreme = map_tensors(1, 1, 2, 3, 3)
    assert extreme[1] is not None and extreme[2] is not None
    extreme[1], extreme[2] = extreme[1] * 25, extreme[2] * 1e4
    single = [None if t is None else t.float() for t in extreme]
    ways = [run(selective_scan_2d, TritonBackend(8), single, True) for _ in range(2)]
    found["extreme is finite"] = all(bool(t.isfinite().all()) for t in ways[0] if t is not None)
    found["bits repeat"] = all(torch.equal(a, b) for a, b in zip(*ways, strict=True) if a is not None)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
