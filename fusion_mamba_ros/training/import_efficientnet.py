# SPDX-License-Identifier: Apache-2.0
"""Build a detector whose backbones start from the weights of an EfficientNet-Lite0 that was trained on ImageNet."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.network.backbones.efficientnet_lite0 import STAGES
from fusion_mamba_ros.training.grey_stem import grey_stem

BACKBONE = "efficientnet_lite0"
_STEMS = ("_conv_stem.weight", "conv_stem.weight")
_NORM_LEAVES = ("weight", "bias", "running_mean", "running_var")


def read_efficientnet(path: str | Path) -> dict[str, Tensor] | None:
    """Return the state dict of an EfficientNet in ``path`` by its published names, or None for another model.

    The file can be one of `torch.save` or a safetensors file. A file of `torch.save` is read with ``weights_only``, so
    no code in it is run. Raises ``ValueError`` with a one-sentence message if a safetensors file is damaged.
    """
    if Path(path).suffix == ".safetensors":
        try:
            content: Any = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"'{path}' is not a complete safetensors file ({error})") from error
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError):
            return None
    if not isinstance(content, Mapping) or not any(stem in content for stem in _STEMS):
        return None
    return {name: value for name, value in content.items() if isinstance(value, Tensor)}


def build_efficientnet_detector(
    tensors: Mapping[str, Tensor], changes: Mapping[str, Any]
) -> tuple[FusionMambaDetector, int, int]:
    """Return a detector with start weights, the number of tensors taken from ``tensors``, and its number of tensors.

    ``tensors``: state dict with the names of the port of the TensorFlow models (`_blocks.0._depthwise_conv.weight`) or
    with those of timm (`blocks.0.0.conv_dw.weight`). ``changes``: fields of `ModelConfig`.
    Every stream gets the same backbone weights. If a stem does not have 3 channels, the sum of the RGB filters is
    divided evenly among its channels. Fusion, neck and head keep their random start weights.
    Raises ``ValueError`` with a one-sentence message if a tensor is missing or has another shape.
    """
    values = {"classes": 1, **changes, "backbone": BACKBONE}
    model = FusionMambaDetector(ModelConfig.from_dict(values))
    names = _timm_names() if "conv_stem.weight" in tensors else _published_names()
    own, found = model.state_dict(), {}
    for stream in model.config.modalities:
        for name, layer in names.items():
            target = f"backbones.{stream}.{layer}"
            if name not in tensors:
                raise ValueError(f"the weights have no tensor {name!r}: they are not those of an EfficientNet-Lite0")
            value = tensors[name].float()
            if name in _STEMS:
                value = grey_stem(value, own[target].shape[1])
            if value.shape != own[target].shape:
                raise ValueError(
                    f"tensor {name!r} of the weights is {tuple(value.shape)}, an EfficientNet-Lite0 has "
                    f"{tuple(own[target].shape)}: import the Lite0 model"
                )
            found[target] = value
    model.load_state_dict(found, strict=False)
    return model, len(found), len(own)


def _published_names() -> dict[str, str]:
    """Return a mapping from the names in the port of the TensorFlow models to those of our layers."""
    layers = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))
    return _layer("_conv_stem", "_bn0", "sections.0.1") | _block_names("_blocks.{number}.", layers, layers[1:])


def _timm_names() -> dict[str, str]:
    """Return a mapping from timm's names to those of our layers."""
    expanding = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))
    plain = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
    return _layer("conv_stem", "bn1", "sections.0.1") | _block_names("blocks.{stage}.{block}.", expanding, plain)


def _block_names(prefix: str, expanding: Sequence[tuple[str, str]], plain: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return a mapping from the names in all blocks to those of our layers.

    ``prefix`` is the name of a block. ``expanding`` and ``plain`` are the names of convolution and norm, in order, in
    blocks with and without expansion.
    """
    names: dict[str, str] = {}
    for place, (number, stage, block, expands) in _blocks().items():
        block_name = prefix.format(number=number, stage=stage, block=block)
        parts = ("expand", "depthwise", "project") if expands else ("depthwise", "project")
        for part, (conv, norm) in zip(parts, expanding if expands else plain, strict=True):
            names |= _layer(f"{block_name}{conv}", f"{block_name}{norm}", f"{place}.{part}")
    return names


def _layer(conv: str, norm: str, ours: str) -> dict[str, str]:
    return {f"{conv}.weight": f"{ours}.conv.weight"} | {
        f"{norm}.{leaf}": f"{ours}.norm.{leaf}" for leaf in _NORM_LEAVES
    }


def _blocks() -> dict[str, tuple[int, int, int, bool]]:
    """Return for each of our blocks its number in the network, stage, number in the stage, and whether it expands."""
    blocks: dict[str, tuple[int, int, int, bool]] = {}
    stage = 0
    for section, stages in enumerate(STAGES):
        place = 2 if section == 0 else 0
        for _, _, expansion, _, count in stages:
            for block in range(count):
                blocks[f"sections.{section}.{place}"] = (len(blocks), stage, block, expansion > 1)
                place += 1
            stage += 1
    return blocks
