# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba bench`: measure latency, memory and start-up time of detectors on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fusion_mamba_ros.commands.engine_option import EngineOption
from fusion_mamba_ros.commands.failure import fail


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("bench")
    def bench(
        models: Annotated[list[Path], typer.Argument(help="Checkpoints (.safetensors) and exported models (.onnx).")],
        threads: Annotated[
            list[int] | None,
            typer.Option("--threads", min=0, help="CPU threads; give it again for more (1, and one for each core)."),
        ] = None,
        precision: Annotated[
            list[str] | None,
            typer.Option(help="Of checkpoints: auto, fp32, fp16 or bf16; give it again for more (auto)."),
        ] = None,
        engine: EngineOption = "auto",
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        predictions: Annotated[int, typer.Option(min=1, help="Timed predictions of each row, at least.")] = 30,
        starts: Annotated[int, typer.Option(min=1, help="Fresh processes whose start-up time is measured.")] = 3,
        peers: Annotated[
            bool, typer.Option("--peers/--no-peers", help="Measure models of the same scale with random weights too.")
        ] = True,
        out: Annotated[Path, typer.Option(help="Folder for bench.json and bench.md.")] = Path("bench"),
    ) -> None:
        """Measure latency, throughput, memory and start-up time, for each engine, precision, threads and stage.

        Predicts on a procedural pair (RGB 640x480, thermal 640x512 with 16 bits) in fresh processes that take turns.
        Compares with models of the same scale that fuse by addition or use one camera, built with random weights. The
        files are written after each canvas and number of threads. Run it on a machine that does nothing else.

        Example: fusion-mamba bench best.safetensors best.onnx --threads 1 --threads 2 --out bench/
        """
        import tempfile

        from fusion_mamba_ros.commands.output_folder import make_output_folder
        from fusion_mamba_ros.commands.progress_bar import progress_bar
        from fusion_mamba_ros.deployment.bench import BenchPlan, measure
        from fusion_mamba_ros.deployment.bench_report import markdown, write_bench
        from fusion_mamba_ros.perception.machine import describe_machine

        machine = describe_machine()
        rows: list[dict[str, Any]] = []
        notes: list[str] = []
        try:
            plan = BenchPlan(
                tuple(models),
                tuple(threads or sorted({1, len(os.sched_getaffinity(0))})),
                tuple(precision or ("auto",)),
                engine,
                device,
                predictions,
                starts,
                peers,
            )
            make_output_folder(out)
            with tempfile.TemporaryDirectory() as folder, progress_bar("measuring") as show:
                images = Path(folder) / "images.npz"
                _write_images(images)
                for group in measure(plan, images, show, notes):
                    rows += group
                    write_bench(rows, machine, notes, out)
        except (ValueError, OSError, ImportError) as error:
            fail(error)
        typer.echo(markdown(rows, machine, notes))
        typer.echo(f"written: {out / 'bench.json'}, {out / 'bench.md'}")


def _write_images(path: Path) -> None:
    """Write one image of a procedural street for each modality."""
    import numpy as np

    from fusion_mamba_ros.synthetic.procedural_scene import MODALITIES, ProceduralScene

    np.savez(path, **ProceduralScene(seed=1, radiometric=True, modalities=MODALITIES).render(0).images)  # type: ignore[arg-type]
