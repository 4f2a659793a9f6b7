# SPDX-License-Identifier: Apache-2.0
"""Camera images to the network's input: checked, scaled, registered and letterboxed, as 8-bit canvases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from fusion_mamba_ros.perception.detections import Mode
from fusion_mamba_ros.perception.letterbox import Letterbox, Size, size_of
from fusion_mamba_ros.perception.registration import Homography, place_thermal

Images = Mapping[str, npt.NDArray[Any] | None]


@dataclass(frozen=True)
class PreparedImages:
    """One pair as the network sees it.

    ``canvases``: modality name to (H, W, C) uint8, all zeros for a missing one. ``letterbox``: the way back to pixels
    of the reference image. ``mode``: what was there.
    """

    canvases: dict[str, npt.NDArray[np.uint8]]
    letterbox: Letterbox
    mode: Mode


def check_rgb(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return ``image`` if it is (H, W, 3) uint8 and not empty; raises ``ValueError`` that says what it is instead."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"rgb image has shape {image.shape} and type {image.dtype}: expected (height, width, 3) of uint8, not empty"
        )
    return image


def prepare(
    rgb: npt.NDArray[np.uint8] | None,
    thermal: npt.NDArray[np.uint8] | None,
    *,
    channels: Mapping[str, int],
    canvas_size: Size,
    homography: Homography,
    reference_size: Size | None = None,
) -> PreparedImages:
    """Return the canvases of one pair.

    ``rgb`` (H, W, 3) uint8 or None; ``thermal`` (h, w) uint8, scaled already, or None; ``channels``: modality name to
    the channel count of its stem, only these are prepared. The reference is the RGB image; without one, boxes are for
    an RGB image of ``reference_size``, or, if that is None too, for the thermal picture itself, which then stays
    unwarped.
    Raises ``ValueError`` if no modality of the model is there.
    """
    seen = {
        name: image for name, image in (("rgb", rgb), ("thermal", thermal)) if image is not None and name in channels
    }
    if not seen:
        raise ValueError(f"no image to look at: the model needs at least one of {', '.join(channels)}")
    if rgb is not None:
        reference_size = size_of(rgb)
    elif reference_size is None:
        reference_size = size_of(seen["thermal"])
        homography = np.eye(3)
    letterbox = Letterbox(reference_size, canvas_size)
    canvases = {}
    for name, count in channels.items():
        if name not in seen:
            canvas = np.zeros((canvas_size[1], canvas_size[0], count), np.uint8)
        elif name == "thermal":
            canvas = with_channels(place_thermal(seen[name], homography, letterbox), count)
        else:
            canvas = with_channels(letterbox.place(seen[name]), count)
        canvases[name] = canvas
    return PreparedImages(canvases, letterbox, _mode_of(seen))


def _mode_of(seen: Collection[str]) -> Mode:
    if len(seen) == 2:
        return Mode.FUSED
    return Mode.RGB_ONLY if "rgb" in seen else Mode.THERMAL_ONLY


def with_channels(canvas: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.uint8]:
    """Return a picture (H, W) or (H, W, C) as (H, W, ``count``): colour to grey by its luma, grey repeated."""
    channels = 1 if canvas.ndim == 2 else canvas.shape[2]
    if channels == 3 and count == 1:
        return np.asarray(cv2.cvtColor(canvas, cv2.COLOR_RGB2GRAY), np.uint8)[:, :, None]
    if channels == 1 and count == 3:
        return np.asarray(cv2.cvtColor(canvas, cv2.COLOR_GRAY2RGB), np.uint8)
    return canvas[:, :, None] if canvas.ndim == 2 else canvas


def to_tensors(prepared: Sequence[PreparedImages], device: torch.device) -> dict[str, torch.Tensor]:
    """Return the network's input of several pairs: modality name to (B, C, H, W) float32 in [0, 1].

    The bytes cross to the device before they become floats: a quarter of the traffic.
    """
    tensors = {}
    for name in prepared[0].canvases:
        canvases = [item.canvases[name] for item in prepared]
        stacked = torch.from_numpy(canvases[0][None] if len(canvases) == 1 else np.stack(canvases))
        tensors[name] = stacked.to(device).permute(0, 3, 1, 2).float().div_(255.0)
    return tensors
