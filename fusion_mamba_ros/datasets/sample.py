# SPDX-License-Identifier: Apache-2.0
"""Define the labelled set of images that datasets return and augmentations change."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.modality import REFERENCE, in_order
from fusion_mamba_ros.perception.registration import Homographies, Homography


def _no_boxes() -> npt.NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def _no_labels() -> npt.NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class Sample:
    """Images of one moment by modality, with the boxes of the objects that are visible in any of them.

    Attributes:
        name: Unique name in the dataset.
        images: Image by modality name, for example ``rgb`` (H, W, 3) uint8 RGB and ``thermal`` (H', W') uint8 or
            uint16. A missing modality has no entry.
        boxes: (n, 4) float32 x1 y1 x2 y2 in pixels of the reference image, which is RGB or else the first image. A
            sample without boxes is a true negative.
        labels: (n,) int64, indices into the dataset's ``class_names``.
        group: Group of the sample, for example ``day`` or ``night``. May be empty.
        homographies: Homography to RGB by modality, in normalised coordinates. Aligned modalities have no entry.
        labelled: (classes,) bool, whether the objects of each class have boxes. None: those of all classes have.

    Raises ``ValueError`` if there is no image, or if the lengths of ``boxes`` and ``labels`` differ.
    """

    name: str
    images: Mapping[str, npt.NDArray[Any]]
    boxes: npt.NDArray[np.float32] = field(default_factory=_no_boxes)
    labels: npt.NDArray[np.int64] = field(default_factory=_no_labels)
    group: str = ""
    homographies: Homographies = field(default_factory=dict, compare=False)
    labelled: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "images", {name: self.images[name] for name in in_order(self.images)})
        if not self.images:
            raise ValueError(f"sample {self.name!r} has no image: give at least one modality")
        if self.boxes.shape != (len(self.labels), 4):
            raise ValueError(
                f"sample {self.name!r}: boxes {self.boxes.shape} and labels {self.labels.shape} disagree: "
                "expected (n, 4) and (n,)"
            )

    @property
    def reference(self) -> str:
        """Name of the modality that defines the pixel coordinates of the boxes: RGB, or else the first modality."""
        return REFERENCE if REFERENCE in self.images else next(iter(self.images))

    @property
    def size(self) -> tuple[int, int]:
        """Return (width, height) of the reference image in pixels."""
        image = self.images[self.reference]
        return image.shape[1], image.shape[0]

    @property
    def rgb(self) -> Any:
        """Deprecated: use ``images``."""
        return self._deprecated("rgb")

    @property
    def thermal(self) -> Any:
        """Deprecated: use ``images``."""
        return self._deprecated("thermal")

    @property
    def homography(self) -> Homography | None:
        """Deprecated: use ``homographies``."""
        warnings.warn("Sample.homography is deprecated: use Sample.homographies", DeprecationWarning, stacklevel=2)
        return self.homographies.get("thermal")

    def _deprecated(self, name: str) -> Any:
        warnings.warn(f"Sample.{name} is deprecated: use Sample.images", DeprecationWarning, stacklevel=3)
        return self.images.get(name)


class PairedSample(Sample):
    """Deprecated: use :class:`Sample`. Calling this class returns a :class:`Sample` of an RGB and a thermal image."""

    def __new__(  # type: ignore[misc]
        cls,
        name: str,
        rgb: npt.NDArray[Any] | None,
        thermal: npt.NDArray[Any] | None,
        boxes: npt.NDArray[np.float32] | None = None,
        labels: npt.NDArray[np.int64] | None = None,
        group: str = "",
        homography: Homography | None = None,
    ) -> Sample:
        """Return the sample."""
        warnings.warn("PairedSample is deprecated: use Sample(name, images)", DeprecationWarning, stacklevel=2)
        images = {"rgb": rgb, "thermal": thermal}
        return Sample(
            name,
            {modality: image for modality, image in images.items() if image is not None},
            _no_boxes() if boxes is None else boxes,
            _no_labels() if labels is None else labels,
            group,
            {} if homography is None else {"thermal": homography},
        )
