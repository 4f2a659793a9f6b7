# SPDX-License-Identifier: Apache-2.0
"""The backbones. A new one is one file, with a `Backbone` and its `BackboneKind`, and one line in `BACKBONES`."""

from fusion_mamba_ros.network.backbones.backbone import Backbone, BackboneKind
from fusion_mamba_ros.network.backbones.efficientnet_lite0 import EfficientNetLite0
from fusion_mamba_ros.network.backbones.yolo import YoloV5, YoloV8

BACKBONES: dict[str, BackboneKind] = {
    "yolov8": YoloV8(),
    "yolov5": YoloV5(),
    "efficientnet_lite0": EfficientNetLite0(),
}
"""Name in a model configuration (`backbone: yolov8`) to the backbone."""

__all__ = ["BACKBONES", "Backbone", "BackboneKind"]
