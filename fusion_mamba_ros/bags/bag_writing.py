# SPDX-License-Identifier: Apache-2.0
"""Write camera images and labels into a rosbag2 (mcap) that any ROS 2 tool can read. Needs no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.bags.new_bag import NewBag
from fusion_mamba_ros.bags.vision_messages import DETECTION_ARRAY, detection_typestore, labelled_boxes, time_message
from fusion_mamba_ros.perception.image_writer import encode_image

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"

_JPEG_QUALITY = 95


class ImageBagWriter:
    """Writer of a new bag with camera images and labelled boxes. `close` finishes the bag, `abort` removes it.

    ``topics`` maps each camera name to its topic. ``frame_ids`` maps each camera name to the frame id of its headers.
    With ``compressed``, the images go to ``<topic>/compressed``: images of three channels as JPEG, images of one
    channel as lossless PNG. Raises `BagError` if ``path`` exists or cannot be written. If the bag cannot be created,
    no files remain at ``path``.
    """

    def __init__(
        self,
        path: Path,
        *,
        topics: dict[str, str],
        frame_ids: dict[str, str],
        compressed: bool = False,
        label_topic: str | None = None,
    ) -> None:
        self._compressed, self._frame_ids = compressed, frame_ids
        self._typestore = detection_typestore()
        self._bag = NewBag(path, self._typestore)
        suffix, kind = ("/compressed", COMPRESSED_IMAGE) if compressed else ("", IMAGE)
        try:
            self._cameras = {name: self._bag.connect(topic + suffix, kind) for name, topic in topics.items()}
            self._labels = self._bag.connect(label_topic, DETECTION_ARRAY) if label_topic else None
        except BaseException:
            self.abort()
            raise

    def write_image(self, camera: str, stamp_ns: int, image: npt.NDArray[Any], *, kept_share: float = 1.0) -> None:
        """Write an image: (H, W, 3) uint8 RGB as rgb8, (H, W) uint8 as mono8, (H, W) uint16 as mono16.

        With ``kept_share`` below 1, only the first part of the image data is written: the image is corrupt.
        """
        encoding = _encoding_of(image)
        header = self._typestore.types["std_msgs/msg/Header"](
            time_message(self._typestore, stamp_ns), self._frame_ids[camera]
        )
        if self._compressed:
            message = self._compress(header, image, encoding)
        else:
            height, width = image.shape[:2]
            data = np.ascontiguousarray(image)
            step = data.strides[0]
            message = self._typestore.types[IMAGE](
                header, height, width, encoding, int(data.dtype.byteorder == ">"), step, data.reshape(-1).view(np.uint8)
            )
        if kept_share < 1:
            message.data = message.data[: int(kept_share * len(message.data))]
        self._bag.write(self._cameras[camera], stamp_ns, message)

    def write_labels(
        self, camera: str, stamp_ns: int, boxes: npt.NDArray[np.float32], class_names: Sequence[str]
    ) -> None:
        """Write the true boxes (n, 4) x1 y1 x2 y2 of an image of ``camera``."""
        if self._labels is None:
            raise ValueError("the bag was opened without a topic for labels")
        message = labelled_boxes(
            self._typestore,
            stamp_ns=stamp_ns,
            frame_id=self._frame_ids[camera],
            boxes=boxes,
            class_ids=class_names,
            scores=[1.0] * len(boxes),
        )
        self._bag.write(self._labels, stamp_ns, message)

    def close(self) -> None:
        """Finish the bag. Raises `BagError` if it cannot be written."""
        self._bag.close()

    def abort(self) -> None:
        """Remove the unfinished bag."""
        self._bag.abort()

    def _compress(self, header: Any, image: npt.NDArray[Any], encoding: str) -> Any:
        if image.ndim == 3:
            data = encode_image(image, ".jpg", jpeg_quality=_JPEG_QUALITY)
            kind = f"{encoding}; jpeg compressed bgr8"
        else:
            data = encode_image(image, ".png", png_compression=1)
            kind = f"{encoding}; png compressed {encoding}"
        return self._typestore.types[COMPRESSED_IMAGE](header, kind, np.frombuffer(data, np.uint8))


def _encoding_of(image: npt.NDArray[Any]) -> str:
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        return "rgb8"
    if image.ndim == 2 and image.dtype in (np.uint8, np.uint16):
        return "mono8" if image.dtype == np.uint8 else "mono16"
    raise ValueError(f"an image of shape {image.shape} and {image.dtype} is neither RGB nor 8- or 16-bit thermal")
