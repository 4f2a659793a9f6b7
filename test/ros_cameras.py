# SPDX-License-Identifier: Apache-2.0
"""Two simulated cameras that publish to a ROS graph, with faults that a test can switch on."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from detector_graph import Graph
from rclpy.exceptions import InvalidHandle
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from fusion_mamba_ros.streams.frames import Camera

PERIOD_SEC = 0.05
RGB_SIZE, THERMAL_SIZE = (48, 64), (40, 56)


class Cameras:
    """Two cameras that publish together every 50 ms, as a thread; every attribute may change while they run."""

    def __init__(
        self,
        graph: Graph,
        *,
        period_sec: float = PERIOD_SEC,
        reliable: bool = True,
        compressed: bool = False,
        now_ns: Callable[[], int] = time.time_ns,
        prefix: str = "",
    ) -> None:
        self.graph = graph
        self.prefix = prefix
        self.period_sec = period_sec
        self.compressed = compressed
        self.running = dict.fromkeys(Camera, True)
        self.frozen = False
        self.shift_ns = 0
        self.zero_stamp = dict.fromkeys(Camera, False)
        self.sizes = {Camera.RGB: RGB_SIZE, Camera.THERMAL: THERMAL_SIZE}
        self.first_pixel = 0
        self.spoil: Callable[[Camera, Image], Image] = lambda camera, message: message
        self.sent: dict[Camera, list[int]] = {camera: [] for camera in Camera}
        self.now_ns = now_ns
        self._random = np.random.default_rng(20240401)
        self._still = self._image(Camera.THERMAL)
        self._publishers: dict[Camera, Any] = {}
        self.open(reliable=reliable)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def open(self, *, reliable: bool = True) -> None:
        """Create the publishers."""
        policy = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        profile = QoSProfile(depth=5, reliability=policy, durability=DurabilityPolicy.VOLATILE)
        for camera in Camera:
            kind, suffix = (CompressedImage, "/compressed") if self.compressed else (Image, "")
            topic = f"{self.prefix}{camera.value}/image_raw{suffix}"
            self._publishers[camera] = self.graph.node.create_publisher(kind, topic, profile)

    def reopen(self, *, reliable: bool) -> None:
        """Restart both publishers, as a driver that crashed."""
        publishers, self._publishers = self._publishers, {}
        for publisher in publishers.values():
            self.graph.node.destroy_publisher(publisher)
        self.open(reliable=reliable)

    def close(self) -> None:
        """Stop the cameras."""
        self._stop.set()
        self._thread.join()
        for publisher in self._publishers.values():
            self.graph.node.destroy_publisher(publisher)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            stamp_ns = self.now_ns() + self.shift_ns
            for camera in Camera:
                if self.running[camera] and camera in self._publishers:
                    self._send(camera, stamp_ns)
            due = max(due + self.period_sec, time.monotonic() - self.period_sec)
            self._stop.wait(max(0.0, due - time.monotonic()))

    def _send(self, camera: Camera, stamp_ns: int) -> None:
        pixels = self._still if self.frozen and camera is Camera.THERMAL else self._image(camera)
        message = compressed_message(camera, pixels) if self.compressed else image_message(camera, pixels)
        if camera is Camera.THERMAL:
            stamp_ns += 1_000_000
        stamp_ns = 0 if self.zero_stamp[camera] else stamp_ns
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
        message = self.spoil(camera, message)
        self.sent[camera].append(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
        publisher = self._publishers.get(camera)
        if publisher is not None:
            with suppress(InvalidHandle):  # A publisher that `reopen` has just taken away.
                publisher.publish(message)

    def _image(self, camera: Camera) -> np.ndarray:
        height, width = self.sizes[camera]
        shape, dtype = ((height, width, 3), np.uint8) if camera is Camera.RGB else ((height, width), np.uint16)
        pixels = self._random.integers(0, 200, shape, dtype=dtype)
        pixels.flat[0] = self.first_pixel
        return pixels


def image_message(camera: Camera, pixels: np.ndarray) -> Image:
    """Return a message with the pixels and an empty stamp."""
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding="rgb8" if pixels.ndim == 3 else "mono16")
    message.step = pixels.strides[0]
    message.header.frame_id = f"{camera.value}_camera"
    message.data = array.array("B", pixels.tobytes())
    return message


def compressed_message(camera: Camera, pixels: np.ndarray) -> CompressedImage:
    """Return a PNG of the pixels, as image_transport sends it."""
    message = CompressedImage(format="png")
    message.header.frame_id = f"{camera.value}_camera"
    message.data = array.array("B", cv2.imencode(".png", pixels)[1].tobytes())
    return message
