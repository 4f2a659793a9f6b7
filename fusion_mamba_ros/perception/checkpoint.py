# SPDX-License-Identifier: Apache-2.0
"""Read and write checkpoints: `.safetensors` files with the tensors of a detector and its metadata as JSON.

This module needs PyTorch. `checkpoint_metadata` reads the metadata alone without it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import torch
from safetensors.torch import save

from fusion_mamba_ros.network import FusionMamba, FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.checkpoint_format import current_tensor_names
from fusion_mamba_ros.perception.checkpoint_metadata import (
    MALFORMED,
    METADATA_KEY,
    MOST_SIDE,
    CheckpointError,
    CheckpointMetadata,
    StoredDocument,
    metadata_text,
    open_checkpoint,
    parse_metadata_text,
    read_document,
    unusable,
)

__all__ = [
    "MOST_SIDE",
    "CheckpointError",
    "CheckpointMetadata",
    "is_half",
    "load_checkpoint",
    "read_metadata",
    "save_checkpoint",
]

_LARGEST_HALF = torch.finfo(torch.float16).max
# A deeper network is built only after a check that the file holds its tensors.
_DSSF_COUNT_BUILT_UNSEEN = 8


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
    if len(metadata.class_names) != model.config.classes:
        raise CheckpointError(
            f"checkpoint '{path}' was not written: {len(metadata.class_names)} class names for a model of "
            f"{model.config.classes} classes"
        )
    tensors = {name: _stored(tensor.detach(), half=half) for name, tensor in _tensors(model).items()}
    try:
        data = save(tensors, {METADATA_KEY: metadata_text(model.config.to_dict(), metadata)})
        write_atomically(path, data)
    except OSError as error:
        raise CheckpointError(
            f"checkpoint '{path}' could not be written ({error.strerror}); an earlier file of that name is untouched"
        ) from error
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint '{path}' was not written: metadata is not JSON ({error})") from error


def read_metadata(path: str | os.PathLike[str]) -> tuple[ModelConfig, CheckpointMetadata]:
    """Return the model configuration and the metadata of a checkpoint without reading its tensors."""
    return _built(read_document(path))


def is_half(path: str | os.PathLike[str]) -> bool:
    """Return whether a checkpoint was stored with ``half``."""
    with open_checkpoint(path, framework="np") as file:
        return any(file.get_slice(name).get_dtype() == "F16" for name in file.keys())  # noqa: SIM118


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[FusionMambaDetector, CheckpointMetadata]:
    """Load a checkpoint. Return its detector (on the CPU, float32, in evaluation mode) and its metadata.

    Raises :class:`CheckpointError` if the file is missing, is not a safetensors file, has no Fusion-Mamba metadata, has
    a newer format, or holds other tensors than its configuration requires. Code from the file is never run.
    """
    with open_checkpoint(path, framework="pt") as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
        document = parse_metadata_text(text, f"checkpoint '{path}'")
        config, metadata = _built(document)
        stored = current_tensor_names(file.keys(), document.version)
        found = {name: tuple(file.get_slice(stored[name]).get_shape()) for name in stored}
        operator = config.operator
        if isinstance(operator, FusionMamba) and operator.dssf_count > _DSSF_COUNT_BUILT_UNSEEN:
            _compare(path, _shapes_of_deep(config, operator), found)
        model = FusionMambaDetector(config)
        expected = _tensors(model)
        _compare(path, _shapes(expected), found)
        with torch.no_grad():
            for name, tensor in expected.items():
                tensor.copy_(file.get_tensor(stored[name]))
    return model.eval(), metadata


def _built(document: StoredDocument) -> tuple[ModelConfig, CheckpointMetadata]:
    """Return the checked model configuration and the metadata of ``document``."""
    try:
        config = ModelConfig.from_dict(document.model, stored=True)
    except MALFORMED as error:
        raise unusable(document.source, error) from error
    names = document.metadata.class_names
    if len(names) != config.classes:
        raise CheckpointError(f"{document.source} names {len(names)} classes, its model has {config.classes}")
    return config, document.metadata


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
        f"checkpoint '{path}' holds tensors that do not fit its configuration: {len(missing)} missing, "
        f"{len(extra)} unknown, {len(reshaped)} of another shape (for example {example})"
    )
