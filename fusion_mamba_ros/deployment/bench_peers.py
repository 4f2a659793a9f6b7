# SPDX-License-Identifier: Apache-2.0
"""Build models of the same architecture with random weights, to compare the speed of a detector with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import save_checkpoint
from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata, StoredDocument


def peer_configs(config: ModelConfig) -> dict[str, ModelConfig]:
    """Return the peers of a detector by name: fused by `add`, and each modality alone.

    A detector with one modality has none, and one that is fused by `add` has only the latter.
    """
    if len(config.modalities) == 1:
        return {}
    peers = {}
    if config.fusion != "add":
        peers["add"] = dataclasses.replace(config, fusion="add", operator=None)
    for name, channels in config.modalities.items():
        peers[f"{name} alone"] = dataclasses.replace(config, modalities={name: channels})
    return peers


def write_peers(document: StoredDocument, canvas: tuple[int, int], folder: Path, *, exported: bool) -> dict[str, Path]:
    """Write the peers of a detector to ``folder`` and return their files by name.

    ``document`` is the metadata of the detector. The peers have its scale, classes and backbone, and ``canvas`` as
    input size. With ``exported`` they are ONNX files, otherwise checkpoints. Raises ``ValueError`` if the configuration
    is unusable, and ``ImportError`` if the exporter is not installed.
    """
    config = ModelConfig.from_dict(document.model, stored=True)
    metadata = CheckpointMetadata(document.metadata.class_names, canvas, document.metadata.thermal)
    files = {}
    for name, peer in peer_configs(config).items():
        path = folder / f"{name.replace(' ', '_')}_{canvas[0]}x{canvas[1]}.safetensors"
        with torch.random.fork_rng():
            torch.manual_seed(0)
            save_checkpoint(path, FusionMambaDetector(peer), metadata)
        files[name] = path
        if exported:
            from fusion_mamba_ros.deployment.onnx_export import OnnxOptions, export_onnx

            files[name] = path.with_suffix(".onnx")
            export_onnx(path, files[name], OnnxOptions())
    return files
