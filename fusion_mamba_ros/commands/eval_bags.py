# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba eval-bags`: evaluate many bags, by tag and together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.bag_options import BagOptions, takes_bag_options
from fusion_mamba_ros.commands.failure import fail


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("eval-bags")(eval_bags)


@takes_bag_options
def eval_bags(
    bags: Annotated[Path, typer.Argument(help="Folder of bags, or a list file: a path and its tags on each line.")],
    out: Annotated[Path, typer.Option(help="Folder for summary.json and a folder for each bag.")] = Path(
        "bag_evaluations"
    ),
    workers: Annotated[int, typer.Option(min=1, help="Worker processes on this machine.")] = 1,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster, or local.")] = None,
    *,
    options: BagOptions,
) -> None:
    """Evaluate many bags, each in a worker process, and summarise them: each bag, each tag and all.

    Finished bags are not evaluated again. {name} in --ground-truth and --detections-bag stands for the name of a bag.
    A bag that cannot be evaluated, or whose worker dies twice, is reported and does not stop the others. Exit code: 0
    all passed, 1 a scenario failed, 2 a bag could not be evaluated, 130 interrupted.

    Example: fusion-mamba eval-bags drives.txt --ground-truth /ground_truth --workers 4 --out evaluations/
    """
    import os

    from rich.console import Console

    from fusion_mamba_ros.commands.bag_tables import print_summary
    from fusion_mamba_ros.commands.fleet_progress import fleet_progress
    from fusion_mamba_ros.commands.output_folder import make_output_folder
    from fusion_mamba_ros.evaluation.bag_evaluation.bag_list import read_bag_list
    from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bags import FleetOptions, evaluate_bags
    from fusion_mamba_ros.evaluation.bag_evaluation.ray_workers import require_ray
    from fusion_mamba_ros.evaluation.bag_evaluation.scenario import read_scenario

    try:
        if ray is not None:
            require_ray()
        if workers > 1 and not options.threads:
            # Workers on one machine share its cores.
            options = replace(options, threads=max(1, (os.cpu_count() or 1) // workers))
        evaluation_options = options.evaluation_options()
        gate = None if options.scenario is None else read_scenario(options.scenario)
        listed = read_bag_list(bags)
        make_output_folder(out)
        with fleet_progress(len(listed)) as events:
            summary = evaluate_bags(
                listed, evaluation_options, out, scenario=gate, fleet=FleetOptions(workers, ray), events=events
            )
    except (ValueError, ImportError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: run the command again, the finished bags in '{out}' are kept", err=True)
        raise typer.Exit(130) from None
    print_summary(summary, Console())
    typer.echo(f"written: {out / 'summary.json'}")
    gates = summary["overall"]["gates"]
    if gates.get("failed"):
        raise typer.Exit(1)
    if gates.get("not_evaluated") or any(bag["status"] == "failed" for bag in summary["bags"]):
        raise typer.Exit(2)
