# SPDX-License-Identifier: Apache-2.0
"""OpenCV images to and from ROS messages: the names and signatures of ROS 2's ``cv_bridge``.

For machines where no package brings the original, which wins wherever it is installed. Written from its documented
interface; unlike the original (4.1) it reads big-endian images with numpy 2.
"""

from .core import CvBridge, CvBridgeError
from .display import cvtColorForDisplay, getCvType

__all__ = ["CvBridge", "CvBridgeError", "cvtColorForDisplay", "getCvType"]
