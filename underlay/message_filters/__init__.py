# SPDX-License-Identifier: Apache-2.0
"""Filters that pass ROS messages on by time: the names and signatures of ROS 2's ``message_filters``.

For machines where no package brings the original, which wins wherever it is installed. Written from its documented
interface (message_filters 4.11, Jazzy).
"""

from .cache import Cache
from .simple_filter import SimpleFilter
from .subscriber import Subscriber
from .time_synchronizer import ApproximateTimeSynchronizer, TimeSynchronizer

__all__ = ["ApproximateTimeSynchronizer", "Cache", "SimpleFilter", "Subscriber", "TimeSynchronizer"]
