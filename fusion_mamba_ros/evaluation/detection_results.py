# SPDX-License-Identifier: Apache-2.0
"""The detections of a whole data set beside its true boxes, in memory and in a file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..perception.detections import Detections, Mode


@dataclass(frozen=True)
class ImageResult:
    """One image pair: true boxes (n, 4) x1 y1 x2 y2 and labels (n,), and what was detected, in the same pixels."""

    name: str
    truth_boxes: npt.NDArray[np.float32]
    truth_labels: npt.NDArray[np.int64]
    detections: Detections
    group: str = ""


@dataclass(frozen=True)
class DetectionResults:
    """The results of one detector in one mode, in the order of the data set."""

    class_names: tuple[str, ...]
    mode: Mode
    images: tuple[ImageResult, ...]

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the groups that occur, sorted; images without a group belong to none."""
        return tuple(sorted({image.group for image in self.images} - {""}))

    def of_group(self, group: str) -> DetectionResults:
        """Return the results of the images of one group."""
        return replace(self, images=tuple(image for image in self.images if image.group == group))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `.npz` file of plain arrays, without pickle."""
        truth = [image.truth_boxes for image in self.images]
        found = [image.detections for image in self.images]
        np.savez_compressed(
            path,
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

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DetectionResults:
        """Return what ``save`` wrote. Raises ``ValueError`` naming the file if it cannot be read."""
        try:
            with np.load(Path(path), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            mode = Mode(str(arrays["mode"]))
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
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"detections file {str(path)!r} cannot be read: {error}") from error
        return cls(tuple(str(name) for name in arrays["class_names"]), mode, images)


def _split(rows: npt.NDArray, counts: npt.NDArray[np.int64]) -> Sequence[npt.NDArray]:
    return np.split(rows, np.cumsum(counts)[:-1]) if len(counts) else []
