# SPDX-License-Identifier: Apache-2.0
"""Fusion-Mamba in PyTorch: tensors in, tensors out. This package does not use files, NumPy images or ROS."""

from fusion_mamba_ros.network.backbones import BACKBONES, Backbone, BackboneKind
from fusion_mamba_ros.network.channel_swapping import StateSpaceChannelSwapping
from fusion_mamba_ros.network.config import ModelConfig
from fusion_mamba_ros.network.detector import FusionMambaDetector
from fusion_mamba_ros.network.dual_fusion import DualStateSpaceFusion
from fusion_mamba_ros.network.fusion import (
    OPERATORS,
    Add,
    Cft,
    Concat,
    CrossAttention,
    FusionMamba,
    FusionOperator,
    IcaFusion,
)
from fusion_mamba_ros.network.fusion_mamba_block import FusionMambaBlock
from fusion_mamba_ros.network.missing_tokens import MissingTokens
from fusion_mamba_ros.network.state_space import SelectiveScan2d, VisualStateSpaceBlock

__all__ = [
    "BACKBONES",
    "OPERATORS",
    "Add",
    "Backbone",
    "BackboneKind",
    "Cft",
    "Concat",
    "CrossAttention",
    "DualStateSpaceFusion",
    "FusionMamba",
    "FusionMambaBlock",
    "FusionMambaDetector",
    "FusionOperator",
    "IcaFusion",
    "MissingTokens",
    "ModelConfig",
    "SelectiveScan2d",
    "StateSpaceChannelSwapping",
    "VisualStateSpaceBlock",
]
