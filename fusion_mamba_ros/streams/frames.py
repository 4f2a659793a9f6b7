# SPDX-License-Identifier: Apache-2.0
"""What comes from two cameras and what pairing makes of it: frames, pairs and frames without a partner."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Side(str, Enum):
    """One of the two cameras. RGB is the reference: its clock is the clock of every output."""

    RGB = "rgb"
    THERMAL = "thermal"

    @property
    def other(self) -> Side:
        """The opposite camera."""
        return Side.THERMAL if self is Side.RGB else Side.RGB


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of one camera.

    ``stamp_ns`` is the camera's own stamp, ``arrival_ns`` the node's clock when the message came in, ``payload``
    whatever the caller wants back with the pair. ``fresh`` is False for a picture that has stood still for longer
    than the freeze timeout: such a frame is never paired, and its side counts as missing.
    """

    side: Side
    stamp_ns: int
    arrival_ns: int
    payload: Any = None
    fresh: bool = True


@dataclass(frozen=True, eq=False)
class Pair:
    """Two frames of the same moment. ``stamp_ns`` is the RGB stamp.

    ``offset_ns`` is thermal minus RGB after the constant thermal offset; its size is at most ``max_offset_ns``.
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
    """A frame released without partner because the other camera is missing.

    ``stamp_ns`` is on the reference clock: the RGB stamp, or the thermal stamp plus the constant thermal offset.
    """

    frame: Frame
    stamp_ns: int

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The one frame."""
        return (self.frame,)
