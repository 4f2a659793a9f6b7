# SPDX-License-Identifier: Apache-2.0
"""Define the input and output types of pairing: frames, pairs and frames without a partner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from fusion_mamba_ros.streams.old_frame_names import accept_side, old_name


class Camera(str, Enum):
    """One of the two cameras. RGB is the reference: all outputs carry stamps of its clock."""

    RGB = "rgb"
    THERMAL = "thermal"

    @property
    def other(self) -> Camera:
        """The other camera."""
        return Camera.THERMAL if self is Camera.RGB else Camera.RGB


@accept_side
@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of one camera.

    ``stamp_ns`` is the stamp by the camera's clock. ``arrival_ns`` is the time by the node's clock when the message
    arrived. ``payload`` is any object that the caller wants back with the pair. ``fresh`` is False if the image has
    not changed for the freeze timeout. Such a frame is never paired, and its camera counts as missing.
    """

    camera: Camera
    stamp_ns: int
    arrival_ns: int
    payload: Any = None
    fresh: bool = True


@dataclass(frozen=True, eq=False)
class Pair:
    """An RGB and a thermal frame of the same moment. ``stamp_ns`` is the RGB stamp.

    ``offset_ns`` is the thermal stamp plus the constant thermal offset, minus the RGB stamp. Its absolute value is at
    most ``max_offset_ns``.
    """

    rgb: Frame
    thermal: Frame
    stamp_ns: int
    offset_ns: int

    @property
    def frames(self) -> tuple[Frame, ...]:
        """Both frames, RGB first."""
        return (self.rgb, self.thermal)


@dataclass(frozen=True, eq=False)
class LoneFrame:
    """A frame that is released without a partner because the other camera is missing.

    ``stamp_ns`` is on the RGB clock: the RGB stamp, or the thermal stamp plus the constant thermal offset.
    """

    frame: Frame
    stamp_ns: int

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The single frame."""
        return (self.frame,)


def __getattr__(name: str) -> Any:
    return old_name(__name__, name, Camera)
