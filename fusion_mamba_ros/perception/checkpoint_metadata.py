# SPDX-License-Identifier: Apache-2.0
"""The metadata of a checkpoint, and how it is stored as text. An exported model carries the same text.

This module needs no PyTorch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.checkpoint_format import FORMAT_VERSION, FormatError, migrate
from fusion_mamba_ros.perception.documents import check_bounds, parse_json
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

MOST_SIDE = 4096
"""Maximum width and height of the network's canvas, in pixels."""
METADATA_KEY = "fusion_mamba"
"""Key of the metadata text in a `.safetensors` file and in an exported model."""
_MOST_METADATA_CHARACTERS = 4_000_000
_MOST_NAME_CHARACTERS = 200
_MOST_ERROR_CHARACTERS = 300
_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class CheckpointError(ValueError):
    """Raised if a checkpoint cannot be read, written or used. The message is one sentence for the user."""


@dataclass(frozen=True)
class CheckpointMetadata:
    """The metadata of a checkpoint, besides the model configuration.

    * ``class_names``: one name for each class index.
    * ``input_size``: (width, height) of the network's canvas in pixels, both divisible by 32.
    * ``thermal``: scaling and polarity of the thermal training images.
    * ``homography``: 3x3, thermal to RGB in normalised coordinates, of the training data. The identity means aligned.
    * ``further_homographies``: the same for other modalities, by name. A modality without an entry is aligned.
    * ``training``: provenance (data sets, splits, commit, recipe).
    * ``metrics``: ``{"modes": {"fused": {"mAP": ..., "mAP50": ..., "per_class": {...}}, ...}}``.
    * ``calibration``: the calibration of the scores, None if they are used uncalibrated.
    """

    class_names: tuple[str, ...]
    input_size: tuple[int, int]
    thermal: ThermalScaling = field(default_factory=ThermalScaling)
    homography: tuple[tuple[float, ...], ...] = _IDENTITY
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    further_homographies: Mapping[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        width, height = self.input_size
        if any(side <= 0 or side % 32 or side > MOST_SIDE for side in (width, height)):
            raise ValueError(f"input size is {width}x{height}: expected multiples of 32, at most {MOST_SIDE}")
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise ValueError(f"class names are {list(self.class_names)}: expected at least one, all different")
        for name in self.class_names:
            if not name.isprintable() or len(name) > _MOST_NAME_CHARACTERS:
                raise ValueError(
                    f"class name {name[:_MOST_NAME_CHARACTERS]!r}: expected printable text of at most "
                    f"{_MOST_NAME_CHARACTERS} characters"
                )
        if self.calibration is not None and len(self.calibration.temperatures) != len(self.class_names):
            raise ValueError(
                f"calibration has {len(self.calibration.temperatures)} temperatures for {len(self.class_names)} classes"
            )
        for homography in self.homographies.values():
            if len(homography) != 3 or any(len(row) != 3 for row in homography):
                raise ValueError(f"homography is {homography}: expected 3 rows of 3 numbers")
            if not all(math.isfinite(value) for row in homography for value in row):
                raise ValueError(f"homography is {homography}: expected finite numbers")
        modes = self.metrics.get("modes", {})
        if not isinstance(modes, Mapping) or not all(isinstance(measured, Mapping) for measured in modes.values()):
            raise ValueError("the modes of the metrics are no mappings of names to values")

    @property
    def homographies(self) -> dict[str, tuple[tuple[float, ...], ...]]:
        """Homographies to RGB by modality, including thermal."""
        return {"thermal": self.homography, **self.further_homographies}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {
            "class_names": list(self.class_names),
            "input_size": list(self.input_size),
            "thermal": self.thermal.to_dict(),
            "homography": [list(row) for row in self.homography],
            "training": dict(self.training),
            "metrics": dict(self.metrics),
            **({} if self.calibration is None else {"calibration": self.calibration.to_dict()}),
        }
        if self.further_homographies:
            values["further_homographies"] = {
                name: [list(row) for row in matrix] for name, matrix in self.further_homographies.items()
            }
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CheckpointMetadata:
        """Return the metadata from the values that ``to_dict`` returned."""
        width, height = (_whole(side) for side in values["input_size"])
        for name, kind in (("class_names", list), ("training", Mapping), ("metrics", Mapping)):
            if not isinstance(values.get(name, {}), kind):
                raise ValueError(f"{name} is of type {type(values.get(name)).__name__}")
        return cls(
            class_names=tuple(str(name) for name in values["class_names"]),
            input_size=(width, height),
            thermal=ThermalScaling.from_dict(values.get("thermal", {})),
            homography=_rows(values.get("homography", _IDENTITY)),
            training=values.get("training", {}),
            metrics=values.get("metrics", {}),
            calibration=Calibration.from_dict(values["calibration"]) if "calibration" in values else None,
            further_homographies={
                str(name): _rows(matrix) for name, matrix in dict(values.get("further_homographies", {})).items()
            },
        )


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"input size holds {value!r}: expected a whole number")
    return value


def _rows(matrix: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(x) for x in row) for row in matrix)


@dataclass(frozen=True)
class StoredDocument:
    """The parsed metadata text of a checkpoint or of an exported model.

    ``source`` names the file in messages. ``model`` is the mapping of `ModelConfig.to_dict`, unchecked: only PyTorch
    builds a model from it. ``version`` is the format version of the file.
    """

    source: str
    model: Mapping[str, Any]
    metadata: CheckpointMetadata
    version: int = FORMAT_VERSION

    def modalities(self) -> dict[str, int]:
        """Return the names and channel counts of the network's inputs. Raises `CheckpointError` if they are unusable.

        An engine for an exported model uses this.
        """
        stored = self.model.get("modalities")
        if (
            not isinstance(stored, Mapping)
            or not stored
            or not all(isinstance(name, str) and type(channels) is int for name, channels in stored.items())
        ):
            raise CheckpointError(f"{self.source} has unusable metadata (modalities are {str(stored)[:100]})")
        return dict(stored)


def metadata_text(model: Mapping[str, Any], metadata: CheckpointMetadata) -> str:
    """Return the text that stores ``model`` (`ModelConfig.to_dict`) and ``metadata``.

    Raises ``TypeError`` or ``ValueError`` if a value is not JSON.
    """
    return json.dumps({"format": FORMAT_VERSION, "model": dict(model), **metadata.to_dict()}, allow_nan=False)


def parse_metadata_text(text: str | None, source: str) -> StoredDocument:
    """Return the content of a metadata text, or of None if the file has no such text.

    ``source`` names the file in messages, for example ``checkpoint 'best.safetensors'``. Raises `CheckpointError` if
    the text is absent, too long, malformed or of a newer format.
    """
    if text is None:
        raise CheckpointError(f"{source} carries no '{METADATA_KEY}' metadata: it was not written by this package")
    if len(text) > _MOST_METADATA_CHARACTERS:
        raise CheckpointError(
            f"{source} has {len(text)} characters of metadata: at most {_MOST_METADATA_CHARACTERS} are read"
        )
    try:
        document = parse_json(text)
        check_bounds(document)
        version = document["format"]
        document = migrate(document)
        if not isinstance(document["model"], Mapping):
            raise ValueError(f"model is of type {type(document['model']).__name__}")
        return StoredDocument(source, document["model"], CheckpointMetadata.from_dict(document), version)
    except FormatError as error:
        raise CheckpointError(f"{source} {error}") from error
    except MALFORMED as error:
        raise unusable(source, error) from error


MALFORMED = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)
"""The exceptions that malformed values raise."""


def unusable(source: str, error: Exception) -> CheckpointError:
    """Return the error for metadata whose reading raised ``error``."""
    reason = str(error)[:_MOST_ERROR_CHARACTERS]
    return CheckpointError(f"{source} has unusable metadata ({type(error).__name__}: {reason})")


def read_document(path: str | os.PathLike[str]) -> StoredDocument:
    """Return the metadata of a `.safetensors` checkpoint without reading its tensors, and without PyTorch."""
    with open_checkpoint(path, framework="np") as file:
        return parse_metadata_text((file.metadata() or {}).get(METADATA_KEY), f"checkpoint '{path}'")


def open_checkpoint(path: str | os.PathLike[str], *, framework: str) -> Any:
    """Open a `.safetensors` file whose tensors are read as arrays of ``framework`` (`np` or `pt`).

    Raises `CheckpointError` if the file is missing or incomplete.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"checkpoint '{path}' does not exist: give the path of a .safetensors file")
    try:
        return safe_open(os.fspath(path), framework=framework, device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"checkpoint '{path}' is not a complete safetensors file ({error})") from error
