# SPDX-License-Identifier: Apache-2.0
"""Hold, save and load the detections of a whole dataset together with its true boxes."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.detections import Detections, Mode

# Enough for 200,000 images with 300 detections each.
_MOST_BYTES = 2_000_000_000


@dataclass(frozen=True)
class ImageResult:
    """Result of one image pair: true boxes (n, 4) x1 y1 x2 y2, true labels (n,), and the detections.

    True boxes and detections are in pixels of the same image.
    """

    name: str
    truth_boxes: npt.NDArray[np.float32]
    truth_labels: npt.NDArray[np.int64]
    detections: Detections
    group: str = ""


@dataclass(frozen=True)
class DetectionResults:
    """Results of one detector in one mode, in the order of the dataset."""

    class_names: tuple[str, ...]
    mode: Mode
    images: tuple[ImageResult, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the sorted names of the groups that occur. Images without a group are in no group."""
        return tuple(sorted({image.group for image in self.images} - {""}))

    def of_group(self, group: str) -> DetectionResults:
        """Return the results of the images in one group."""
        return replace(self, images=tuple(image for image in self.images if image.group == group))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `.npz` file of plain arrays, without pickle."""
        truth = [image.truth_boxes for image in self.images]
        found = [image.detections for image in self.images]
        file = io.BytesIO()
        np.savez_compressed(
            file,
            class_names=np.array(self.class_names, dtype=np.str_),
            mode=np.array(self.mode.value),
            names=np.array([image.name for image in self.images], dtype=np.str_),
            groups=np.array([image.group for image in self.images], dtype=np.str_),
            truth_counts=np.array([len(boxes) for boxes in truth], np.int64),
            truth_boxes=np.concatenate([np.zeros((0, 4), np.float32), *truth]),
            truth_labels=np.concatenate([np.zeros(0, np.int64), *(image.truth_labels for image in self.images)]),
            counts=np.array([len(detections) for detections in found], np.int64),
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *(detections.boxes for detections in found)]),
            scores=np.concatenate([np.zeros(0, np.float32), *(detections.scores for detections in found)]),
            labels=np.concatenate([np.zeros(0, np.int64), *(detections.labels for detections in found)]),
        )
        write_atomically(path, file.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DetectionResults:
        """Return the results in a file that ``save`` wrote. Raises ``ValueError``, which names the unreadable file."""
        try:
            arrays = _read_arrays(Path(path))
            mode = Mode(str(arrays["mode"]))
            class_names = tuple(str(name) for name in arrays["class_names"])
            truth_boxes = _split(arrays["truth_boxes"], arrays["truth_counts"])
            truth_labels = _split(arrays["truth_labels"], arrays["truth_counts"])
            detected = [_split(arrays[name], arrays["counts"]) for name in ("boxes", "scores", "labels")]
            images = tuple(
                ImageResult(str(name), boxes, labels, Detections(found[0], found[1], found[2], mode), str(group))
                for name, group, boxes, labels, found in zip(
                    arrays["names"],
                    arrays["groups"],
                    truth_boxes,
                    truth_labels,
                    zip(*detected, strict=True),
                    strict=True,
                )
            )
        except FileNotFoundError as error:
            raise ValueError(
                f"detections file {str(path)!r} does not exist: give what `fusion-mamba eval` wrote"
            ) from error
        except Exception as error:  # a damaged archive can raise any exception
            raise ValueError(
                f"detections file {str(path)!r} cannot be read: {error or type(error).__name__}"
            ) from error
        return cls(class_names, mode, images)


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a `.npz` file. Raises ``ValueError`` if the unpacked file is too large or invalid."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > _MOST_BYTES:
        raise ValueError(f"it unpacks to {unpacked} bytes, but at most {_MOST_BYTES} are read")
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    for name in ("truth_boxes", "boxes"):
        if arrays[name].ndim != 2 or arrays[name].shape[1] != 4 or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} has the shape {arrays[name].shape}, or a value that is no number")
    for name in ("truth_labels", "labels"):
        labels = arrays[name]
        if labels.dtype.kind != "i" or ((labels < 0) | (labels >= len(arrays["class_names"]))).any():
            raise ValueError(f"{name} holds a class index beyond the {len(arrays['class_names'])} class names")
    return arrays


def _split(rows: npt.NDArray[Any], counts: npt.NDArray[np.int64]) -> Sequence[npt.NDArray[Any]]:
    if counts.dtype.kind != "i" or (counts < 0).any() or counts.sum() != len(rows):
        raise ValueError(f"{len(rows)} boxes do not agree with the counts of the images")
    return np.split(rows, np.cumsum(counts)[:-1]) if len(counts) else []
