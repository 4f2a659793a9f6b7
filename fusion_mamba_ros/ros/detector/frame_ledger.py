# SPDX-License-Identifier: Apache-2.0
"""Count the outcome of every frame that pairing released."""

from __future__ import annotations

import threading
from collections import Counter
from enum import Enum

from fusion_mamba_ros.streams.frames import Camera, LoneFrame, Pair


class Outcome(str, Enum):
    """The outcome of a released frame. Names are those of `CameraCounters.msg`."""

    PAIRED = "paired"
    ALONE = "alone"
    DROPPED = "dropped"
    FAILED = "failed"
    REFUSED = "refused"
    UNPAIRED = "unpaired"


class FrameLedger:
    """Count outcomes by camera. Thread-safe: executor and inference thread write, diagnostics reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: dict[Camera, Counter[Outcome]] = {camera: Counter() for camera in Camera}
        self._published = 0

    def record(self, camera: Camera, outcome: Outcome) -> None:
        """Record the outcome of one frame of ``camera``."""
        with self._lock:
            self._outcomes[camera][outcome] += 1

    def record_all(self, released: Pair | LoneFrame, outcome: Outcome) -> None:
        """Record the same outcome for every frame of a pair, or for the lone frame."""
        with self._lock:
            for frame in released.frames:
                self._outcomes[frame.camera][outcome] += 1

    def count_published(self) -> None:
        """Count one published array."""
        with self._lock:
            self._published += 1

    def snapshot(self) -> tuple[dict[Camera, Counter[Outcome]], int]:
        """Return the outcomes by camera and the number of published arrays, read together under the lock."""
        with self._lock:
            return {camera: Counter(counter) for camera, counter in self._outcomes.items()}, self._published
