# SPDX-License-Identifier: Apache-2.0
"""Process camera streams: pair frames, decode image messages, detect frozen images. Does not import ROS."""
