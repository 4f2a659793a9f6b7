# SPDX-License-Identifier: Apache-2.0
"""Time stamp of a message."""

from __future__ import annotations

from typing import Any

from rclpy.clock import ROSClock
from rclpy.logging import get_logger
from rclpy.time import Time


def message_stamp(msg: Any, *, allow_headerless: bool, use_arrival: bool = False) -> Time | None:
    """Return the stamp of the message's header.

    A stamp message becomes ROS time. A stamp that is already an rclpy ``Time`` is returned unchanged. The result is the
    current time with ``use_arrival``, and with ``allow_headerless`` for a message without a header. Otherwise a message
    without a header gives None and a warning in the log.
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
        f"{type(msg).__name__} has no header with a stamp and is ignored: allow_headerless=True uses the arrival time"
    )
    return None
