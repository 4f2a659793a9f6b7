# SPDX-License-Identifier: Apache-2.0
"""Write the frames of two cameras to a new bag, with the faults that the recording imitates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.bags.bag_writing import ImageBagWriter
from fusion_mamba_ros.bags.recording_options import Recording, RecordingOptions

FRAME_IDS = {"rgb": "rgb_camera_optical_frame", "thermal": "thermal_camera_optical_frame"}


class CameraRecorder:
    """Writer of the frames and true boxes of two cameras, rgb and thermal.

    Frames are given with their index and their time in seconds since the first frame. ``recording`` counts them.
    """

    def __init__(self, bag: ImageBagWriter, options: RecordingOptions) -> None:
        self._bag, self._options, self._faults = bag, options, options.faults
        self._last_thermal: npt.NDArray[Any] | None = None
        self.recording = Recording()

    def write_image(self, camera: str, index: int, seconds: float, image: npt.NDArray[Any]) -> None:
        """Write one image, unless the frame is to be dropped."""
        recording = self.recording
        frozen = False
        if camera == "thermal":
            frozen = self._faults.is_frozen(seconds) and self._last_thermal is not None
            if frozen and self._last_thermal is not None:
                image = self._last_thermal
            else:
                self._last_thermal = np.array(image) if self._faults.freezes else None
        faults = self._faults.of_frame(camera, index)
        if faults.dropped:
            recording.dropped += 1
            return
        recording.frozen += frozen
        recording.corrupt += faults.kept_share < 1
        recording.rgb_count += camera == "rgb"
        recording.thermal_count += camera == "thermal"
        recording.duration_sec = max(recording.duration_sec, seconds)
        self._bag.write_image(camera, self._stamp_ns(camera, index, seconds), image, kept_share=faults.kept_share)

    def write_labels(
        self, camera: str, index: int, seconds: float, boxes: npt.NDArray[np.float32], class_names: Sequence[str]
    ) -> None:
        """Write the true boxes of a frame. They have the stamp of its image, and are written if it is dropped too."""
        self._bag.write_labels(camera, self._stamp_ns(camera, index, seconds), boxes, class_names)

    def _stamp_ns(self, camera: str, index: int, seconds: float) -> int:
        seconds += self._faults.of_frame(camera, index).jitter_sec
        if camera == "thermal":
            seconds += self._options.thermal_offset_sec + self._faults.thermal_drift * seconds
        return self._options.start_ns + round(seconds * 1e9)


@contextmanager
def record_cameras(out: Path, options: RecordingOptions, *, labels: bool = False) -> Iterator[CameraRecorder]:
    """Open the new bag ``out``. Remove it if an exception ends the recording.

    With ``labels``, the bag has the topic ``options.labels_topic``.
    """
    if labels:
        options.check_labels_topic()
    bag = ImageBagWriter(
        out,
        topics={"rgb": options.rgb_topic, "thermal": options.thermal_topic},
        frame_ids=FRAME_IDS,
        compressed=options.compressed,
        label_topic=options.labels_topic if labels else None,
    )
    try:
        yield CameraRecorder(bag, options)
        bag.close()
    except BaseException:
        bag.abort()
        raise
