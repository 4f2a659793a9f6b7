# SPDX-License-Identifier: Apache-2.0
"""Inference without the work of streams that have no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fusion_mamba_ros.network.detector import FusionMambaDetector


class AbsentStreams:
    """Run a detector for inference and reuse the features of missing images.

    A missing image has one constant value, so its features depend only on the weights and on the canvas. They are
    computed once. This holds for the first section of a backbone. It holds for the other sections as long as the fusion
    operator returns the map of the stream unchanged (`add`, `concat`, `icafusion`), and always if the model has learned
    features for missing images.

    The features are computed again after a change of the weights (loading, an optimizer step, another dtype or device),
    the canvas, the autocast type or the missing value. Only a write through ``tensor.data`` is not noticed.

    Several threads may call it at once. They may then compute the same features twice, with equal values.
    """

    def __init__(self, model: FusionMambaDetector) -> None:
        self.model = model
        self._key: Any = None
        # Replaced, never changed in place, because another thread may read it.
        self._features: dict[tuple[str, int], Tensor] = {}

    def __call__(self, images: Mapping[str, Tensor], absent: Mapping[str, Sequence[bool]]) -> list[Tensor]:
        """Return the raw maps of ``images``. See `FusionMambaDetector.forward`.

        ``absent`` says for each image of a batch whether it is missing, by modality; a modality without a missing image
        has no entry. All missing images of a modality have the same constant value.
        In training mode, with gradients or with another class of network, nothing is reused.
        """
        model = self.model
        if not absent or model.training or torch.is_grad_enabled() or not isinstance(model, FusionMambaDetector):
            plain: list[Tensor] = model(images)
            return plain
        maps = model.ordered_inputs(images)
        names = tuple(model.config.modalities)
        self._forget_unless(self._key_of(dict(zip(names, maps, strict=True)), absent))
        tokens = model.missing_tokens
        missing = [] if tokens is None else tokens.find(maps)
        reusable = dict(absent)
        fused = []
        for index, fusion in enumerate(model.fusions):
            features = [
                self._section(name, index, x, reusable[name])
                if name in reusable
                else model.backbones[name].sections[index](x)
                for name, x in zip(names, maps, strict=True)
            ]
            if tokens is not None:
                features = tokens.replace(index, features, missing)
            maps, level = fusion(*features)
            fused.append(level)
            if tokens is not None:
                continue
            # A map that the operator has changed depends on the other streams.
            for name, before, after in zip(names, features, maps, strict=True):
                if after is not before:
                    reusable.pop(name, None)
        levels: list[Tensor] = model.head(model.neck(fused))
        return levels

    def _section(self, name: str, index: int, x: Tensor, absent: Sequence[bool]) -> Tensor:
        """Return the output of a backbone section for the maps ``x`` of which those marked in ``absent`` are known."""
        section = self.model.backbones[name].sections[index]
        known = self._features.get((name, index))
        if known is None:
            row = list(absent).index(True)
            # With learned features, only the shape of this map matters from the second prediction on.
            known = section(x[row : row + 1])
            self._features = {**self._features, (name, index): known}
        if len(absent) == 1:
            return known
        # Clone, because operators may need maps of their own memory.
        out = known.expand(len(absent), *known.shape[1:]).clone(memory_format=_memory_format(known))
        present = [row for row, is_absent in enumerate(absent) if not is_absent]
        if present:
            out[present] = section(x[present])
        return out

    def _key_of(self, images: Mapping[str, Tensor], absent: Mapping[str, Sequence[bool]]) -> dict[str, Any]:
        key = {}
        for name, rows in absent.items():
            image = images[name]
            kind = image.device.type
            autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
            value = float(image[list(rows).index(True), 0, 0, 0])
            key[name] = (image.shape[2:], image.dtype, value, autocast, _state_of(self.model.backbones[name]))
        return key

    def _forget_unless(self, key: dict[str, Any]) -> None:
        """Delete the features of the modalities in ``key`` that were computed under another key."""
        stored = self._key or {}
        for name, value in key.items():
            if stored.get(name) != value:
                self._features = {entry: x for entry, x in self._features.items() if entry[0] != name}
        self._key = {**stored, **key}


def _state_of(module: nn.Module) -> tuple[Any, ...]:
    """Return a value that changes when a tensor of ``module`` is replaced or changed in place."""
    tensors = (*module.parameters(), *module.buffers())
    return tuple((x.data_ptr(), 0 if x.is_inference() else x._version, x.dtype, x.device) for x in tensors)


def _memory_format(x: Tensor) -> torch.memory_format:
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format
