# SPDX-License-Identifier: Apache-2.0
"""Turn 8-bit images into the network's input: register and letterbox them, and join them to a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.letterbox import Letterbox, Size, size_of
from fusion_mamba_ros.perception.modality import REFERENCE, Levels, in_order, modality_named
from fusion_mamba_ros.perception.mode import Mode, mode_of
from fusion_mamba_ros.perception.registration import (
    Homographies,
    place_registered,
    relative_homography,
    warp_to_rgb_view,
)
from fusion_mamba_ros.perception.tiling import Tile, Tiling


@dataclass(frozen=True)
class PreparedImages:
    """One set of images prepared for the network.

    ``canvases`` maps modality names to (H, W, C) uint8. The canvas of a missing image holds the modality's missing
    value. ``letterbox`` maps boxes back to pixels of the reference image, or of its ``tile`` if there is one. ``mode``
    names the modalities that are present.
    """

    canvases: dict[str, npt.NDArray[np.uint8]]
    letterbox: Letterbox
    mode: Mode
    tile: Tile | None = None


def prepare(
    levels: Mapping[str, Levels | None],
    *,
    channels: Mapping[str, int],
    canvas_size: Size,
    homographies: Homographies,
    reference_size: Size | None = None,
) -> PreparedImages:
    """Return the canvases of one set of images. See `prepare_tiles`."""
    return prepare_tiles(
        levels,
        channels=channels,
        canvas_size=canvas_size,
        homographies=homographies,
        reference_size=reference_size,
        tiling=None,
    )[0]


def prepare_tiles(
    levels: Mapping[str, Levels | None],
    *,
    channels: Mapping[str, int],
    canvas_size: Size,
    homographies: Homographies,
    reference_size: Size | None = None,
    tiling: Tiling | None,
) -> list[PreparedImages]:
    """Return the canvases of each tile of one set of images, or of the whole images if ``tiling`` is None.

    ``levels`` maps modality names to 8-bit images or None. ``channels`` maps the modalities of the model to the channel
    counts of their streams; only these modalities are prepared. ``homographies`` maps modality names to homographies to
    RGB; a modality without an entry is aligned.

    Boxes are in pixels of the RGB image. Without an RGB image they are in pixels of an RGB image of ``reference_size``.
    If that is None too, they are in pixels of the first image that is present. That image is then not warped, and the
    others are warped to its view. Tiles are cut from images in the view and size of the reference image. Raises
    ``ValueError`` if all modalities of the model are missing, or if there are too many tiles.
    """
    there = {name: image for name, image in levels.items() if image is not None}
    mode = mode_of(there, tuple(channels))
    reference = REFERENCE
    if REFERENCE in there:
        reference_size = size_of(there[REFERENCE])
    elif reference_size is None:
        reference = next(name for name in in_order(there) if name in channels)
        reference_size = size_of(there[reference])
    canvases = {
        name: modality_named(name).missing(canvas_size[1], canvas_size[0], count)
        for name, count in channels.items()
        if name not in there
    }
    homographies = {name: relative_homography(name, reference, homographies) for name in channels if name in there}
    tiles = [] if tiling is None else tiling.tiles(reference_size, canvas_size)
    if len(tiles) < 2:
        letterbox = Letterbox(reference_size, canvas_size)
        for name, homography in homographies.items():
            canvases[name] = with_channels(place_registered(there[name], homography, letterbox), channels[name])
        return [PreparedImages(_ordered(canvases, channels), letterbox, mode)]
    views = {
        name: there[name] if name == reference else warp_to_rgb_view(there[name], homography, reference_size)
        for name, homography in homographies.items()
    }
    prepared = []
    for tile in tiles:
        letterbox = Letterbox(tile.size, canvas_size)
        shown = {
            name: with_channels(letterbox.place(tile.part_of(view)), channels[name]) for name, view in views.items()
        }
        prepared.append(PreparedImages(_ordered({**canvases, **shown}, channels), letterbox, mode, tile))
    return prepared


def _ordered(canvases: Mapping[str, Levels], channels: Mapping[str, int]) -> dict[str, Levels]:
    return {name: canvases[name] for name in channels}


def with_channels(canvas: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Return an image (H, W) or (H, W, C) as (H, W, ``count``). Colour becomes luma, and grey is repeated."""
    channels = 1 if canvas.ndim == 2 else canvas.shape[2]
    if channels == 3 and count == 1:
        return np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY), np.uint8)[:, :, None]
    if channels == 1 and count == 3:
        return np.asarray(cv2.cvtColor(canvas, cv2.COLOR_GRAY2RGB), np.uint8)
    return canvas[:, :, None] if canvas.ndim == 2 else canvas


def to_batch(prepared: Sequence[PreparedImages]) -> dict[str, npt.NDArray[np.uint8]]:
    """Return the input of an engine for several pairs: modality name to (B, C, H, W) uint8, a view of (B, H, W, C)."""
    batch = {}
    for name in prepared[0].canvases:
        canvases = [item.canvases[name] for item in prepared]
        stacked = canvases[0][None] if len(canvases) == 1 else np.stack(canvases)
        batch[name] = stacked.transpose(0, 3, 1, 2)
    return batch
