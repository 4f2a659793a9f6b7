# SPDX-License-Identifier: Apache-2.0
"""Kalman filters that follow boxes with constant velocity, for any time between two measurements."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# Standard deviations as shares of the size of a box, the square root of its area.
MEASUREMENT_SHARE = 0.05
# White acceleration: the standard deviation of the velocity grows by this share per second, times sqrt(seconds).
ACCELERATION_SHARE = 0.15
# Standard deviation of the velocity of a box that was seen once, per second.
START_VELOCITY_SHARE = 1.0
SMALLEST_SIZE_PX = 1.0
# Extrapolated width and height stay within this factor of the last measured ones.
LARGEST_GROWTH = 1.5


@dataclass
class BoxStates:
    """States of n boxes: one filter for each of centre x, centre y, width and height.

    ``position`` and ``velocity`` (n, 4) are in pixels and pixels per second. ``position_variance``, ``covariance`` and
    ``velocity_variance`` (n, 4) are the entries of the 2x2 covariance of each filter. ``measured_size`` (n, 2) is the
    filtered width and height at the last measurement; it scales the noise.
    """

    position: Array
    velocity: Array
    position_variance: Array
    covariance: Array
    velocity_variance: Array
    measured_size: Array

    @classmethod
    def started(cls, boxes: Array) -> BoxStates:
        """Return the states of boxes (n, 4) x1 y1 x2 y2 that were seen once."""
        position = _to_position(boxes)
        size = np.maximum(position[:, 2:], SMALLEST_SIZE_PX)
        scale = _squared_scale(size)
        zero = np.zeros_like(position)
        variance = np.repeat(scale, 4, axis=1)
        return cls(
            position, zero, MEASUREMENT_SHARE**2 * variance, zero.copy(), START_VELOCITY_SHARE**2 * variance, size
        )

    def predict(self, seconds: float) -> None:
        """Move all boxes forward in time. Predicting in two steps gives the same as in one."""
        noise = ACCELERATION_SHARE**2 * _squared_scale(self.measured_size)
        self.position += seconds * self.velocity
        self.position_variance += (
            2 * seconds * self.covariance + seconds**2 * self.velocity_variance + noise * (seconds**3 / 3)
        )
        self.covariance += seconds * self.velocity_variance + noise * (seconds**2 / 2)
        self.velocity_variance += noise * seconds

    def update(self, indices: npt.NDArray[np.intp], boxes: Array) -> None:
        """Correct the states ``indices`` by measured boxes (k, 4) x1 y1 x2 y2."""
        before = self.position_variance[indices]
        noise = MEASUREMENT_SHARE**2 * _squared_scale(self.measured_size[indices])
        gain, velocity_gain = before / (before + noise), self.covariance[indices] / (before + noise)
        innovation = _to_position(boxes) - self.position[indices]
        self.position[indices] += gain * innovation
        self.velocity[indices] += velocity_gain * innovation
        self.velocity_variance[indices] -= velocity_gain * self.covariance[indices]
        self.covariance[indices] *= 1 - gain
        self.position_variance[indices] *= 1 - gain
        self.measured_size[indices] = np.maximum(self.position[indices, 2:], SMALLEST_SIZE_PX)

    def boxes(self) -> Array:
        """Return the boxes (n, 4) x1 y1 x2 y2."""
        size = self.measured_size
        half = np.clip(self.position[:, 2:], size / LARGEST_GROWTH, size * LARGEST_GROWTH) / 2
        return np.concatenate([self.position[:, :2] - half, self.position[:, :2] + half], axis=1)

    def centre_deviation(self) -> Array:
        """Return the standard deviation (n, 2) of the centres, in pixels."""
        deviation: Array = np.sqrt(np.maximum(self.position_variance[:, :2], 0.0))
        return deviation

    def kept(self, mask: npt.NDArray[np.bool_]) -> BoxStates:
        """Return the states where ``mask`` is True."""
        return BoxStates(*(getattr(self, field.name)[mask] for field in fields(self)))

    def joined(self, other: BoxStates) -> BoxStates:
        """Return these states followed by those of ``other``."""
        return BoxStates(
            *(np.concatenate([getattr(self, field.name), getattr(other, field.name)]) for field in fields(self))
        )


def _to_position(boxes: Array) -> Array:
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def _squared_scale(size: Array) -> Array:
    area: Array = np.prod(size, axis=1, keepdims=True)
    return area
