# SPDX-License-Identifier: Apache-2.0
"""Read and write checkpoints: `.safetensors` files with the tensors of a detector and its metadata as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fusion_mamba_ros.network import FusionMamba, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.checkpoint_format import FORMAT_VERSION, FormatError, migrate
from fusion_mamba_ros.perception.documents import check_bounds, parse_json
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

MOST_SIDE = 4096
"""Maximum width and height of the network's canvas, in pixels."""
_METADATA_KEY = "fusion_mamba"
_LARGEST_HALF = torch.finfo(torch.float16).max
_MOST_METADATA_CHARACTERS = 4_000_000
_MOST_NAME_CHARACTERS = 200
_MOST_ERROR_CHARACTERS = 300
# A deeper network is built only after a check that the file holds its tensors.
_DSSF_COUNT_BUILT_UNSEEN = 8
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


def save_checkpoint(
    path: str | os.PathLike[str],
    model: FusionMambaDetector,
    metadata: CheckpointMetadata,
    *,
    half: bool = False,
) -> None:
    """Write ``model`` and ``metadata`` to ``path``. An earlier file is replaced only when the new one is complete.

    ``half`` stores matrices and filters as float16 (half the size). Vectors (norms, biases, running statistics) stay
    float32. Raises :class:`CheckpointError`, for example if the disk is full; the earlier file is then unchanged.
    """
    document = {"format": FORMAT_VERSION, "model": model.config.to_dict(), **metadata.to_dict()}
    if len(metadata.class_names) != model.config.classes:
        raise CheckpointError(
            f"checkpoint '{path}' was not written: {len(metadata.class_names)} class names for a model of "
            f"{model.config.classes} classes"
        )
    tensors = {name: _stored(tensor.detach(), half=half) for name, tensor in _tensors(model).items()}
    try:
        data = save(tensors, {_METADATA_KEY: json.dumps(document, allow_nan=False)})
        write_atomically(path, data)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint '{path}' could not be written ({error.strerror}); an earlier file of that name is untouched"
        ) from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint '{path}' was not written: metadata is not JSON ({error})") from error


def read_metadata(path: str | os.PathLike[str]) -> tuple[ModelConfig, CheckpointMetadata]:
    """Return the model configuration and the metadata of a checkpoint without reading its tensors."""
    with _opened(path) as file:
        return _parse(path, file.metadata())


def is_half(path: str | os.PathLike[str]) -> bool:
    """Return whether a checkpoint was stored with ``half``."""
    with _opened(path) as file:
        return any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[FusionMambaDetector, CheckpointMetadata]:
    """Load a checkpoint. Return its detector (on the CPU, float32, in evaluation mode) and its metadata.

    Raises :class:`CheckpointError` if the file is missing, is not a safetensors file, has no Fusion-Mamba metadata, has
    a newer format, or holds other tensors than its configuration requires. Code from the file is never run.
    """
    with _opened(path) as file:
        config, metadata = _parse(path, file.metadata())
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no mapping
        operator = config.operator
        if isinstance(operator, FusionMamba) and operator.dssf_count > _DSSF_COUNT_BUILT_UNSEEN:
            _compare(path, _shapes_of_deep(config, operator), found)
        model = FusionMambaDetector(config)
        expected = _tensors(model)
        _compare(path, _shapes(expected), found)
        with torch.no_grad():
            for name, tensor in expected.items():
                tensor.copy_(file.get_tensor(name))
    return model.eval(), metadata


def _opened(path: str | os.PathLike[str]) -> Any:
    if not Path(path).is_file():
        raise CheckpointError(f"checkpoint '{path}' does not exist: give the path of a .safetensors file")
    try:
        return safe_open(os.fspath(path), framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"checkpoint '{path}' is not a complete safetensors file ({error})") from error


def _parse(path: str | os.PathLike[str], header: Mapping[str, str] | None) -> tuple[ModelConfig, CheckpointMetadata]:
    text = (header or {}).get(_METADATA_KEY)
    if text is None:
        raise CheckpointError(
            f"checkpoint '{path}' carries no '{_METADATA_KEY}' metadata: it was not written by this package"
        )
    if len(text) > _MOST_METADATA_CHARACTERS:
        raise CheckpointError(
            f"checkpoint '{path}' has {len(text)} characters of metadata: at most {_MOST_METADATA_CHARACTERS} are read"
        )
    try:
        document = parse_json(text)
        check_bounds(document)
        document = migrate(document)
        config = ModelConfig.from_dict(document["model"], stored=True)
        metadata = CheckpointMetadata.from_dict(document)
    except FormatError as error:
        raise CheckpointError(f"checkpoint '{path}' {error}") from error
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        reason = str(error)[:_MOST_ERROR_CHARACTERS]
        raise CheckpointError(
            f"checkpoint '{path}' has unusable metadata ({type(error).__name__}: {reason})"
        ) from error
    if len(metadata.class_names) != config.classes:
        raise CheckpointError(
            f"checkpoint '{path}' names {len(metadata.class_names)} classes, its model has {config.classes}"
        )
    return config, metadata


def _tensors(model: FusionMambaDetector) -> dict[str, torch.Tensor]:
    """Return the model's tensors by name. A tensor that several modules share appears only under its first name."""
    unique: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            unique[name] = tensor
    return unique


def _stored(tensor: torch.Tensor, *, half: bool) -> torch.Tensor:
    tensor = tensor.cpu()
    if half and tensor.is_floating_point() and tensor.ndim >= 2 and bool((tensor.abs() <= _LARGEST_HALF).all()):
        tensor = tensor.half()
    # Copy a view into a larger storage (for example a channel slice), because it cannot be stored directly.
    return tensor.contiguous().clone() if tensor.untyped_storage().nbytes() != tensor.nbytes else tensor.contiguous()


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _shapes_of_deep(config: ModelConfig, operator: FusionMamba) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the tensors of ``config`` without building the whole model.

    The DSSF modules in a row are equal, so only one of them is built.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    shallow = replace(config, operator=replace(operator, dssf_count=1))
    for name, shape in _shapes(_tensors(FusionMambaDetector(shallow))).items():
        count = operator.dssf_count if ".dssf.0." in name else 1
        shapes |= {name.replace(".dssf.0.", f".dssf.{number}."): shape for number in range(count)}
    return shapes


def _compare(
    path: str | os.PathLike[str], expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    reshaped = [name for name in expected if name in found and expected[name] != found[name]]
    if not (missing or extra or reshaped):
        return
    name = (missing or extra or reshaped)[0]
    if missing:
        example = f"'{name}' is missing"
    elif extra:
        example = f"'{name}' is unknown"
    else:
        example = f"'{name}' is {found[name]} instead of {expected[name]}"
    raise CheckpointError(
        f"checkpoint '{path}' holds another model's tensors than its configuration asks for: {len(missing)} missing, "
        f"{len(extra)} unknown, {len(reshaped)} of another shape (for example {example})"
    )
