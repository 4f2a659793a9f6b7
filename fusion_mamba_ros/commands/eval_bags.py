# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba eval-bags`: evaluate many bags, by tag and together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands import bag_options
from fusion_mamba_ros.commands.command_line import command_line
from fusion_mamba_ros.commands.engine_option import EngineOption
from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("eval-bags")(eval_bags)


def eval_bags(
    bags: Annotated[Path, typer.Argument(help="Folder of bags, or a list file: a path and its tags on each line.")],
    ground_truth: bag_options.GroundTruth = None,
    ground_truth_topic: bag_options.GroundTruthTopic = None,
    checkpoint: bag_options.Checkpoint = None,
    detections: bag_options.Detections = None,
    detections_bag: bag_options.DetectionsBag = None,
    scenario: bag_options.ScenarioFile = None,
    out: Annotated[Path, typer.Option(help="Folder for report.html, summary.json and a folder for each bag.")] = Path(
        "bag_evaluations"
    ),
    workers: Annotated[int, typer.Option(min=1, help="Worker processes on this machine.")] = 1,
    ray: Annotated[str | None, typer.Option(help="Address of a Ray cluster, or local.")] = None,
    topics: bag_options.Topics = bag_options.DEFAULT_TOPICS,
    score_threshold: bag_options.ScoreThreshold = None,
    protocol: bag_options.Protocol = "coco",
    tolerance: bag_options.Tolerance = None,
    max_offset: bag_options.MaxOffset = 0.05,
    thermal_offset: bag_options.ThermalOffset = 0.0,
    timeout: bag_options.Timeout = 0.5,
    freeze_timeout: bag_options.FreezeTimeout = 0.4,
    speed: bag_options.Speed = None,
    window: bag_options.Window = 30.0,
    worst: bag_options.Worst = 12,
    compare: bag_options.Compare = None,
    registration: bag_options.Registration = None,
    device: bag_options.Device = "auto",
    precision: bag_options.Precision = "auto",
    engine: EngineOption = "auto",
    threads: ThreadsOption = 0,
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
    from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions
    from fusion_mamba_ros.evaluation.bag_evaluation.ray_workers import require_ray
    from fusion_mamba_ros.evaluation.bag_evaluation.scenario import read_scenario
    from fusion_mamba_ros.evaluation.bag_report.fleet_page import fleet_page
    from fusion_mamba_ros.evaluation.bag_report.page import PAGE_FILE
    from fusion_mamba_ros.evaluation.bag_report.report_files import PageOptions

    try:
        if ray is not None:
            require_ray()
        # Workers on one machine share its cores.
        threads = threads or (max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0)
        options = BagEvaluationOptions(
            ground_truth=ground_truth,
            ground_truth_topic=ground_truth_topic,
            detections=detections,
            detections_bag=detections_bag,
            detector=bag_options.detector_options(
                checkpoint=checkpoint,
                device=device,
                precision=precision,
                engine=engine,
                threads=threads,
                registration=registration,
                detections=detections,
            ),
            score_threshold=score_threshold,
            protocol=protocol,
            rgb_topic=topics[0],
            thermal_topic=topics[1],
            tolerance_sec=tolerance,
            max_offset_sec=max_offset,
            thermal_offset_sec=thermal_offset,
            timeout_sec=timeout,
            freeze_timeout_sec=freeze_timeout,
            speeds=tuple(speed or (1.0,)),
            window_sec=window,
        )
        gate = None if scenario is None else read_scenario(scenario)
        listed = read_bag_list(bags)
        former = None if compare is None else former_fleet(compare, SUMMARY_FILE, out=out)
        make_output_folder(out)
        with fleet_progress(len(listed)) as events:
            summary = evaluate_bags(
                listed,
                options,
                out,
                scenario=gate,
                fleet=FleetOptions(workers, ray),
                events=events,
                page=PageOptions(command_line(), worst),
            )
        comparison = None
        remove_old_comparison(out)
        if former is not None:
            names = [bag["name"] for bag in summary["bags"] if bag["status"] == "evaluated"]
            comparison = compare_fleets(former, out, names)
            section = page_section(comparison)
            page = fleet_page(summary, out, command=command_line(), most_worst=worst, comparison=section)
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
