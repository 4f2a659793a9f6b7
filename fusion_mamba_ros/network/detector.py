# SPDX-License-Identifier: Apache-2.0
"""The complete detection network."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from fusion_mamba_ros.network.backbones import Backbone
from fusion_mamba_ros.network.config import LEVELS, STRIDES, ModelConfig
from fusion_mamba_ros.network.fusion import AddFusion
from fusion_mamba_ros.network.head import DetectionHead
from fusion_mamba_ros.network.missing_tokens import MissingTokens
from fusion_mamba_ros.network.neck import PathAggregation


class FusionMambaDetector(nn.Module):
    """Detector with one backbone per modality, fusion at P3, P4 and P5, one neck and one head.

    A model with a single modality and a YOLO backbone is a plain YOLOv8, or a YOLOv5 with the head of YOLOv8.
    Source: arXiv 2404.09146, section 3.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.backbones: dict[str, Backbone] = nn.ModuleDict(  # type: ignore[assignment]
            {name: config.backbone_kind.build(config.scale, channels) for name, channels in config.modalities.items()}
        )
        self.fusions = nn.ModuleList(_level_fusion(config, level) for level in LEVELS)
        learned = config.missing == "learned" and len(config.modalities) > 1
        self.missing_tokens = MissingTokens(config.modalities, config.level_channels) if learned else None
        self.neck = PathAggregation(config)
        self.head = DetectionHead(config)

    def forward(self, images: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the raw maps (B, 4 * reg_max + classes, H / stride, W / stride) for strides 8, 16 and 32.

        In the channels of a map, the box distribution logits come first, then the class logits.
        ``images``: modality name to (B, C_m, H, W), float in [0, 1], H and W divisible by 32. A missing modality is
        replaced by zeros. With ``missing: learned``, `MissingTokens` replaces its features.
        Raises ``ValueError`` if ``images`` is empty, a name is unknown or a shape does not fit.
        """
        maps = self.ordered_inputs(images)
        missing = [] if self.missing_tokens is None else self.missing_tokens.find(maps)
        fused = []
        for index, fusion in enumerate(self.fusions):
            features = [backbone.sections[index](x) for backbone, x in zip(self.backbones.values(), maps, strict=True)]
            if self.missing_tokens is not None:
                features = self.missing_tokens.replace(index, features, missing)
            maps, level = fusion(*features)
            fused.append(level)
        levels: list[Tensor] = self.head(self.neck(fused))
        return levels

    def decode(self, levels: list[Tensor]) -> Tensor:
        """Return the decoded raw maps (B, anchors, 4 + classes): x1 y1 x2 y2 in pixels, then class probabilities."""
        return self.head.decode(levels)

    def ordered_inputs(self, images: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the images in the order of the streams, zeros in place of a missing one. Raises as `forward` does."""
        expected = self.config.modalities
        for name in images:
            if name not in expected:
                raise ValueError(f"the model has no modality {name!r}: give {', '.join(expected)}")
        if not images:
            raise ValueError(f"no image was given: give at least one of {', '.join(expected)}")
        first = next(iter(images.values()))
        batch, size = first.shape[0], first.shape[2:]
        if len(size) != 2 or any(side % STRIDES[-1] for side in size):
            raise ValueError(f"images are {tuple(first.shape)}: give (B, C, H, W), H and W divisible by {STRIDES[-1]}")
        maps = []
        for name, channels in expected.items():
            image = images.get(name)
            if image is None:
                image = first.new_zeros((batch, channels, *size))
            if image.shape != (batch, channels, *size):
                wanted = (batch, channels, *size)
                raise ValueError(f"modality {name!r} is {tuple(image.shape)}: give {tuple(wanted)}")
            maps.append(image)
        return tuple(maps)


def _level_fusion(config: ModelConfig, level: int) -> nn.Module:
    """Return the fusion module for pyramid level ``level``: maps of all streams in, (enhanced maps, fused map) out."""
    if len(config.modalities) == 1 or level not in config.levels:
        return AddFusion()
    assert config.operator is not None  # the configuration fills it in
    channels = config.level_channels[LEVELS.index(level)]
    return config.operator.build(channels, len(config.modalities), 2**level)


def count_parameters(model: nn.Module) -> int:
    """Return the number of parameters, including the fixed projection of the head."""
    return sum(parameter.numel() for parameter in model.parameters())
