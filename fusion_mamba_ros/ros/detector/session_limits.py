# SPDX-License-Identifier: Apache-2.0
"""Convert parameters in seconds to the limits of pairing."""

from __future__ import annotations

from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.streams.pairing_limits import PairingLimits


def limits_from(parameters: DetectorParameters) -> PairingLimits:
    """Return the pairing limits that the parameters set."""
    return PairingLimits(
        max_offset_ns=to_ns(parameters.pairing_max_offset_sec),
        thermal_offset_ns=to_ns(parameters.pairing_thermal_offset_sec),
        timeout_ns=to_ns(parameters.pairing_timeout_sec),
        queue_size=parameters.pairing_queue_size,
    )


def to_ns(seconds: float) -> int:
    """Return seconds as nanoseconds."""
    return round(seconds * 1e9)
