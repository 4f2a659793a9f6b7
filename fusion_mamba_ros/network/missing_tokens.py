# SPDX-License-Identifier: Apache-2.0
"""Learned features in place of those of a missing image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class MissingTokens(nn.Module):
    """One learned vector for each modality and level; it replaces the features of a missing image at every position.

    An image counts as missing if all of its values are equal. Such an image contains no information, so a dark or
    saturated camera image counts as missing too. The vectors start as zeros.
    """

    def __init__(self, modalities: Mapping[str, int], level_channels: Sequence[int]) -> None:
        super().__init__()
        self.names = tuple(modalities)
        self.tokens = nn.ModuleDict(
            {name: nn.ParameterList(torch.zeros(channels) for channels in level_channels) for name in modalities}
        )

    def find(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return for each modality which images of the batch are missing, (B, 1, 1, 1) bool."""
        axes = (1, 2, 3)
        return [image.amax(axes, keepdim=True) == image.amin(axes, keepdim=True) for image in images]

    def replace(self, index: int, features: Sequence[Tensor], missing: Sequence[Tensor]) -> list[Tensor]:
        """Return the features at level ``index`` with those of the missing images replaced."""
        return [
            torch.where(rows, self.token(name, index, x), x)
            for name, x, rows in zip(self.names, features, missing, strict=True)
        ]

    def token(self, name: str, index: int, like: Tensor) -> Tensor:
        """Return the vector of a modality as a map (1, C, 1, 1) of the dtype of ``like``."""
        vectors = self.tokens[name]
        assert isinstance(vectors, nn.ParameterList)
        vector: Tensor = vectors[index]
        return vector.to(like.dtype)[None, :, None, None]
