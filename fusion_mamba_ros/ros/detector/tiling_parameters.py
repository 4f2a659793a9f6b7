# SPDX-License-Identifier: Apache-2.0
"""The parameters for tiled inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_mamba_ros.perception.tiling import DEFAULT_OVERLAP, Tiling
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError, ParameterSpec

TILING_SPECS: tuple[ParameterSpec, ...] = (
    ParameterSpec(
        "tiles",
        "",
        "Tiles of a large image: COLUMNSxROWS, auto (as few as do not shrink the image), or empty: the whole image.",
        str,
    ),
    ParameterSpec(
        "tile_overlap",
        DEFAULT_OVERLAP,
        "Least part of a tile that its neighbour also shows.",
        float,
        minimum=0.0,
        maximum=0.8,
    ),
)


def check_tiling(values: Mapping[str, Any]) -> None:
    """Raise :class:`ParameterError` if ``tiles`` is no tiling, or is used together with ``contributions``."""
    try:
        tiling = Tiling.parse(values["tiles"], values["tile_overlap"])
    except ValueError as error:
        raise ParameterError(f"parameter {error}") from error
    if tiling is not None and values["contributions"]:
        raise ParameterError(
            f"parameter contributions is true and tiles is {values['tiles']!r}: contributions of tiles are not "
            "computed, so leave one of them out"
        )
