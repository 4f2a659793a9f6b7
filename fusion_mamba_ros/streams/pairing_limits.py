# SPDX-License-Identifier: Apache-2.0
"""Limits of pairing that users can set."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class PairingLimits:
    """Limits of `Pairing`, all in nanoseconds except ``queue_size``.

    Attributes:
        max_offset_ns: Largest difference in time between the two frames of a pair, inclusive.
        thermal_offset_ns: Constant added to every thermal stamp to bring it to the RGB clock; may be negative.
        timeout_ns: A camera is missing after this time without a fresh frame.
        queue_size: Largest number of frames held per camera.
        max_age_ns: Longest time that a frame is held. Also the largest step back of a stamp that is no jump of the
            clock, and the largest step of a stamp ahead of the clock that needs no second frame to confirm it.

    Raises ``ValueError`` if a number is out of range, ``TypeError`` if it is not a whole number.
    """

    max_offset_ns: int = 50_000_000
    thermal_offset_ns: int = 0
    timeout_ns: int = 500_000_000
    queue_size: int = 20
    max_age_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"pairing limit {field.name} is {value!r}: give a whole number")
        for name, least in (
            ("max_offset_ns", 0),
            ("timeout_ns", 1),
            ("queue_size", 1),
            ("max_age_ns", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"pairing limit {name} is {getattr(self, name)}: give {least} or more")

    @property
    def hold_ns(self) -> int:
        """Time that a frame is held: the larger of ``max_age_ns`` and twice ``max_offset_ns``."""
        return max(self.max_age_ns, 2 * self.max_offset_ns)
