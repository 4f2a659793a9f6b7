# SPDX-License-Identifier: Apache-2.0
"""The fusion operators, which combine the streams at one level of the pyramid.

To add an operator, write one file with a subclass of `FusionOperator`, and add one line to `OPERATORS`.
"""

from fusion_mamba_ros.network.fusion.add import Add, AddFusion
from fusion_mamba_ros.network.fusion.cft import Cft
from fusion_mamba_ros.network.fusion.concat import Concat
from fusion_mamba_ros.network.fusion.cross_attention import CrossAttention
from fusion_mamba_ros.network.fusion.fusion_mamba import FusionMamba
from fusion_mamba_ros.network.fusion.icafusion import IcaFusion
from fusion_mamba_ros.network.fusion.operator import FusionOperator

OPERATORS: dict[str, type[FusionOperator]] = {
    "fusion_mamba": FusionMamba,
    "add": Add,
    "concat": Concat,
    "cross_attention": CrossAttention,
    "cft": Cft,
    "icafusion": IcaFusion,
}
"""Registry of the operators' settings classes by their name in a model configuration (`fusion: add`)."""

__all__ = [
    "OPERATORS",
    "Add",
    "AddFusion",
    "Cft",
    "Concat",
    "CrossAttention",
    "FusionMamba",
    "FusionOperator",
    "IcaFusion",
]
