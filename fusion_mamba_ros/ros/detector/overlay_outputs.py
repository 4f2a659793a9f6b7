# SPDX-License-Identifier: Apache-2.0
"""Publish what viewers draw over the images: annotations, and the detections in pixels of the thermal image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rclpy.lifecycle import LifecycleNode
from vision_msgs.msg import Detection2DArray

from fusion_mamba_ros.perception.box_annotations import box_annotations
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.letterbox import size_of
from fusion_mamba_ros.perception.registration import Homography
from fusion_mamba_ros.perception.thermal_boxes import detections_in_thermal
from fusion_mamba_ros.ros.detector.annotation_conversion import ImageAnnotations, image_annotations
from fusion_mamba_ros.ros.detector.message_conversion import detection_array
from fusion_mamba_ros.ros.detector.pair_names import ONE_PAIR, PairNames
from fusion_mamba_ros.ros.detector.result import Result


class OverlayOutputs:
    """Publishers of `detections_thermal`, `~/annotations` and `~/annotations_thermal`.

    Each message has the stamp of the image that it belongs to. It is made only while somebody subscribes. Without the
    package `foxglove_msgs`, there are no annotations. ``options`` are those of the publisher of `detections`.
    """

    def __init__(
        self,
        node: LifecycleNode,
        class_names: Sequence[str],
        homography: Homography,
        options: dict[str, Any],
        *,
        names: PairNames = ONE_PAIR,
    ) -> None:
        self._node = node
        self._class_names = tuple(class_names)
        self._homography = homography
        self._thermal = node.create_lifecycle_publisher(
            Detection2DArray, names.topic("detections_thermal"), 10, **options
        )
        self._annotations: dict[str, Any] = {}
        if ImageAnnotations is None:
            node.get_logger().info("no topics ~/annotations: the package foxglove_msgs is not installed")
        else:
            for camera, topic in (("rgb", "~/annotations"), ("thermal", "~/annotations_thermal")):
                self._annotations[camera] = node.create_lifecycle_publisher(ImageAnnotations, names.topic(topic), 10)

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in (self._thermal, *self._annotations.values()):
            self._node.destroy_lifecycle_publisher(publisher)

    def publish(self, result: Result, class_ids: Sequence[str]) -> None:
        """Publish the overlays of ``result`` that have a subscriber. ``class_ids`` are those of `detections`."""
        if "rgb" in result.images and self._is_wanted("rgb"):
            self._annotate("rgb", result.header, result.detections)
        header = result.thermal_header
        wants_array = self._thermal.get_subscription_count() > 0
        if header is None or not (wants_array or self._is_wanted("thermal")):
            return
        detections = detections_in_thermal(
            result.seen,
            self._homography,
            reference_size=result.reference_size,
            thermal_size=size_of(result.images["thermal"]),
        )
        if result.thermal_lens is not None:
            detections = result.thermal_lens.restored(detections)
        if wants_array:
            self._thermal.publish(detection_array(detections, header, class_ids))
        if self._is_wanted("thermal"):
            self._annotate("thermal", header, detections)

    def _is_wanted(self, camera: str) -> bool:
        publisher = self._annotations.get(camera)
        return publisher is not None and publisher.get_subscription_count() > 0

    def _annotate(self, camera: str, header: Any, detections: Detections) -> None:
        annotations = box_annotations(detections, self._class_names)
        self._annotations[camera].publish(image_annotations(header.stamp, annotations))
