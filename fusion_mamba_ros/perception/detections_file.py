# SPDX-License-Identifier: Apache-2.0
"""Write the detections of many images to one JSON file in COCO format."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.letterbox import Size


class DetectionsFile:
    """Collect detections and write them as ``images``, ``annotations`` (each with ``score``) and ``categories``.

    Boxes are x, y, width, height in pixels of the RGB image. Category ids are the class indices, from 0. Each image
    also has its ``mode``. With tracking each annotation has its ``track_id``, 0 without a track. ``loadRes`` of
    pycocotools takes the list ``annotations`` alone.
    """

    def __init__(self, class_names: Sequence[str], info: dict[str, Any]) -> None:
        self._document: dict[str, Any] = {
            "info": info,
            "categories": [{"id": index, "name": name} for index, name in enumerate(class_names)],
            "images": [],
            "annotations": [],
        }

    def add(self, name: str, size: Size, detections: Detections) -> None:
        """Add the result of one image of ``size`` (width, height)."""
        images, annotations = self._document["images"], self._document["annotations"]
        image_id = len(images)
        images.append(
            {"id": image_id, "file_name": name, "width": size[0], "height": size[1], "mode": detections.mode.value}
        )
        for index, (box, score, label) in enumerate(
            zip(detections.boxes, detections.scores, detections.labels, strict=True)
        ):
            track = {} if detections.track_ids is None else {"track_id": int(detections.track_ids[index])}
            x1, y1, x2, y2 = (round(float(value), 2) for value in box)
            width, height = round(x2 - x1, 2), round(y2 - y1, 2)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(label),
                    "bbox": [x1, y1, width, height],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                    "score": round(float(score), 5),
                    **track,
                }
            )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file atomically. Raises ``OSError``."""
        write_atomically(path, json.dumps(self._document).encode())
