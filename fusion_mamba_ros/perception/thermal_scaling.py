# SPDX-License-Identifier: Apache-2.0
"""Scale thermal counts to the 8-bit, white-hot image for the network. Trainer, evaluator and node use this module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

METHODS = ("percentile", "range", "passthrough")
POLARITIES = ("white_hot", "black_hot")

# Statistics use about this many pixels on a regular grid. Their error is far below one grey level.
_SAMPLE_PIXELS = 20_000
# Minimum width of the window, so that sensor noise is not amplified in a flat scene.
_MINIMUM_SPAN_COUNTS = 32.0
# A step of the median by more than this part of the window is a flat-field correction or a gain switch.
_JUMP_FRACTION = 0.25
# Otherwise an end of the window moves by at most this part of the window from one frame to the next.
_STEP_FRACTION = 0.05


@dataclass(frozen=True)
class ThermalScaling:
    """The scaling of 16-bit thermal counts to grey levels, and the polarity of the camera.

    ``method`` is one of:

    * ``percentile``: scale the window between two percentiles of the image.
    * ``range``: scale the window between ``range_min`` and ``range_max``, in counts; for radiometric cameras.
    * ``passthrough``: divide the counts by 256.

    An 8-bit image is not scaled, whatever the method. An image of ``polarity`` ``black_hot`` is inverted, so that warm
    is always bright. Raises ``ValueError`` for an unknown method or polarity, an empty range or percentiles out of
    order.
    """

    method: str = "percentile"
    range_min: float = 0.0
    range_max: float = 65535.0
    low_percentile: float = 0.5
    high_percentile: float = 99.8
    polarity: str = "white_hot"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"thermal scaling is '{self.method}': expected one of {', '.join(METHODS)}")
        if self.polarity not in POLARITIES:
            raise ValueError(f"thermal polarity is '{self.polarity}': expected one of {', '.join(POLARITIES)}")
        if not 0.0 <= self.range_min < self.range_max <= 65535.0:
            raise ValueError(
                f"thermal range is {self.range_min:g} to {self.range_max:g}: expected 0 <= minimum < maximum <= 65535"
            )
        if not 0.0 <= self.low_percentile < self.high_percentile <= 100.0:
            raise ValueError(
                f"thermal percentiles are {self.low_percentile:g} and {self.high_percentile:g}: "
                "expected 0 <= low < high <= 100"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or YAML."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ThermalScaling:
        """Return the scaling from the values that ``to_dict`` returned.

        Raises ``ValueError`` for an unknown key or for a value that should be a number but is not.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"thermal scaling is {values!r}: write it as a mapping of fields")
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"thermal scaling has unknown keys: {', '.join(unknown)}")
        for name, value in values.items():
            if name not in ("method", "polarity") and (isinstance(value, bool) or not isinstance(value, (int, float))):
                raise ValueError(f"thermal {name} is {value!r}: expected a number")
        return cls(**values)


def scale_thermal(image: npt.NDArray[Any], scaling: ThermalScaling) -> npt.NDArray[np.uint8]:
    """Return one thermal image as (H, W) uint8, white-hot, scaled by its own statistics only.

    ``image`` is (H, W) uint8 or uint16, or (H, W, 3) uint8, which is converted to luma. Raises ``ValueError`` for other
    shapes and types. For the frames of a stream use :class:`ThermalStream`.
    """
    image = _single_channel(image)
    if image.dtype == np.uint8 or scaling.method != "percentile":
        return _apply_fixed(image, scaling)
    low, _, high = _statistics(image, scaling)
    return _apply_window(image, low, high, scaling.polarity)


class ThermalStream:
    """Scale the frames of one camera and smooth the ``percentile`` window over time, so that brightness is steady.

    Each frame moves the window by ``gain`` times the difference, at most by 5 % of its width. If the whole image steps
    (a flat-field correction, a gain switch, a change of size), the window follows at once, because smoothing would give
    white or black frames for a long time. A hot or cold object that enters moves an end of the window but not the
    median, so the window follows it smoothly. Not thread-safe.
    """

    def __init__(self, scaling: ThermalScaling, *, gain: float = 0.1) -> None:
        if not 0.0 < gain <= 1.0:
            raise ValueError(f"smoothing gain is {gain:g}: expected more than 0 and at most 1")
        self.scaling = scaling
        self.gain = gain
        self._state: npt.NDArray[np.float64] | None = None
        self._shape: tuple[int, ...] = ()

    def reset(self) -> None:
        """Reset the window: the next frame is scaled by its own statistics only."""
        self._state = None

    def scale(self, image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Return the next frame as (H, W) uint8, white-hot. :func:`scale_thermal` describes the input."""
        image = _single_channel(image)
        if image.dtype == np.uint8 or self.scaling.method != "percentile":
            return _apply_fixed(image, self.scaling)
        measured = np.array(_statistics(image, self.scaling))
        if self._state is None or self._shape != image.shape or self._stepped(measured):
            self._state = measured
        else:
            most = _STEP_FRACTION * max(self._state[2] - self._state[0], _MINIMUM_SPAN_COUNTS)
            self._state += np.clip(self.gain * (measured - self._state), -most, most)
        self._shape = image.shape
        low, _, high = self._state
        return _apply_window(image, low, high, self.scaling.polarity)

    def _stepped(self, measured: npt.NDArray[np.float64]) -> bool:
        assert self._state is not None
        low, median, high = self._state
        span = max(high - low, _MINIMUM_SPAN_COUNTS)
        return bool(abs(measured[1] - median) > _JUMP_FRACTION * span)


def _single_channel(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    elif image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if image.dtype == np.dtype(np.uint16).newbyteorder():
        image = image.astype(np.uint16)
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16) or image.size == 0:
        raise ValueError(
            f"thermal image has shape {image.shape} and type {image.dtype}: expected (height, width) of uint8 or "
            "uint16, not empty"
        )
    return image


def _statistics(image: npt.NDArray[Any], scaling: ThermalScaling) -> tuple[float, float, float]:
    """Return the low end of the window, the median and the high end of the window, in counts."""
    step = max(1, int(np.sqrt(image.size / _SAMPLE_PIXELS)))
    sample = image[step // 2 :: step, step // 2 :: step]
    low, median, high = np.percentile(sample, (scaling.low_percentile, 50.0, scaling.high_percentile))
    return float(low), float(median), float(high)


def _apply_fixed(image: npt.NDArray[Any], scaling: ThermalScaling) -> npt.NDArray[np.uint8]:
    if image.dtype == np.uint16:
        if scaling.method == "range":
            return _apply_window(image, scaling.range_min, scaling.range_max, scaling.polarity)
        image = (image >> 8).astype(np.uint8)
    return _with_polarity(image, scaling.polarity)


def _apply_window(image: npt.NDArray[Any], low: float, high: float, polarity: str) -> npt.NDArray[np.uint8]:
    """Return counts as grey levels: ``low`` becomes 0, ``high`` becomes 255, linear in between."""
    span = high - low
    if span < _MINIMUM_SPAN_COUNTS:
        low -= (_MINIMUM_SPAN_COUNTS - span) / 2
        span = _MINIMUM_SPAN_COUNTS
    # Scale, shift and saturate to 8 bits in one pass. convertScaleAbs would make negative values positive.
    grey = cv2.addWeighted(image, 255.0 / span, image, 0.0, -low * 255.0 / span, dtype=cv2.CV_8U)
    return _with_polarity(grey, polarity)


def _with_polarity(grey: npt.NDArray[Any], polarity: str) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.bitwise_not(grey) if polarity == "black_hot" else grey, np.uint8)
