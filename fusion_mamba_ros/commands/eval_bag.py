# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba eval-bag`: evaluate a detector, or recorded detections, on a bag."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fusion_mamba_ros.commands.bag_options import BagOptions, takes_bag_options
from fusion_mamba_ros.commands.command_line import command_line
from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.tiles_option import warn_without_tiles

if TYPE_CHECKING:
    from fusion_mamba_ros.evaluation.bag_evaluation.collected_frame import CollectedBag
    from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import ScoredFrame
    from fusion_mamba_ros.perception.predictor import Predictor


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("eval-bag")(eval_bag)


@takes_bag_options
def eval_bag(
    bag: Annotated[Path, typer.Argument(help="Folder or file of the bag (mcap or sqlite3).")],
    out: Annotated[Path, typer.Option(help="Folder for report.html, report.json and frames.jsonl.")] = Path(
        "bag_evaluation"
    ),
    write_bag: Annotated[
        Path | None, typer.Option(help="Write the detections, and annotations for Foxglove, as a bag of this name.")
    ] = None,
    fiftyone: Annotated[
        Path | None, typer.Option(help="Export images, true boxes and detections in COCO form to this new folder.")
    ] = None,
    *,
    options: BagOptions,
) -> None:
    """Evaluate a detector on a bag: accuracy, misses, latency and what a live node would have dropped.

    With --detections, score what was recorded. Without --ground-truth, report everything but accuracy. Exit code: 0
    passed or no scenario, 1 failed, 2 could not be evaluated, 130 interrupted.

    Example: fusion-mamba eval-bag drive --ground-truth /ground_truth --scenario scenario.yaml --out evaluation/
    """
    from rich.console import Console

    from fusion_mamba_ros.commands.bag_tables import print_comparison, print_evaluation
    from fusion_mamba_ros.commands.output_folder import make_output_folder
    from fusion_mamba_ros.commands.reading_progress import reading_progress
    from fusion_mamba_ros.evaluation.bag_comparison.compare_evaluations import compare_bag, errors_of_frames
    from fusion_mamba_ros.evaluation.bag_comparison.comparison_files import (
        comparison_files,
        page_section,
        remove_old_comparison,
    )
    from fusion_mamba_ros.evaluation.bag_comparison.evaluated_run import ComparisonError, read_run
    from fusion_mamba_ros.evaluation.bag_evaluation.detections_bag import write_detections_bag
    from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import evaluate_bag, load_predictor, write_files
    from fusion_mamba_ros.evaluation.bag_evaluation.scenario import read_scenario
    from fusion_mamba_ros.evaluation.bag_evaluation.scored_frame import FramePicker
    from fusion_mamba_ros.evaluation.bag_report.fiftyone_frames import export_frames
    from fusion_mamba_ros.evaluation.bag_report.report_files import remove_old_worst_frames, report_files
    from fusion_mamba_ros.evaluation.fiftyone_export import check_export_folder

    predictors: list[Predictor] = []
    frames: list[ScoredFrame] = []

    def load() -> Predictor:
        predictors.append(load_predictor(evaluation_options))
        warn_without_tiles(predictors[0].metadata, options.tiles)
        return predictors[0]

    def take_scored(frame: ScoredFrame) -> None:
        picker.offer(frame)
        if fiftyone is not None:
            frames.append(frame)

    def write_detections(collected: CollectedBag) -> None:
        if write_bag is not None:
            write_detections_bag(write_bag, collected, predictors[0].homography)

    try:
        if write_bag is not None and options.detections is not None:
            raise ValueError("--write-bag writes what a detector finds: leave out --detections")
        if write_bag is not None and write_bag.exists():
            raise ValueError(f"--write-bag '{write_bag}' exists: remove it or choose another name")
        if fiftyone is not None:
            check_export_folder(fiftyone)
        evaluation_options = options.evaluation_options()
        gate = None if options.scenario is None else read_scenario(options.scenario)
        compare = options.compare
        earlier = None if compare is None else read_run(compare)
        picker = FramePicker(options.worst, None if earlier is None else errors_of_frames(earlier))
        make_output_folder(out)
        with reading_progress(f"evaluating {bag.name}") as progress:
            evaluation = evaluate_bag(
                bag,
                evaluation_options,
                load_predictor=load,
                scenario=gate,
                on_total=progress.set_total,
                on_progress=progress.set_done,
                on_collected=write_detections,
                on_scored=take_scored,
            )
        comparison, refusal = None, None
        if earlier is not None and compare is not None:
            try:
                comparison = compare_bag(earlier, evaluation, other=compare)
            except ComparisonError as error:
                refusal = error
        section = None if comparison is None else page_section(comparison)
        files = report_files(evaluation, picker, name=bag.name, command=command_line(), comparison=section)
        remove_old_worst_frames(out)
        remove_old_comparison(out)
        write_files(out, {**files, **({} if comparison is None else comparison_files(comparison))})
        exported = None if fiftyone is None else export_frames(fiftyone, evaluation, frames)
        if refusal is not None:
            raise refusal
    except (ValueError, ImportError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        typer.echo("interrupted: nothing is written", err=True)
        raise typer.Exit(130) from None
    print_evaluation(evaluation.report, Console())
    if comparison is not None:
        print_comparison(comparison, Console())
    typer.echo(f"written: {out / 'report.html'}, {out / 'report.json'} and {out / 'frames.jsonl'}")
    if write_bag is not None:
        typer.echo(f"written: {write_bag}")
    if fiftyone is not None:
        typer.echo(f"written: {exported} images to {fiftyone}")
    gate_section = evaluation.report["gate"]
    if gate_section is not None:
        raise typer.Exit({"passed": 0, "failed": 1, "not_evaluated": 2}[gate_section["result"]])
