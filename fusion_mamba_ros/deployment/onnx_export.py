# SPDX-License-Identifier: Apache-2.0
"""Export a checkpoint as one ONNX file: network, decoding and metadata."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

import fusion_mamba_ros.deployment.onnx_operators  # noqa: F401  # registers the rules
from fusion_mamba_ros.deployment.export_check import Agreement, compare_with_pytorch
from fusion_mamba_ros.deployment.exported_model import (
    EXPORT_FORMAT,
    EXPORT_KEY,
    FINITE_OUTPUT,
    OPERATOR_SCAN,
    ROWS_OUTPUT,
    anchor_count,
)
from fusion_mamba_ros.deployment.onnx_graph import OnnxGraph
from fusion_mamba_ros.deployment.onnx_translation import ExportError, Translation, traced_input
from fusion_mamba_ros.network import FusionMambaDetector
from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.checkpoint import load_checkpoint
from fusion_mamba_ros.perception.checkpoint_metadata import METADATA_KEY, CheckpointMetadata, metadata_text


@dataclass(frozen=True)
class OnnxOptions:
    """Settings of an ONNX export.

    * ``size``: (width, height) of the canvas in pixels, None for that of the checkpoint.
    * ``batch``: number of images in each run, None for any number.
    * ``scan``: one of `SCANS`.
    """

    size: tuple[int, int] | None = None
    batch: int | None = None
    scan: str = OPERATOR_SCAN


class _DecodedDetector(nn.Module):
    """The detector from bytes to decoded rows, with a sum that is finite only if all raw outputs are."""

    def __init__(self, detector: FusionMambaDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, *images: Tensor) -> tuple[Tensor, Tensor]:
        names = self.detector.config.modalities
        levels = self.detector({name: image.float() / 255.0 for name, image in zip(names, images, strict=True)})
        return self.detector.decode(levels), sum((level.sum() for level in levels[1:]), levels[0].sum())


def export_onnx(checkpoint: str | os.PathLike[str], out: str | os.PathLike[str], options: OnnxOptions) -> Agreement:
    """Write the checkpoint as an ONNX file to ``out`` after a check that it computes the same as PyTorch.

    Returns the differences that the check found. The file runs in ONNX Runtime with the operator library of this
    package. Raises `CheckpointError` if the checkpoint is unusable, `ExportError` if the model cannot be exported or
    its output differs from that of PyTorch, `EngineError` if the operator library is missing, and ``OSError`` if the
    file cannot be written.
    """
    detector, metadata = load_checkpoint(checkpoint)
    digest = hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest()
    model = onnx_model(detector, metadata, options, {"source": Path(checkpoint).name, "source_sha256": digest})
    data = model.SerializeToString(deterministic=True)
    size, scan_operator = options.size or metadata.input_size, options.scan == OPERATOR_SCAN
    agreement = compare_with_pytorch(data, detector, size, options.batch or 2, scan_operator=scan_operator)
    if not agreement.holds:
        raise ExportError(
            f"model '{out}' was not written: it differs from PyTorch by {agreement.box_pixels:.3g} pixels and "
            f"{agreement.score:.3g} in the scores"
        )
    write_atomically(out, data)
    return agreement


def onnx_model(
    detector: FusionMambaDetector,
    metadata: CheckpointMetadata,
    options: OnnxOptions,
    provenance: Mapping[str, Any],
) -> onnx.ModelProto:
    """Return ``detector`` as an ONNX model that carries ``metadata`` and ``provenance``.

    Inputs: one uint8 tensor (batch, C, H, W) for each modality, by name. Outputs: `rows` (batch, anchors, 4 + classes)
    with x1 y1 x2 y2 in pixels of the canvas and then the class scores, and `finite`, a number that is NaN or infinite
    if the network's raw output holds NaN or infinity.
    """
    if options.size is not None:
        metadata = dataclasses.replace(metadata, input_size=options.size)
    width, height = metadata.input_size
    modalities = detector.config.modalities
    # With channels last, the network multiplies by constant matrices from the right, which runtimes prepare once.
    detector = detector.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    examples = tuple(traced_input(channels, height, width) for channels in modalities.values())
    with torch.no_grad():
        program = torch.export.export(_DecodedDetector(detector), examples, strict=False)

    graph = OnnxGraph()
    translation = Translation(graph, {"bytes": set(modalities), "scan": options.scan})
    rows, finite = translation.run(program, {name: name for name in modalities})
    graph.rename_output(rows, ROWS_OUTPUT)
    graph.rename_output(finite, FINITE_OUTPUT)
    batch: int | str = options.batch or "batch"
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, [batch, channels, height, width])
        for name, channels in modalities.items()
    ]
    row_shape = [batch, anchor_count(width, height), 4 + detector.config.classes]
    outputs = [
        helper.make_tensor_value_info(ROWS_OUTPUT, TensorProto.FLOAT, row_shape),
        helper.make_tensor_value_info(FINITE_OUTPUT, TensorProto.FLOAT, []),
    ]
    properties = {
        METADATA_KEY: metadata_text(detector.config.to_dict(), metadata),
        EXPORT_KEY: json.dumps({"format": EXPORT_FORMAT, "precision": "fp32", "scan": options.scan, **provenance}),
    }
    model = graph.model(inputs, outputs, properties)
    onnx.checker.check_model(model)
    return model


__all__ = ["ExportError", "OnnxOptions", "export_onnx", "onnx_model"]
