# SPDX-License-Identifier: Apache-2.0
"""Remember why images of a camera were refused recently."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from fusion_mamba_ros.streams.frames import Camera

# Two periods of diagnostics. An older reason belongs to a fault that has passed.
KEPT_NS = 2_000_000_000


class Refusals:
    """The latest reason for each camera.

    Thread-safe: executor and inference thread write, diagnostics reads.
    """

    def __init__(self, *, steady_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._lock = threading.Lock()
        self._steady_ns = steady_ns
        self._latest: dict[Camera, tuple[int, str]] = {}

    def note(self, camera: Camera, reason: str) -> None:
        """Remember why an image is refused. Call this before the image is counted."""
        with self._lock:
            self._latest[camera] = (self._steady_ns(), reason)

    def recent(self) -> Mapping[Camera, str]:
        """Return the latest reason of each camera that had an image refused within the last two seconds."""
        with self._lock:
            since_ns = self._steady_ns() - KEPT_NS
            return {camera: reason for camera, (noted_ns, reason) in self._latest.items() if noted_ns >= since_ns}
