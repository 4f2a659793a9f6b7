# SPDX-License-Identifier: Apache-2.0
"""One `.safetensors` file that holds a detector and everything needed to use it: tensors and one JSON document."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

FORMAT_VERSION = 2
_OLDEST_FORMAT = 1
_METADATA_KEY = "fusion_mamba"
_LARGEST_HALF = torch.finfo(torch.float16).max
_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, written or used; the message is one sentence for the user."""


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a user of the weights must know, next to the model configuration that the model itself carries.

    ``class_names``: one for each class index. ``input_size``: (width, height) of the network's canvas, pixels, both
    divisible by 32. ``thermal``: scaling and polarity of the training pictures. ``homography``: 3x3, thermal to RGB in
    normalised coordinates, of the training data (identity: aligned). ``training``: provenance (data sets, splits,
    commit, recipe). ``metrics``: ``{"modes": {"fused": {"mAP": ..., "mAP50": ..., "per_class": {...}}, ...}}``.
    """

    class_names: tuple[str, ...]
    input_size: tuple[int, int]
    thermal: ThermalScaling = field(default_factory=ThermalScaling)
    homography: tuple[tuple[float, ...], ...] = _IDENTITY
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        width, height = self.input_size
        if width <= 0 or height <= 0 or width % 32 or height % 32:
            raise ValueError(f"input size is {width}x{height}: expected multiples of 32")
        if not self.class_names or len(set(self.class_names)) != len(self.class_names):
            raise ValueError(f"class names are {list(self.class_names)}: expected at least one, all different")
        if len(self.homography) != 3 or any(len(row) != 3 for row in self.homography):
            raise ValueError(f"homography is {self.homography}: expected 3 rows of 3 numbers")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "class_names": list(self.class_names),
            "input_size": list(self.input_size),
            "thermal": self.thermal.to_dict(),
            "homography": [list(row) for row in self.homography],
            "training": dict(self.training),
            "metrics": dict(self.metrics),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CheckpointMetadata:
        """Return the metadata that ``to_dict`` described."""
        width, height = values["input_size"]
        return cls(
            class_names=tuple(str(name) for name in values["class_names"]),
            input_size=(int(width), int(height)),
            thermal=ThermalScaling.from_dict(values.get("thermal", {})),
            homography=tuple(tuple(float(x) for x in row) for row in values.get("homography", _IDENTITY)),
            training=values.get("training", {}),
            metrics=values.get("metrics", {}),
        )


def save_checkpoint(
    path: str | os.PathLike[str],
    model: FusionMambaDetector,
    metadata: CheckpointMetadata,
    *,
    half: bool = False,
) -> None:
    """Write ``model`` and ``metadata`` to ``path``, replacing an earlier file only once the new one is complete.

    ``half`` stores matrices and filters as float16 (half the size); vectors (norms, biases, running statistics) stay
    float32. Raises :class:`CheckpointError`, for example on a full disk, with the earlier file untouched.
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


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[FusionMambaDetector, CheckpointMetadata]:
    """Return the detector (on the CPU, float32, in evaluation mode) and the metadata of a checkpoint.

    Raises :class:`CheckpointError` if the file is missing, is no safetensors file, carries no Fusion-Mamba metadata, is
    of a newer format, or holds other tensors than the configuration in it asks for. Never runs code from the file.
    """
    with _opened(path) as file:
        config, metadata = _parse(path, file.metadata())
        model = FusionMambaDetector(config)
        expected = _tensors(model)
        names = file.keys()
        _compare(path, expected, {name: tuple(file.get_slice(name).get_shape()) for name in names})
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
    try:
        document = json.loads(text)
        version = document["format"]
        if version not in range(_OLDEST_FORMAT, FORMAT_VERSION + 1):
            raise CheckpointError(
                f"checkpoint '{path}' has format {version}, this package reads format {_OLDEST_FORMAT} to "
                f"{FORMAT_VERSION}: install the version of this package that wrote it, or a newer one"
            )
        config = ModelConfig.from_dict(document["model"], stored=True)
        metadata = CheckpointMetadata.from_dict(document)
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint '{path}' has unusable metadata ({type(error).__name__}: {error})") from error
    if len(metadata.class_names) != config.classes:
        raise CheckpointError(
            f"checkpoint '{path}' names {len(metadata.class_names)} classes, its model has {config.classes}"
        )
    return config, metadata


def _tensors(model: FusionMambaDetector) -> dict[str, torch.Tensor]:
    """Return the model's tensors by name; one that several modules share stands under its first name only."""
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
    # A copy, because a view into a larger storage (one channel slice, say) cannot be stored as it is.
    return tensor.contiguous().clone() if tensor.untyped_storage().nbytes() != tensor.nbytes else tensor.contiguous()


def _compare(
    path: str | os.PathLike[str], expected: Mapping[str, torch.Tensor], found: Mapping[str, tuple[int, ...]]
) -> None:
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    reshaped = [name for name in expected if name in found and tuple(expected[name].shape) != found[name]]
    if not (missing or extra or reshaped):
        return
    name = (missing or extra or reshaped)[0]
    if missing:
        example = f"'{name}' is missing"
    elif extra:
        example = f"'{name}' is unknown"
    else:
        example = f"'{name}' is {found[name]} instead of {tuple(expected[name].shape)}"
    raise CheckpointError(
        f"checkpoint '{path}' holds another model's tensors than its configuration asks for: {len(missing)} missing, "
        f"{len(extra)} unknown, {len(reshaped)} of another shape (for example {example})"
    )
