# SPDX-License-Identifier: Apache-2.0
"""The interface of a backbone."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from fusion_mamba_ros.network.convolution import C3, C2f


class Backbone(nn.Module):
    """The feature extractor of one stream, in three ``sections`` that end at strides 8, 16 and 32.

    The detector calls the sections one by one, so that the output of a fusion block at one level is the input of the
    next section. Input: (B, C, H, W) in [0, 1]; a backbone that needs another range converts the input itself.
    """

    sections: nn.ModuleList

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features at strides 8, 16 and 32, without fusion."""
        features = []
        for section in self.sections:
            image = section(image)
            features.append(image)
        return features


class BackboneKind(abc.ABC):
    """An entry of the backbone registry: builds a backbone and describes the neck that belongs to it."""

    scales: tuple[str, ...]
    """Allowed values of `ModelConfig.scale`."""
    stage: type[C2f | C3]
    """Class of the stages in the neck."""

    @abc.abstractmethod
    def build(self, scale: str, in_channels: int) -> Backbone:
        """Return the backbone for images of ``in_channels`` channels."""

    @abc.abstractmethod
    def level_channels(self, scale: str) -> tuple[int, int, int]:
        """Return the channels of the features at strides 8, 16 and 32."""

    @abc.abstractmethod
    def neck_depth(self, scale: str) -> int:
        """Return the number of bottlenecks in a stage of the neck."""

    @abc.abstractmethod
    def neck_layout(self, scale: str) -> str:
        """Return the layout of the neck for the setting `auto`."""
