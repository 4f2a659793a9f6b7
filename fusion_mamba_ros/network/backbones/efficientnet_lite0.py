# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0: a small classification network with freely available ImageNet weights, as a backbone."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from fusion_mamba_ros.network.backbones.backbone import Backbone, BackboneKind
from fusion_mamba_ros.network.backbones.yolo import SCALES
from fusion_mamba_ros.network.convolution import C2f, NormalisedConv

STEM_CHANNELS = 32
# One row per section; for each stage: kernel, stride, expansion, output channels, number of blocks.
STAGES: tuple[tuple[tuple[int, int, int, int, int], ...], ...] = (
    ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2)),
    ((3, 2, 6, 80, 3), (5, 1, 6, 112, 3)),
    ((5, 2, 6, 192, 4), (3, 1, 6, 320, 1)),
)
LEVEL_CHANNELS = (40, 112, 320)
PIXEL_MEAN, PIXEL_DEVIATION = 127.0, 128.0


class PixelNormalisation(nn.Module):
    """Convert an image in [0, 1] to the range of the published preprocessing: (255 x - 127) / 128.

    This layer is not folded into the weights of the stem because the stem pads its input with zeros after the
    normalisation. Folding would change the outermost row and column.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        return x * (255.0 / PIXEL_DEVIATION) - PIXEL_MEAN / PIXEL_DEVIATION


class LiteConv(NormalisedConv):
    """Convolution without bias, batch normalisation and, unless ``linear``, ReLU6.

    The padding is TensorFlow's `SAME`: at stride 2 and even sizes, the top has one row less than the bottom, and the
    left has one column less than the right.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ):
        padding = kernel // 2 if stride == 1 else 0
        conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)
        super().__init__(conv, momentum=0.01)
        self.linear = linear
        total = kernel - stride
        self.margins = (total // 2, total - total // 2) * 2 if stride > 1 else None
        nn.init.kaiming_normal_(conv.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, H / stride, W / stride), H and W divisible by the stride."""
        if self.margins is not None:
            x = functional.pad(x, self.margins)
        x = self.norm(self.conv(x))
        return x if self.linear else functional.relu6(x, inplace=True)


class MobileBlock(nn.Module):
    """MBConv without squeeze and excitation: 1x1 expansion, depthwise convolution, 1x1 projection without activation.

    A block with stride 1 and equal numbers of input and output channels has a shortcut.
    Shapes: (B, C, H, W) to (B, C', H / stride, W / stride).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = expansion * in_channels
        self.expand = LiteConv(in_channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = LiteConv(inner, inner, kernel, stride, groups=inner)
        self.project = LiteConv(inner, out_channels, 1, linear=True)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the output map."""
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.shortcut else out


class EfficientNetLite0Backbone(Backbone):
    """EfficientNet-Lite0 without its head of 1280 channels and its classifier.

    Input: (B, C, H, W) in [0, 1]; the first layer applies the published preprocessing.
    Output: 40, 112 and 320 channels at strides 8, 16 and 32.
    Sources: arXiv 1905.11946 and the published TensorFlow models of the Lite family. These use ReLU6 instead of swish,
    no squeeze and excitation, a stem of 32 channels at every size, and batch normalisation with eps 1e-3.
    """

    def __init__(self, in_channels: int):
        super().__init__()
        channels = STEM_CHANNELS
        sections = []
        for index, stages in enumerate(STAGES):
            layers: list[nn.Module] = []
            if index == 0:
                layers += [PixelNormalisation(), LiteConv(in_channels, STEM_CHANNELS, 3, 2)]
            for kernel, stride, expansion, out_channels, count in stages:
                for block in range(count):
                    layers.append(MobileBlock(channels, out_channels, kernel, stride if block == 0 else 1, expansion))
                    channels = out_channels
            sections.append(nn.Sequential(*layers))
        self.sections = nn.ModuleList(sections)


class EfficientNetLite0(BackboneKind):
    """EfficientNet-Lite0, which has one size: `scale` only sets the depth of the YOLOv8 neck."""

    stage = C2f
    scales = tuple(name for name in SCALES["yolov8"] if name != "paper")

    def build(self, scale: str, in_channels: int) -> EfficientNetLite0Backbone:
        """Return the backbone."""
        return EfficientNetLite0Backbone(in_channels)

    def level_channels(self, scale: str) -> tuple[int, int, int]:
        """Return the channels of the features at strides 8, 16 and 32."""
        return LEVEL_CHANNELS

    def neck_depth(self, scale: str) -> int:
        """Return the depth of the YOLOv8 neck of the given scale."""
        return SCALES["yolov8"][scale].neck_depth

    def neck_layout(self, scale: str) -> str:
        """Return the layout of YOLOv8."""
        return "yolov8"
