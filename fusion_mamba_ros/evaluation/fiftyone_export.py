# SPDX-License-Identifier: Apache-2.0
"""Write images, ground truth and predictions as a COCO dataset, which FiftyOne and CVAT import."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.detections import Detections
from fusion_mamba_ros.perception.image_writer import encode_image

_IMAGES, _TRUTH, _PREDICTIONS = "data", "labels.json", "predictions.json"


def check_export_folder(folder: Path) -> None:
    """Raise ``ValueError`` if ``folder`` is a file or has files already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"'{folder}' has files already: remove them or choose another folder")


class FiftyOneExport:
    """Writer of the folder ``folder``: `data/` with the images, `labels.json` and `predictions.json`.

    `labels.json` is a COCO dataset with the true boxes, `predictions.json` a COCO list of results. ``class_names`` get
    the category ids 1, 2, ... Call ``close`` at the end. Raises ``OSError`` that names the file if one cannot be
    written, and ``ValueError`` if the folder has files already.
    """

    def __init__(self, folder: Path, class_names: Sequence[str]) -> None:
        check_export_folder(folder)
        self._folder = folder
        self._categories = [{"id": index + 1, "name": name} for index, name in enumerate(class_names)]
        self._images: list[dict[str, Any]] = []
        self._truth: list[dict[str, Any]] = []
        self._predictions: list[dict[str, Any]] = []
        (folder / _IMAGES).mkdir(parents=True, exist_ok=True)

    def add(
        self,
        image: npt.NDArray[Any],
        detections: Detections,
        *,
        stamp_ns: int,
        mode: str | None = None,
        true_boxes: npt.NDArray[np.float32] | None = None,
        true_labels: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Add one image with its detections and its true boxes (n, 4) x1 y1 x2 y2; None: they are unknown.

        ``image`` is RGB (H, W, 3), stored as JPEG, or (H, W) with 8 or 16 bits, stored as PNG. All boxes are in its
        pixels. An image without known true boxes has ``"labelled": false``. ``mode`` None is that of the detections.
        """
        number = len(self._images) + 1
        suffix = ".jpg" if image.ndim == 3 else ".png"
        name = f"{number:06d}_{stamp_ns}{suffix}"
        write_atomically(self._folder / _IMAGES / name, encode_image(image, suffix), durable=False)
        self._images.append(
            {
                "id": number,
                "file_name": name,
                "width": int(image.shape[1]),
                "height": int(image.shape[0]),
                "stamp_ns": stamp_ns,
                "mode": mode or detections.mode.value,
                "labelled": true_boxes is not None,
            }
        )
        if true_boxes is not None and true_labels is not None:
            for box, label in zip(true_boxes.tolist(), true_labels.tolist(), strict=True):
                fields = _box_fields(number, label, box)
                area = fields["bbox"][2] * fields["bbox"][3]
                self._truth.append({"id": len(self._truth) + 1, **fields, "area": area, "iscrowd": 0})
        rows = zip(detections.boxes.tolist(), detections.labels.tolist(), detections.scores.tolist(), strict=True)
        self._predictions += [{**_box_fields(number, label, box), "score": score} for box, label, score in rows]

    def close(self) -> None:
        """Write both JSON files."""
        truth = {
            "info": {"description": "RGB-thermal detections of fusion_mamba_ros"},
            "images": self._images,
            "annotations": self._truth,
            "categories": self._categories,
        }
        for name, content in ((_TRUTH, truth), (_PREDICTIONS, self._predictions)):
            write_atomically(self._folder / name, json.dumps(content, allow_nan=False).encode())


def _box_fields(image: int, label: int, box: Sequence[float]) -> dict[str, Any]:
    x1, y1, x2, y2 = box
    return {"image_id": image, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
