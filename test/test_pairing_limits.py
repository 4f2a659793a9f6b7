# SPDX-License-Identifier: Apache-2.0
"""Pairing limits that are out of range."""

from __future__ import annotations

import pytest

from fusion_mamba_ros.streams.pairing import PairingLimits


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("max_offset_ns", -1, ValueError),
        ("timeout_ns", 0, ValueError),
        ("queue_size", 0, ValueError),
        ("max_age_ns", 0.5, TypeError),
    ],
)
def test_a_limit_out_of_range_is_refused_by_name(field: str, value: float, error: type[Exception]) -> None:
    with pytest.raises(error, match=field):
        PairingLimits(**{field: value})  # type: ignore[arg-type]
