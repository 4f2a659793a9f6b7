# SPDX-License-Identifier: Apache-2.0
"""Read the own and the cross terms of the gated hidden states from the dual state space fusion of a detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from fusion_mamba_ros.network import FusionMambaBlock, FusionMambaDetector
from fusion_mamba_ros.network.config import LEVELS
from fusion_mamba_ros.network.dual_fusion import DualStateSpaceFusion


def why_no_gates(model: FusionMambaDetector) -> str | None:
    """Return one sentence why the model has no own and cross terms, None if it has them."""
    modules = _modules(model)
    if not modules:
        return (
            f"the model fuses by {model.config.fusion}, which has no gated hidden states: occlusion alone is measured"
        )
    first = modules[0][1]
    if not first.dual_attention or first.streams[0].gate_proj is None:
        return "the model has no gates or no dual attention: occlusion alone is measured"
    if first.sequential:
        return "the model gates its streams one after the other, which mixes the terms: occlusion alone is measured"
    return None


class GateTerms:
    """The terms of the last pass through ``model``: how strongly each stream reads the hidden state of each stream.

    Stream m adds W_m (y_o z_m) to its features, for its own hidden state (o = m) and for that of each other stream. The
    term is the Euclidean norm of this vector at each position of a map. The channel swap before the fusion has mixed
    the streams, so stream o carries half of the channels of the other modality. Raises ``ValueError`` if
    ``why_no_gates`` has a sentence.
    """

    def __init__(self, model: FusionMambaDetector) -> None:
        reason = why_no_gates(model)
        if reason is not None:
            raise ValueError(reason)
        self._seen: dict[tuple[int, str, int], Tensor] = {}
        self._modules = _modules(model)
        self._handles = []
        for number, (_, module) in enumerate(self._modules):
            for index, stream in enumerate(module.streams):
                self._handles.append(stream.inner_norm.register_forward_hook(self._keep(number, "state", index)))
                assert stream.gate_proj is not None
                self._handles.append(stream.gate_proj.register_forward_hook(self._keep(number, "gate", index)))
                self._handles.append(module.register_forward_hook(self._keep(number, "size", 0)))

    def close(self) -> None:
        """Remove the hooks from the model."""
        for handle in self._handles:
            handle.remove()

    def _keep(self, number: int, what: str, index: int) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            self._seen[number, what, index] = output[0] if what == "size" else output.detach()

        return hook

    @torch.no_grad()
    def terms(self) -> dict[int, npt.NDArray[np.float64]]:
        """Return by level the terms (reader, source, H, W) of the first image, summed over the modules of the level."""
        found: dict[int, npt.NDArray[np.float64]] = {}
        for number, (level, module) in enumerate(self._modules):
            count = len(module.streams)
            if (number, "state", 0) not in self._seen:  # a loop that is not chained computes the last module alone
                continue
            height, width = self._seen[number, "size", 0].shape[2:]
            part = np.empty((count, count, height, width))
            for reader, stream in enumerate(module.streams):
                gate = functional.silu(self._seen[number, "gate", reader][0].float())
                for source in range(count):
                    state = self._seen[number, "state", source][0].float()
                    added = functional.linear(gate * state, stream.out_proj.weight.float())
                    part[reader, source] = added.norm(dim=-1).view(height, width).cpu().numpy()
            found[level] = found[level] + part if level in found else part
        return found


def _modules(model: FusionMambaDetector) -> list[tuple[int, DualStateSpaceFusion]]:
    """Return the fusion modules of all levels with their level."""
    found = []
    for level, fusion in zip(LEVELS, model.fusions, strict=True):
        block = getattr(fusion, "enhance", None)
        if isinstance(block, FusionMambaBlock):
            found += [(level, module) for module in block.dssf if isinstance(module, DualStateSpaceFusion)]
    return found


def gate_shares(
    terms: dict[int, npt.NDArray[np.float64]], box: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float64]:
    """Return the share of the hidden state of each stream (M,) in what all streams read, the mean over the levels.

    ``box``: x1 y1 x2 y2 on the canvas; only positions in it count, at least the one at its centre. None: all positions.
    """
    of_levels = []
    for level, part in terms.items():
        rows, columns = (slice(None), slice(None)) if box is None else _window(box, 2**level, part.shape[2:])
        sums = part[:, :, rows, columns].sum(axis=(0, 2, 3))
        of_levels.append(sums / sums.sum())
    return np.asarray(np.mean(of_levels, axis=0))


def own_share(terms: dict[int, npt.NDArray[np.float64]]) -> float:
    """Return the share of the own terms in all terms, the mean over the levels and positions."""
    return float(np.mean([np.trace(part.sum(axis=(2, 3))) / part.sum() for part in terms.values()]))


def _window(box: npt.NDArray[np.float32], stride: int, size: tuple[int, ...]) -> tuple[slice, slice]:
    """Return rows and columns of the positions whose centres lie in the box, at least one each."""
    slices = []
    for low, high, count in ((box[1], box[3], size[0]), (box[0], box[2], size[1])):
        first = int(np.clip(np.ceil(low / stride - 0.5), 0, count - 1))
        last = int(np.clip(np.ceil(high / stride - 0.5), 0, count))
        if last <= first:
            first = int(np.clip((low + high) / 2 / stride, 0, count - 1))
            last = first + 1
        slices.append(slice(first, last))
    return slices[0], slices[1]
