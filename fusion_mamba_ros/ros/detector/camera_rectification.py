# SPDX-License-Identifier: Apache-2.0
"""Decide from the `camera_info` of a camera how its images are rectified."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fusion_mamba_ros.perception.letterbox import Size
from fusion_mamba_ros.perception.rectification import (
    CalibrationError,
    CameraCalibration,
    Rectification,
    calibration_from,
)


@dataclass(frozen=True)
class RectificationState:
    """What happens to the images of a camera. ``problem`` says why its camera_info cannot be used; empty if it can."""

    summary: str = "not rectified: no camera_info"
    problem: str = ""
    is_rectified: bool = False


class CameraRectification:
    """The rectification of one camera by its newest `camera_info`.

    The maps are built when the first image needs them, and again after the calibration changes. The executor thread
    passes messages, the inference thread asks for the maps, and diagnostics reads the state. ``on_change(state)`` is
    called for each new state, by the thread that found it.
    """

    def __init__(self, *, on_change: Callable[[RectificationState], None] = lambda state: None) -> None:
        self._lock = threading.Lock()
        self._on_change = on_change
        self._fields: tuple[Any, ...] | None = None
        self._calibration: CameraCalibration | None = None
        self._built: Rectification | None = None
        self._state = RectificationState()

    @property
    def state(self) -> RectificationState:
        """The current state."""
        with self._lock:
            return self._state

    def take(self, message: Any) -> None:
        """Take a `sensor_msgs/CameraInfo`. Most messages repeat the one before and change nothing."""
        fields = _fields_of(message)
        if fields == self._fields:
            return
        self._fields = fields
        calibration, state = None, RectificationState("not rectified: no distortion")
        try:
            calibration = calibration_of(message)
            if calibration is not None:
                state = RectificationState("not rectified: no image yet")
        except CalibrationError as error:
            state = _refused(error)
        with self._lock:
            # A message may change without a change of the calibration.
            if calibration is not None and calibration == self._calibration:
                return
            self._calibration = calibration
        self._note(state)

    def for_size(self, size: Size) -> Rectification | None:
        """Return how to rectify an image of ``size`` (width, height), or None if it is used as it is."""
        with self._lock:
            calibration = self._calibration
        if calibration is None:
            self._built = None
            return None
        if size != calibration.size:
            expected = "x".join(map(str, calibration.size))
            reason = f"it is for {expected} pixels, the image has {size[0]}x{size[1]}"
            self._note(_refused(reason), calibration)
            return None
        if self._built is None or self._built.calibration != calibration:
            try:
                self._built = Rectification(calibration)
            except CalibrationError as error:
                with self._lock:
                    if self._calibration is calibration:
                        self._calibration = None
                self._note(_refused(error))
                return None
        self._note(RectificationState(f"rectified: {calibration.model}", is_rectified=True), calibration)
        return self._built

    def _note(self, state: RectificationState, calibration: CameraCalibration | None = None) -> None:
        """Store a new state, unless it is about a calibration that has been replaced meanwhile."""
        with self._lock:
            if state == self._state or (calibration is not None and calibration is not self._calibration):
                return
            self._state = state
        self._on_change(state)


def calibration_of(message: Any) -> CameraCalibration | None:
    """Return the calibration in a `sensor_msgs/CameraInfo`. See `calibration_from`."""
    roi = message.roi
    return calibration_from(
        size=(message.width, message.height),
        model=message.distortion_model,
        d=message.d,
        k=message.k,
        r=message.r,
        p=message.p,
        binning=(message.binning_x, message.binning_y),
        region=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )


def _refused(reason: object) -> RectificationState:
    return RectificationState("not rectified: camera_info cannot be used", str(reason))


def _fields_of(message: Any) -> tuple[Any, ...]:
    roi = message.roi
    numbers = (bytes(message.d), *(values.tobytes() for values in (message.k, message.r, message.p)))
    sizes = (message.width, message.height, message.binning_x, message.binning_y)
    return (message.distortion_model, *numbers, *sizes, roi.x_offset, roi.y_offset, roi.width, roi.height)
