# SPDX-License-Identifier: Apache-2.0
"""Write detections, and the annotations that viewers draw over the images, into a bag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection

from fusion_mamba_ros.bags.annotation_messages import IMAGE_ANNOTATIONS, image_annotations, register_annotation_messages
from fusion_mamba_ros.bags.new_bag import NewBag
from fusion_mamba_ros.bags.vision_messages import DETECTION_ARRAY, detection_typestore, labelled_boxes
from fusion_mamba_ros.perception.box_annotations import box_annotations
from fusion_mamba_ros.perception.detections import Detections

# Topics of the node: detections, and annotations of the same image.
TOPICS = {
    "rgb": ("/detections", "/detector_node/annotations"),
    "thermal": ("/detections_thermal", "/detector_node/annotations_thermal"),
}


@dataclass(frozen=True)
class DetectionFrame:
    """Detections of one image.

    ``stamp_ns`` and ``frame_id`` are those of the header of the image. The boxes are in pixels of this image.
    ``camera`` is rgb or thermal. ``recorded_ns`` is the time of the message in the bag; None: the stamp.
    """

    stamp_ns: int
    frame_id: str
    detections: Detections
    camera: str = "rgb"
    recorded_ns: int | None = None


class DetectionsBagWriter:
    """Writer of a new bag with a Detection2DArray and an ImageAnnotations message for each image.

    Both have the stamp of the image, so viewers draw them on exactly this image. Usable as a context manager, which
    removes the bag if an exception is raised. Raises `BagError` if ``path`` exists or cannot be written.
    """

    def __init__(self, path: Path, class_names: Sequence[str]) -> None:
        self._class_names = tuple(class_names)
        self._typestore = detection_typestore()
        register_annotation_messages(self._typestore)
        self._bag = NewBag(path, self._typestore)
        self._connections: dict[str, tuple[Connection, Connection]] = {}

    def add(self, frame: DetectionFrame) -> None:
        """Write the detections of one image."""
        if frame.camera not in self._connections:
            array_topic, annotations_topic = TOPICS[frame.camera]
            self._connections[frame.camera] = (
                self._bag.connect(array_topic, DETECTION_ARRAY),
                self._bag.connect(annotations_topic, IMAGE_ANNOTATIONS),
            )
        detections = frame.detections
        array = labelled_boxes(
            self._typestore,
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            boxes=detections.boxes,
            class_ids=[self._class_names[label] for label in detections.labels],
            scores=detections.scores.tolist(),
        )
        annotations = image_annotations(
            self._typestore,
            stamp_ns=frame.stamp_ns,
            annotations=box_annotations(detections, self._class_names),
        )
        recorded_ns = frame.stamp_ns if frame.recorded_ns is None else frame.recorded_ns
        for connection, message in zip(self._connections[frame.camera], (array, annotations), strict=True):
            self._bag.write(connection, recorded_ns, message)

    def close(self) -> None:
        """Finish the bag. Raises `BagError` if it cannot be written."""
        self._bag.close()

    def abort(self) -> None:
        """Remove the unfinished bag."""
        self._bag.abort()

    def __enter__(self) -> DetectionsBagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
