# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba import-weights`: make start weights of a fused detector from a published network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("import-weights")
    def import_weights(
        source: Annotated[Path, typer.Argument(help="EfficientNet-Lite0, YOLOv8 or YOLOv5 file.")],
        out: Annotated[Path, typer.Option(help="Checkpoint to write (.safetensors).")],
        set_: Annotated[
            list[str] | None,
            typer.Option("--set", help="Field of the model: --set fusion=add --set modalities=\\[rgb]"),
        ] = None,
    ) -> None:
        """Make start weights for training from EfficientNet-Lite0 (ImageNet) or an Ultralytics YOLOv8 or YOLOv5.

        EfficientNet-Lite0 becomes the backbone of every stream. YOLO weights are copied to every stream, the neck and
        the head. Layers without a counterpart get random weights. No code in the file is run. Use the result with
        `train --weights`. It is not a trained detector.

        Example: fusion-mamba import-weights efficientnet-lite0-57934424.pth --out start.safetensors
        """
        import torch

        from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
        from fusion_mamba_ros.training.import_efficientnet import build_efficientnet_detector, read_efficientnet
        from fusion_mamba_ros.training.import_weights import build_detector, read_foreign_weights
        from fusion_mamba_ros.training.recipe import parse_assignments

        try:
            changes = parse_assignments(set_ or [])
            torch.manual_seed(0)
            tensors = read_efficientnet(source)
            if tensors is not None:
                model, found, total = build_efficientnet_detector(tensors, changes)
                class_names = tuple(f"class_{index}" for index in range(model.config.classes))
            else:
                weights = read_foreign_weights(source)
                model, found, total = build_detector(weights, changes)
                class_names = weights.class_names
            provenance = {"imported_from": source.name, "tensors_imported": found, "tensors": total}
            save_checkpoint(out, model, CheckpointMetadata(class_names, (640, 640), training=provenance))
        except (ValueError, OSError) as error:
            fail(error)
        kind = f"{model.config.backbone}, scale {model.config.scale}"
        typer.echo(f"{kind}: {found} of {total} tensors came from {source.name} -> {out}")
