# SPDX-License-Identifier: Apache-2.0
"""When a message is from."""

from __future__ import annotations

from typing import Any

from rclpy.clock import ROSClock
from rclpy.logging import get_logger
from rclpy.time import Time


def message_stamp(msg: Any, *, allow_headerless: bool, use_arrival: bool = False) -> Time | None:
    """Return the header's stamp, or now if ``use_arrival``, or if there is no header and that is allowed.

    A stamp message becomes ROS time; an rclpy ``Time``, as headers of no message type may carry, stays as it is.
    None, with a warning in the log, for a message without a header where that is not allowed.
    """
    if use_arrival:
        return ROSClock().now()
    stamp = getattr(getattr(msg, "header", None), "stamp", None)
    if isinstance(stamp, Time):
        return stamp
    if stamp is not None:
        return Time.from_msg(stamp)
    if allow_headerless:
        return ROSClock().now()
    get_logger("message_filters").warning(
        f"{type(msg).__name__} has no header with a stamp and is ignored: allow_headerless=True counts by arrival"
    )
    return None
