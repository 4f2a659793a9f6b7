# SPDX-License-Identifier: Apache-2.0
"""Build a detector with start weights from a published YOLO, for all streams, the neck and the head."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.network.backbones.yolo import SCALES
from fusion_mamba_ros.training.grey_stem import grey_stem
from fusion_mamba_ros.training.restricted_unpickler import Shell, read_foreign_checkpoint

# Layer number in the published models -> our name of the layer. The backbone has the numbers 0 to 9 in both models.
_BACKBONE = {
    number: f"sections.{section}.{place}"
    for section, first, count in ((0, 0, 5), (1, 5, 2), (2, 7, 3))
    for place, number in enumerate(range(first, first + count))
}
_NECKS = {
    "yolov8": {12: "top_down4", 15: "top_down3", 16: "reduce3", 18: "bottom_up4", 19: "reduce4", 21: "bottom_up5"},
    "yolov5": {
        10: "narrow5",
        13: "top_down4",
        14: "narrow4",
        17: "top_down3",
        18: "reduce3",
        20: "bottom_up4",
        21: "reduce4",
        23: "bottom_up5",
    },
}
_HEADS = {"yolov8": 22, "yolov5": 24}
_MOST_MODULES, _MOST_DEPTH = 100_000, 64
_BRANCHES = {"cv2": "box_branches", "cv3": "class_branches"}


@dataclass(frozen=True)
class ForeignWeights:
    """Weights of a published YOLO: ``tensors`` by their published names, and the properties of the model."""

    tensors: Mapping[str, Tensor]
    class_names: tuple[str, ...]
    backbone: str
    scale: str


def read_foreign_weights(path: str | Path) -> ForeignWeights:
    """Return the weights in an Ultralytics YOLOv8 or YOLOv5 checkpoint, the averaged ones if the file has any.

    No code from the file is run. Raises ``ValueError`` with a one-sentence message if the file is unsafe, damaged or
    holds another model.
    """
    content = read_foreign_checkpoint(path)
    model = content
    if isinstance(content, dict) and ("model" in content or "ema" in content):
        model = content.get("ema") if content.get("ema") is not None else content.get("model")
    try:
        tensors = dict(model) if isinstance(model, dict) else dict(_tensors_of(model))
        tensors = {name: value.float() for name, value in tensors.items() if _is_weight(name, value)}
        backbone = "yolov5" if any(name.startswith("model.2.cv3.") for name in tensors) else "yolov8"
        scale = _scale_of(backbone, tensors)
        class_names = _class_names(model)
    except KeyError as error:
        raise ValueError(f"'{path}' is no YOLOv8 or YOLOv5 detector: it has no tensor {error}") from error
    except (TypeError, AttributeError, LookupError, RuntimeError) as error:
        # Attributes of foreign objects can have any type.
        raise ValueError(f"'{path}' is no YOLOv8 or YOLOv5 detector ({type(error).__name__}: {error})") from error
    if scale is None:
        raise ValueError(f"'{path}' has channels or depths of no known scale: use YOLOv8 or YOLOv5 n, s, m, l or x")
    return ForeignWeights(tensors, class_names, backbone, scale)


def build_detector(weights: ForeignWeights, changes: Mapping[str, Any]) -> tuple[FusionMambaDetector, int, int]:
    """Return a detector with start weights, the number of tensors taken from ``weights``, and its number of tensors.

    ``changes``: fields of `ModelConfig`. Backbone and scale always come from the weights; the number of classes comes
    from the weights unless ``changes`` sets it. Every stream gets the same backbone weights. If a stem does not have 3
    channels, the sum of the RGB filters is divided evenly among its channels.
    The fusion blocks keep their random start weights, and so does the head if the weights are of a YOLOv5 with anchors.
    Raises ``ValueError`` if a tensor of the backbone or the neck is missing.
    """
    classes = len(weights.class_names)
    values = {"classes": classes, **changes, "backbone": weights.backbone, "scale": weights.scale}
    model = FusionMambaDetector(ModelConfig.from_dict(values))
    own = model.state_dict()
    found: dict[str, Tensor] = {}
    for name, tensor in weights.tensors.items():
        for target in _targets(name, weights.backbone, tuple(model.config.modalities)):
            if target not in own:
                continue
            is_stem = target.endswith("sections.0.0.conv.weight") and tensor.ndim == 4
            value = grey_stem(tensor, own[target].shape[1]) if is_stem else tensor
            if target == "head.projection":
                value = value.flatten()
            if value.shape == own[target].shape:
                found[target] = value
    missing = [name for name in own if name.startswith(("backbones.", "neck.")) and name not in found]
    if missing:
        raise ValueError(f"the weights lack {len(missing)} tensors of backbone and neck, for example '{missing[0]}'")
    model.load_state_dict(found, strict=False)
    return model, len(found), len(own)


def _targets(name: str, backbone: str, modalities: tuple[str, ...]) -> list[str]:
    match = re.fullmatch(r"model\.(\d+)\.(.+)", name)
    if match is None:
        return []
    number, rest = int(match[1]), match[2]
    if number in _BACKBONE:
        return [f"backbones.{stream}.{_BACKBONE[number]}.{_layer_name(rest)}" for stream in modalities]
    if number in _NECKS[backbone]:
        return [f"neck.{_NECKS[backbone][number]}.{_layer_name(rest)}"]
    if number != _HEADS[backbone]:
        return []
    if rest == "dfl.conv.weight":
        return ["head.projection"]
    branch, _, leaf = rest.partition(".")
    return [f"head.{_BRANCHES[branch]}.{_layer_name(leaf)}"] if branch in _BRANCHES else []


def _layer_name(name: str) -> str:
    name = re.sub(r"\bm\.(\d+)", r"bottlenecks.\1", name)
    name = re.sub(r"\bcv(\d)\b", r"conv\1", name)
    return re.sub(r"\bbn\b", "norm", name)


def _is_weight(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and not value.is_complex()


def _tensors_of(module: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module and its submodules.

    Raises ``ValueError`` if the modules are too many or nested too deeply, as when they contain each other.
    """
    pending, count = [(module, "")], 0
    while pending:
        shell, prefix = pending.pop()
        count += 1
        if count > _MOST_MODULES or prefix.count(".") > _MOST_DEPTH:
            raise ValueError("the modules of the file contain each other without end")
        if not isinstance(shell, Shell):
            continue
        for group in ("_parameters", "_buffers"):
            yield from ((f"{prefix}{name}", value) for name, value in vars(shell).get(group, {}).items())
        pending += [(child, f"{prefix}{name}.") for name, child in vars(shell).get("_modules", {}).items()]


def _class_names(model: Any) -> tuple[str, ...]:
    names = vars(model).get("names") if isinstance(model, Shell) else None
    if isinstance(names, dict) and names and all(isinstance(index, int) for index in names):
        return tuple(str(names[index]) for index in sorted(names))
    if isinstance(names, (list, tuple)) and names:
        return tuple(str(name) for name in names)
    return tuple(f"class_{index}" for index in range(80))


def _scale_of(backbone: str, tensors: Mapping[str, Tensor]) -> str | None:
    key = "conv.weight"
    channels = tuple(tensors[f"model.{number}.{key}"].shape[0] for number in (0, 1, 3, 5, 7))
    last = "cv3" if backbone == "yolov5" else "cv2"
    depths = tuple(
        1
        + max(
            (int(match[1]) for name in tensors if (match := re.match(rf"model\.{number}\.m\.(\d+)\.", name))),
            default=-1,
        )
        for number in (2, 4, 6, 8)
        if f"model.{number}.{last}.{key}" in tensors
    )
    scales: dict[Any, str] = {(found.channels, found.depths): name for name, found in SCALES[backbone].items()}
    scale = scales.get((channels, depths))
    return None if scale == "paper" else scale
