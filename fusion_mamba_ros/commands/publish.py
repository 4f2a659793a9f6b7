# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba publish`: make a checkpoint for distribution, at half the size and with its measured metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("publish")
    def publish(
        checkpoint: Annotated[Path, typer.Argument(help="Checkpoint that training wrote.")],
        metrics: Annotated[Path, typer.Option(help="metrics.json that `fusion-mamba eval` wrote for it.")],
        out: Annotated[Path, typer.Option(help="Checkpoint to write.")],
        note: Annotated[str, typer.Option(help="Sentence kept with the training provenance.")] = "",
    ) -> None:
        """Store a checkpoint in float16 with its measured metrics. The node shows the metrics in its diagnostics.

        Example: fusion-mamba publish runs/mine/best.safetensors --metrics eval/metrics.json --out mine.safetensors
        """
        from dataclasses import replace

        from fusion_mamba_ros.perception.checkpoint import load_checkpoint, save_checkpoint
        from fusion_mamba_ros.perception.documents import parse_json

        try:
            model, metadata = load_checkpoint(checkpoint)
            try:
                measured = parse_json(metrics.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ValueError(
                    f"metrics '{metrics}' cannot be read as JSON: give the file that eval wrote"
                ) from error
            if not isinstance(measured, dict) or "modes" not in measured:
                raise ValueError(f"metrics '{metrics}' has no 'modes': give the metrics.json that eval wrote")
            # Keep file names only: the local folders are private and useless to the recipients.
            for place in ("checkpoint", "data"):
                if isinstance(measured.get(place), str):
                    measured[place] = ", ".join(Path(path).name for path in measured[place].split(", "))
            training = {**metadata.training, **({"note": note} if note else {})}
            save_checkpoint(out, model, replace(metadata, metrics=measured, training=training), half=True)
        except (ValueError, OSError) as error:
            fail(error)
        typer.echo(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
