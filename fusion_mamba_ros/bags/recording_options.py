# SPDX-License-Identifier: Apache-2.0
"""Settings and summary of a recording of two cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fusion_mamba_ros.bags.recording_faults import RecordingFaults

LABEL_TOPIC = "/ground_truth"

_MOST_OFFSET_SEC = 1e6
# The seconds of a ROS stamp are a signed 32-bit number. One year is reserved for the recording itself.
_STAMP_END_NS = (2**31 - 365 * 86400) * 1_000_000_000


@dataclass(frozen=True)
class RecordingOptions:
    """Settings for writing images to a bag.

    ``frames_per_second`` overrides the default rate: the video's own, 30 for folders, 15 for scenes.
    ``thermal_frames_per_second`` overrides the rate of the thermal camera only. ``thermal_offset_sec`` is added to the
    thermal stamps. ``shortest`` ends both cameras when the shorter one ends. The true boxes of a labelled source go to
    ``labels_topic``. ``faults`` are put into the recording. Raises ``ValueError`` on a value out of range.
    """

    rgb_topic: str = "/rgb/image_raw"
    thermal_topic: str = "/thermal/image_raw"
    compressed: bool = False
    frames_per_second: float | None = None
    thermal_frames_per_second: float | None = None
    thermal_offset_sec: float = 0.0
    shortest: bool = False
    labels_topic: str = LABEL_TOPIC
    faults: RecordingFaults = field(default_factory=RecordingFaults)
    start_ns: int = 1_700_000_000_000_000_000

    def __post_init__(self) -> None:
        for name in ("frames_per_second", "thermal_frames_per_second"):
            rate = getattr(self, name)
            if rate is not None and not 0.001 <= rate <= 1000:
                raise ValueError(f"{name} is {rate:g}: expected at least 0.001, at most 1000")
        if not math.isfinite(self.thermal_offset_sec) or abs(self.thermal_offset_sec) > _MOST_OFFSET_SEC:
            raise ValueError(
                f"thermal_offset_sec is {self.thermal_offset_sec}: expected seconds, at most {_MOST_OFFSET_SEC:g}"
            )
        if self.start_ns >= _STAMP_END_NS:
            raise ValueError(
                f"the first stamp is {self.start_ns / 1e9:g} s: ROS stamps end at {_STAMP_END_NS / 1e9:g} s"
            )
        # Readers of the bag treat a stamp of zero or below as "no stamp".
        if self.start_ns + (min(self.thermal_offset_sec, 0) - self.faults.jitter_sec) * 1e9 <= 0:
            raise ValueError(f"the first stamp is {self.start_ns / 1e9:g} s: expected a time after 1970")
        for topic in (self.rgb_topic, self.thermal_topic, self.labels_topic):
            if not topic.strip("/") or " " in topic:
                raise ValueError(f"topic '{topic}' is no ROS topic name: expected for example /rgb/image_raw")
        if self.rgb_topic.lstrip("/") == self.thermal_topic.lstrip("/"):
            raise ValueError(f"both cameras have the topic '{self.rgb_topic}': give each its own")

    def check_labels_topic(self) -> None:
        """Raise ``ValueError`` if the true boxes would go to the topic of a camera."""
        for topic in (self.rgb_topic, self.thermal_topic):
            if topic.lstrip("/") == self.labels_topic.lstrip("/"):
                raise ValueError(
                    f"topic '{topic}' holds the true boxes: choose another for the camera, or for the labels "
                    "(--labels-topic)"
                )

    def rates(self, default: float) -> dict[str, float]:
        """Return the frames per second of each camera of a source whose own rate is ``default``.

        Raises ``ValueError`` if the faults do not fit them.
        """
        rgb = self.frames_per_second or default
        rates = {"rgb": rgb, "thermal": self.thermal_frames_per_second or rgb}
        self.faults.check_rates(rates)
        return rates


@dataclass
class Recording:
    """Summary of a written bag. ``notes`` are sentences for the user.

    ``rgb_count`` and ``thermal_count`` are the recorded images. ``dropped``, ``corrupt`` and ``frozen`` count the
    frames that have this fault.
    """

    rgb_count: int = 0
    thermal_count: int = 0
    duration_sec: float = 0.0
    dropped: int = 0
    corrupt: int = 0
    frozen: int = 0
    notes: list[str] = field(default_factory=list)
