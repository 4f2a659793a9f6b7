# SPDX-License-Identifier: Apache-2.0
"""The backbones.

To add a backbone, write one file with a `Backbone` and its `BackboneKind`, and add one line to `BACKBONES`.
"""

from fusion_mamba_ros.network.backbones.backbone import Backbone, BackboneKind
from fusion_mamba_ros.network.backbones.efficientnet_lite0 import EfficientNetLite0
from fusion_mamba_ros.network.backbones.yolo import YoloV5, YoloV8

BACKBONES: dict[str, BackboneKind] = {
    "yolov8": YoloV8(),
    "yolov5": YoloV5(),
    "efficientnet_lite0": EfficientNetLite0(),
}
"""Registry of the backbones by their name in a model configuration (`backbone: yolov8`)."""

__all__ = ["BACKBONES", "Backbone", "BackboneKind"]
