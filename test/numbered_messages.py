# SPDX-License-Identifier: Apache-2.0
"""Image messages that carry the number of their frame in the pixels."""

from __future__ import annotations

import array

from sensor_msgs.msg import Image
from simulated_node import numbered_pixels

from fusion_mamba_ros.ros.detector.message_conversion import to_stamp
from fusion_mamba_ros.streams.frames import Camera


def numbered_message(camera: Camera, number: int, stamp_ns: int) -> Image:
    """Return a message that carries ``number``."""
    pixels = numbered_pixels(camera, number)
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding="bgra8" if pixels.ndim == 3 else "mono16")
    message.step = pixels.strides[0]
    message.header.frame_id = f"{camera.value}_camera"
    message.header.stamp = to_stamp(stamp_ns)
    message.data = array.array("B", pixels.tobytes())
    return message
