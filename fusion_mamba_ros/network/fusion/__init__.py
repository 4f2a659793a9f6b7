# SPDX-License-Identifier: Apache-2.0
"""The fusion operators: how the streams meet at one level of the pyramid.

A new operator is one file, with a subclass of `FusionOperator`, and one line in `OPERATORS`.
"""

from fusion_mamba_ros.network.fusion.add import Add, AddFusion
from fusion_mamba_ros.network.fusion.concat import Concat
from fusion_mamba_ros.network.fusion.cross_attention import CrossAttention
from fusion_mamba_ros.network.fusion.fusion_mamba import FusionMamba
from fusion_mamba_ros.network.fusion.operator import FusionOperator

OPERATORS: dict[str, type[FusionOperator]] = {
    "fusion_mamba": FusionMamba,
    "add": Add,
    "concat": Concat,
    "cross_attention": CrossAttention,
}
"""Name in a model configuration (`fusion: add`) to the operator's settings."""

__all__ = ["OPERATORS", "Add", "AddFusion", "Concat", "CrossAttention", "FusionMamba", "FusionOperator"]
