# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba export`: write a checkpoint as a file for a runtime other than PyTorch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail, is_missing_torch
from fusion_mamba_ros.commands.threads_option import ThreadsOption

_FORMATS = ("onnx",)
_PRECISIONS = ("fp32",)
_SCANS = ("operator", "standard")


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("export")
    def export(
        checkpoint: Annotated[Path, typer.Argument(help="Checkpoint (.safetensors).")],
        out: Annotated[Path, typer.Option(help="File to write (.onnx).")],
        format_: Annotated[str, typer.Option("--format", help="Format of the file: onnx.")] = "onnx",
        size: Annotated[str | None, typer.Option(help="Canvas WxH; without it the checkpoint's.")] = None,
        batch: Annotated[str, typer.Option(help="Images in each run: dynamic, or a number.")] = "dynamic",
        precision: Annotated[str, typer.Option(help="fp32.")] = "fp32",
        scan: Annotated[
            str, typer.Option(help="operator (needs the library of this package), or standard (any runtime, slower).")
        ] = "operator",
        threads: ThreadsOption = 0,
    ) -> None:
        """Write a checkpoint as one file that runs without PyTorch, and check that it computes the same.

        The file holds the network, the decoding of boxes and the checkpoint's metadata. Name it wherever a checkpoint
        can be named.

        Example: fusion-mamba export best.safetensors --out best.onnx
        """
        try:
            _require_choice("--format", format_, _FORMATS)
            _require_choice("--precision", precision, _PRECISIONS)
            _require_choice("--scan", scan, _SCANS)
            canvas, images = _parse_size(size), _parse_batch(batch)
            from fusion_mamba_ros.deployment.onnx_export import OnnxOptions, export_onnx
            from fusion_mamba_ros.perception.threads import set_threads

            set_threads(threads)
            agreement = export_onnx(checkpoint, out, OnnxOptions(canvas, images, scan))
        except ImportError as error:
            remedy = "install it with 'pip install onnx onnxruntime'"
            fail(error if is_missing_torch(error) else ValueError(f"export needs {error.name}: {remedy}"))
        except (ValueError, OSError) as error:
            fail(error)
        typer.echo(f"written: {out} ({out.stat().st_size / 1e6:.1f} MB)")
        typer.echo(
            f"largest differences from PyTorch on random images: {agreement.box_pixels:.1e} pixels, "
            f"{agreement.score:.1e} in the scores"
        )


def _require_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{option} is '{value}': choose {', '.join(choices)}")


def _parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise ValueError(f"--size is '{text}': write width x height, for example 640x512")
    return int(match[1]), int(match[2])


def _parse_batch(text: str) -> int | None:
    if text == "dynamic":
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise ValueError(f"--batch is '{text}': write dynamic, or a number from 1 to 1000")
    return int(text)
