# SPDX-License-Identifier: Apache-2.0
"""Define the options ``--tiles`` and ``--tile-overlap``, which commands that run the network share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata

TilesOption = Annotated[
    str,
    typer.Option(
        "--tiles",
        help="Cut large images into tiles: COLUMNSxROWS such as 3x2, or auto: as few as do not shrink the image. "
        "Without it the whole image.",
    ),
]
TileOverlapOption = Annotated[
    float, typer.Option("--tile-overlap", help="Least part of a tile that its neighbour also shows, 0 to 0.8.")
]


def warn_without_tiles(metadata: CheckpointMetadata, tiles: str) -> None:
    """Print a warning if the checkpoint was trained on crops, for tiles, and ``tiles`` is empty."""
    recipe = metadata.training.get("recipe")
    wanted = recipe.get("tiles") if isinstance(recipe, Mapping) else None
    if wanted and not tiles:
        typer.echo(
            "warning: this checkpoint was trained for tiles; larger images are shrunk without them: "
            f"give --tiles {wanted}",
            err=True,
        )
