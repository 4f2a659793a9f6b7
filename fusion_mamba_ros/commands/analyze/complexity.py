# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba analyze complexity`: measure what each fusion operator costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("complexity")
    def complexity(
        out: Annotated[Path, typer.Option(help="Folder for complexity.json, complexity.md and the plots.")],
        scale: Annotated[list[str] | None, typer.Option(help="Scale; give it again for more (n, s, m, l).")] = None,
        size: Annotated[
            list[int] | None, typer.Option(help="Side of the square image in pixels (320, 640, 960, 1280).")
        ] = None,
        operator: Annotated[list[str] | None, typer.Option(help="Fusion operator (all of them).")] = None,
        dssf: Annotated[list[int] | None, typer.Option(help="DSSF count of fusion_mamba (1, 2, 4, 8).")] = None,
        max_channels: Annotated[int | None, typer.Option(help="Channel limit of fusion_mamba (none).")] = None,
        backbone: Annotated[str, typer.Option(help="Backbone.")] = "yolov8",
        repeats: Annotated[int, typer.Option(min=1, help="Timed calls of each model, in turn with the others.")] = 5,
        limit: Annotated[
            float, typer.Option(help="Do not time a model whose call should take more seconds than this.")
        ] = 30.0,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        threads: ThreadsOption = 0,
    ) -> None:
        """Measure parameters, multiply-adds, memory and latency of the fusion operators in one run.

        The files are written after each scale and image size, so an interrupted run keeps what it has measured.

        Example: fusion-mamba analyze complexity --scale n --size 320 --size 640 --out cost/
        """
        from rich.console import Console

        from fusion_mamba_ros.analysis.complexity import (
            DSSF_COUNTS,
            ComplexityPlan,
            describe_device,
            measure_complexity,
        )
        from fusion_mamba_ros.analysis.complexity_report import draw_complexity, write_complexity
        from fusion_mamba_ros.commands.output_folder import make_output_folder
        from fusion_mamba_ros.perception.compute import choose_device
        from fusion_mamba_ros.perception.threads import set_threads

        set_threads(threads)
        console = Console(stderr=True, highlight=False)
        try:
            defaults = ComplexityPlan()
            plan = ComplexityPlan(
                scales=tuple(scale or defaults.scales),
                sizes=tuple(size or defaults.sizes),
                operators=tuple(operator or ()),
                dssf_counts=tuple(dssf or DSSF_COUNTS),
                backbone=backbone,
                max_channels=max_channels,
                repeats=repeats,
                limit_s=limit,
                device=choose_device(device),
            )
            make_output_folder(out)
            machine = describe_device(plan.device)
            rows = []
            for row in measure_complexity(plan):
                rows.append(row)
                if row["operator"] == [*plan.configs(row["scale"])][-1]:
                    write_complexity(rows, machine, out)
                    console.print(f"scale {row['scale']}, {row['size']} px: {len(rows)} rows")
            plots = draw_complexity(rows, out)
        except (ValueError, OSError, ImportError) as error:
            fail(error)
        typer.echo(f"written: {out / 'complexity.json'}, {out / 'complexity.md'}, {', '.join(map(str, plots))}")
