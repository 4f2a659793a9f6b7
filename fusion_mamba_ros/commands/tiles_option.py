# SPDX-License-Identifier: Apache-2.0
"""Define the options ``--tiles`` and ``--tile-overlap``, which commands that run the network share."""

from __future__ import annotations

from typing import Annotated

import typer

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
