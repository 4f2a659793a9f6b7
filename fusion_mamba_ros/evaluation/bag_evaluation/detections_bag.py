# SPDX-License-Identifier: Apache-2.0
"""Write the detections of an evaluated bag into a bag for viewers."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.bags.detections_writing import DetectionFrame, DetectionsBagWriter
from fusion_mamba_ros.evaluation.bag_evaluation.collected_frame import CollectedBag
from fusion_mamba_ros.perception.registration import Homography
from fusion_mamba_ros.perception.thermal_boxes import detections_in_thermal


def write_detections_bag(path: Path, collected: CollectedBag, homography: Homography) -> None:
    """Write the detections of every image with a result as Detection2DArray and as ImageAnnotations.

    Each message has the stamp of its image. ``homography`` maps thermal to RGB; the boxes on thermal images are mapped
    by its inverse. Raises `BagError` if ``path`` exists or cannot be written.
    """
    reference_size = None
    with DetectionsBagWriter(path, collected.class_names) as writer:
        for frame in collected.frames:
            published, record = frame.published, frame.record
            if published is None:
                continue
            if record.rgb_stamp_ns is not None:
                reference_size = collected.sizes["rgb"]
                writer.add(
                    DetectionFrame(record.rgb_stamp_ns, collected.frame_ids["rgb"], published, "rgb", frame.released_ns)
                )
            if record.thermal_stamp_ns is not None:
                mapped = detections_in_thermal(
                    published, homography, reference_size=reference_size, thermal_size=collected.sizes["thermal"]
                )
                frame_id = collected.frame_ids["thermal"]
                writer.add(DetectionFrame(record.thermal_stamp_ns, frame_id, mapped, "thermal", frame.released_ns))
