# SPDX-License-Identifier: Apache-2.0
"""Synchronize and store ROS messages by time, with the names and signatures of ROS 2's ``message_filters``.

This package is for machines without the original. If the original is installed, Python imports that one. This package
was written from the documented interface of message_filters 4.11 (Jazzy).
"""

from .cache import Cache
from .simple_filter import SimpleFilter
from .subscriber import Subscriber
from .time_synchronizer import ApproximateTimeSynchronizer, TimeSynchronizer

__all__ = ["ApproximateTimeSynchronizer", "Cache", "SimpleFilter", "Subscriber", "TimeSynchronizer"]
