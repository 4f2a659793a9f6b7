# SPDX-License-Identifier: Apache-2.0
"""The backbones of YOLOv8 and YOLOv5."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from fusion_mamba_ros.network.backbones.backbone import Backbone, BackboneKind
from fusion_mamba_ros.network.convolution import C3, C2f, Conv, SpatialPyramidPooling


@dataclass(frozen=True)
class Scale:
    """Channels of the five backbone stages (strides 2 to 32) and numbers of bottlenecks in the last four stages."""

    channels: tuple[int, int, int, int, int]
    depths: tuple[int, int, int, int]
    neck_depth: int


def _scale(base_depths: tuple[int, int, int, int], depth: float, width: float, max_channels: int) -> Scale:
    channels = tuple(-(-round(min(c, max_channels) * width) // 8) * 8 for c in (64, 128, 256, 512, 1024))
    depths = tuple(max(round(count * depth), 1) for count in base_depths)
    return Scale(channels, depths, max(round(3 * depth), 1))  # type: ignore[arg-type]


_V8, _V5 = (3, 6, 6, 3), (3, 6, 9, 3)
# `paper` is the shape of the published models: fused levels of 256, 512 and 1024 channels, depths 3-9-9-3.
_PAPER = Scale((64, 128, 256, 512, 1024), (3, 9, 9, 3), 3)
SCALES: dict[str, dict[str, Scale]] = {
    "yolov8": {
        "n": _scale(_V8, 0.33, 0.25, 1024),
        "s": _scale(_V8, 0.33, 0.50, 1024),
        "m": _scale(_V8, 0.67, 0.75, 768),
        "l": _scale(_V8, 1.00, 1.00, 512),
        "x": _scale(_V8, 1.00, 1.25, 512),
        "paper": _PAPER,
    },
    "yolov5": {
        "n": _scale(_V5, 0.33, 0.25, 1024),
        "s": _scale(_V5, 0.33, 0.50, 1024),
        "m": _scale(_V5, 0.67, 0.75, 1024),
        "l": _scale(_V5, 1.00, 1.00, 1024),
        "x": _scale(_V5, 1.33, 1.25, 1024),
        "paper": _PAPER,
    },
}


class YoloBackbone(Backbone):
    """YOLOv8 (Conv-C2f-SPPF) or YOLOv5 (Conv-C3-SPPF).

    The layers of the three sections together have the order of the published models.
    """

    def __init__(self, stem: Conv, stage: type[C2f | C3], scale: Scale):
        super().__init__()
        c1, c2, c3, c4, c5 = scale.channels
        d2, d3, d4, d5 = scale.depths
        self.sections = nn.ModuleList(
            (
                nn.Sequential(
                    stem, Conv(c1, c2, 3, 2), stage(c2, c2, d2, True), Conv(c2, c3, 3, 2), stage(c3, c3, d3, True)
                ),
                nn.Sequential(Conv(c3, c4, 3, 2), stage(c4, c4, d4, True)),
                nn.Sequential(Conv(c4, c5, 3, 2), stage(c5, c5, d5, True), SpatialPyramidPooling(c5, c5)),
            )
        )


class _Yolo(BackboneKind):
    version: str

    def __init__(self) -> None:
        self.scales = tuple(SCALES[self.version])

    def level_channels(self, scale: str) -> tuple[int, int, int]:
        _, _, c3, c4, c5 = SCALES[self.version][scale].channels
        return c3, c4, c5

    def neck_depth(self, scale: str) -> int:
        return SCALES[self.version][scale].neck_depth

    def neck_layout(self, scale: str) -> str:
        # The published Fusion-Mamba models reduce the channels in the neck as YOLOv5 does, with both backbones.
        return "yolov5" if scale == "paper" else self.version


class YoloV8(_Yolo):
    """YOLOv8: C2f stages, a 3x3 stem."""

    version = "yolov8"
    stage = C2f

    def build(self, scale: str, in_channels: int) -> YoloBackbone:
        """Return the backbone of the given scale."""
        size = SCALES[self.version][scale]
        return YoloBackbone(Conv(in_channels, size.channels[0], 3, 2), self.stage, size)


class YoloV5(_Yolo):
    """YOLOv5: C3 stages, a 6x6 stem."""

    version = "yolov5"
    stage = C3

    def build(self, scale: str, in_channels: int) -> YoloBackbone:
        """Return the backbone of the given scale."""
        size = SCALES[self.version][scale]
        return YoloBackbone(Conv(in_channels, size.channels[0], 6, 2, 2), self.stage, size)
