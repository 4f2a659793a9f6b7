# SPDX-License-Identifier: Apache-2.0
"""Convert between OpenCV images and ROS messages, with the names and signatures of ROS 2's ``cv_bridge``.

This package is for machines without the original. If the original is installed, Python imports that one. This package
was written from the documented interface. Unlike the original (4.1) it reads big-endian images with numpy 2.
"""

from .core import CvBridge, CvBridgeError
from .display import cvtColorForDisplay, getCvType

__all__ = ["CvBridge", "CvBridgeError", "cvtColorForDisplay", "getCvType"]
