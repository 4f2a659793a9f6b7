# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba import-weights`: a YOLO trained on COCO as the start of a fused detector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("import-weights")
    def import_weights(
        source: Annotated[Path, typer.Argument(help="Ultralytics YOLOv8 or YOLOv5 checkpoint (.pt).")],
        out: Annotated[Path, typer.Option(help="Checkpoint to write (.safetensors).")],
        set_: Annotated[
            list[str] | None,
            typer.Option("--set", help="Field of the model: --set dssf_count=1 --set modalities=\\[rgb]"),
        ] = None,
    ) -> None:
        """Make a start for training from an Ultralytics YOLOv8 or YOLOv5 checkpoint.

        Its weights go onto every stream, the neck and the head; fusion blocks start at random. No code in the file
        is run. The result is a start for `train --weights`, not a detector to use.

        Example: fusion-mamba import-weights yolov8s.pt --out start.safetensors --set dssf_count=2
        """
        import torch

        from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, save_checkpoint
        from fusion_mamba_ros.training.import_weights import build_detector, read_foreign_weights
        from fusion_mamba_ros.training.recipe import parse_assignments

        try:
            weights = read_foreign_weights(source)
            torch.manual_seed(0)
            model, found, total = build_detector(weights, parse_assignments(set_ or []))
            provenance = {"imported_from": source.name, "tensors_imported": found, "tensors": total}
            save_checkpoint(out, model, CheckpointMetadata(weights.class_names, (640, 640), training=provenance))
        except (ValueError, OSError) as error:
            fail(error)
        typer.echo(f"{weights.backbone}{weights.width}: {found} of {total} tensors came from {source.name} -> {out}")
