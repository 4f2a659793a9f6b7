# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba eval-bags`: evaluate many bags, by tag and together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.bag_options import BagOptions, takes_bag_options
from fusion_mamba_ros.commands.command_line import command_line
from fusion_mamba_ros.commands.failure import fail


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("eval-bags")(eval_bags)


@takes_bag_options
def eval_bags(
    bags: Annotated[Path, typer.Argument(help="Folder of bags, or a list file: a path and its tags on each line.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html, summary.json and a folder for each bag.")] = Path(
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

    from fusion_mamba_ros.commands.bag_tables import print_comparison, print_summary
    from fusion_mamba_ros.commands.fleet_progress import fleet_progress
    from fusion_mamba_ros.commands.output_folder import make_output_folder
    from fusion_mamba_ros.evaluation.bag_comparison.compare_evaluations import compare_fleets, former_fleet
    from fusion_mamba_ros.evaluation.bag_comparison.comparison_files import (
        comparison_files,
        page_section,
        remove_old_comparison,
    )
    from fusion_mamba_ros.evaluation.bag_evaluation.bag_list import read_bag_list
    from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import write_files
    from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bags import (
        SUMMARY_FILE,
        FleetOptions,
        evaluate_bags,
    )
    from fusion_mamba_ros.evaluation.bag_evaluation.ray_workers import require_ray
    from fusion_mamba_ros.evaluation.bag_evaluation.scenario import read_scenario
    from fusion_mamba_ros.evaluation.bag_report.fleet_page import fleet_page
    from fusion_mamba_ros.evaluation.bag_report.page import PAGE_FILE
    from fusion_mamba_ros.evaluation.bag_report.report_files import PageOptions

    try:
        if ray is not None:
            require_ray()
        if workers > 1 and not options.threads:
            # Workers on one machine share its cores.
            options = replace(options, threads=max(1, (os.cpu_count() or 1) // workers))
        evaluation_options = options.evaluation_options()
        gate = None if options.scenario is None else read_scenario(options.scenario)
        listed = read_bag_list(bags)
        compare = options.compare
        former = None if compare is None else former_fleet(compare, SUMMARY_FILE, out=out)
        make_output_folder(out)
        with fleet_progress(len(listed)) as events:
            summary = evaluate_bags(
                listed,
                evaluation_options,
                out,
                scenario=gate,
                fleet=FleetOptions(workers, ray),
                events=events,
                page=PageOptions(command_line(), options.worst),
            )
        comparison = None
        remove_old_comparison(out)
        if former is not None:
            names = [bag["name"] for bag in summary["bags"] if bag["status"] == "evaluated"]
            comparison = compare_fleets(former, out, names)
            section = page_section(comparison)
            page = fleet_page(summary, out, command=command_line(), most_worst=options.worst, comparison=section)
            write_files(out, {**comparison_files(comparison), PAGE_FILE: page})
    except (ValueError, ImportError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        typer.echo(f"interrupted: run the command again, the finished bags in '{out}' are kept", err=True)
        raise typer.Exit(130) from None
    print_summary(summary, Console())
    if comparison is not None:
        print_comparison(comparison, Console())
    typer.echo(f"written: {out / 'report.html'} and {out / 'summary.json'}")
    gates = summary["overall"]["gates"]
    if gates.get("failed"):
        raise typer.Exit(1)
    if gates.get("not_evaluated") or any(bag["status"] == "failed" for bag in summary["bags"]):
        raise typer.Exit(2)
