# SPDX-License-Identifier: Apache-2.0
"""Cut a large image into overlapping tiles, each of which fills the network's canvas."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.letterbox import Size

MOST_TILES = 256
"""Maximum number of tiles of one image."""
DEFAULT_OVERLAP = 0.2
_MOST_OVERLAP = 0.8
_GRID = re.compile(r"([1-9]\d{0,2})x([1-9]\d{0,2})")


@dataclass(frozen=True)
class Tile:
    """A rectangle of an image of ``image_size`` (width, height), in whole pixels."""

    x: int
    y: int
    width: int
    height: int
    image_size: Size

    @property
    def size(self) -> Size:
        """Width and height."""
        return self.width, self.height

    def part_of(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the pixels of the tile in the image."""
        return image[self.y : self.y + self.height, self.x : self.x + self.width]


@dataclass(frozen=True)
class Tiling:
    """A grid of ``columns`` x ``rows`` tiles; 0 stands for as few as show the image without shrinking it.

    Neighbours share at least the fraction ``overlap`` of their width or height. An object that is smaller than the
    overlap is whole in at least one tile. Raises ``ValueError`` if a value is out of range.
    """

    columns: int = 0
    rows: int = 0
    overlap: float = DEFAULT_OVERLAP

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 0 or self.columns * self.rows > MOST_TILES:
            raise ValueError(f"tiles is {self.columns}x{self.rows}: expected at most {MOST_TILES} tiles")
        if not 0 <= self.overlap <= _MOST_OVERLAP:
            raise ValueError(f"tile_overlap is {self.overlap:g}: expected 0 to {_MOST_OVERLAP}")

    @classmethod
    def parse(cls, text: str, overlap: float = DEFAULT_OVERLAP) -> Tiling | None:
        """Return the tiling that a parameter names: `auto` or COLUMNSxROWS such as `3x2`. Empty text: no tiling.

        Raises ``ValueError`` for any other text and for an overlap that is out of range.
        """
        found = _GRID.fullmatch(text) if isinstance(text, str) else None
        if text not in ("", "auto") and found is None:
            raise ValueError(f"tiles is {text!r}: expected auto, COLUMNSxROWS such as 3x2, or empty for none")
        tiling = cls(int(found[1]), int(found[2]), overlap) if found else cls(overlap=overlap)
        return tiling if text else None

    def tiles(self, image_size: Size, canvas_size: Size) -> list[Tile]:
        """Return the tiles of an image by rows. Raises ``ValueError`` if there would be more than `MOST_TILES`."""
        columns, rows = (
            _spans(length, side, count, self.overlap)
            for length, side, count in zip(image_size, canvas_size, (self.columns, self.rows), strict=True)
        )
        if len(columns) * len(rows) > MOST_TILES:
            raise ValueError(
                f"an image of {image_size[0]}x{image_size[1]} has {len(columns)}x{len(rows)} tiles of "
                f"{canvas_size[0]}x{canvas_size[1]}: name at most {MOST_TILES}, such as 8x6"
            )
        return [Tile(x, y, width, height, image_size) for y, height in rows for x, width in columns]


def _spans(length: int, side: int, count: int, overlap: float) -> list[tuple[int, int]]:
    """Return start and length of the tiles along one axis of an image of ``length`` pixels.

    ``side`` is the length of the canvas. ``count`` is the number of tiles, 0 for automatic.
    """
    if count == 0:
        extent = min(side, length)
        count = 1 if length <= side else math.ceil((length - side * overlap) / (side * (1 - overlap)))
    else:
        extent = min(math.ceil(length / (count - (count - 1) * overlap)), length)
    starts = np.rint(np.linspace(0, length - extent, count)).astype(int) if count > 1 else np.zeros(1, int)
    # Tiles of a tiny image may coincide.
    return [(int(start), extent) for start in dict.fromkeys(starts.tolist())]
