# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba eval-bag`: evaluate a detector, or recorded detections, on a bag."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("eval-bag")(eval_bag)


def eval_bag(
    bag: Annotated[Path, typer.Argument(help="Folder or file of the bag (mcap or sqlite3).")],
    ground_truth: Annotated[
        str | None, typer.Option(help="Topic of the bag, another bag, COCO file or folder of YOLO labels.")
    ] = None,
    ground_truth_topic: Annotated[str | None, typer.Option(help="Topic in another bag with ground truth.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Checkpoint (.safetensors); without it the package's own.")
    ] = None,
    detections: Annotated[
        str | None, typer.Option(help="Score this recorded topic (Detection2DArray) and run no detector.")
    ] = None,
    detections_bag: Annotated[Path | None, typer.Option(help="Bag of --detections, if it is another.")] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="YAML with limits: the exit code tells whether they hold.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for report.json and frames.jsonl.")] = Path("bag_evaluation"),
    topics: Annotated[tuple[str, str], typer.Option(help="Topics of the RGB and the thermal camera.")] = (
        "/rgb/image_raw",
        "/thermal/image_raw",
    ),
    score_threshold: Annotated[
        float | None, typer.Option(help="Operating threshold; without it that of the checkpoint or the recording.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="mAP of all detections (coco) or of those that the node publishes (published).")
    ] = "coco",
    tolerance: Annotated[
        float | None, typer.Option(help="Seconds between a frame and its ground truth (a quarter of the period).")
    ] = None,
    max_offset: Annotated[float, typer.Option(help="pairing.max_offset_sec of the node.")] = 0.05,
    thermal_offset: Annotated[float, typer.Option(help="pairing.thermal_offset_sec of the node.")] = 0.0,
    timeout: Annotated[float, typer.Option(help="pairing.timeout_sec of the node.")] = 0.5,
    freeze_timeout: Annotated[float, typer.Option(help="thermal.freeze_timeout_sec of the node.")] = 0.4,
    speed: Annotated[
        list[float] | None, typer.Option(help="Simulate a live node at this factor of the recorded rate (1).")
    ] = None,
    window: Annotated[float, typer.Option(help="Length of the time windows in seconds.")] = 30.0,
    registration: Annotated[
        Path | None, typer.Option(help="YAML of 'fusion-mamba register'; without it the checkpoint's.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
    threads: ThreadsOption = 0,
) -> None:
    """Evaluate a detector on a bag: accuracy, misses, latency and what a live node would have dropped.

    With --detections, score what was recorded. Without --ground-truth, report everything but accuracy. Exit code: 0
    passed or no scenario, 1 failed, 2 could not be evaluated, 130 interrupted.

    Example: fusion-mamba eval-bag drive --ground-truth /ground_truth --scenario scenario.yaml --out evaluation/
    """
    from rich.console import Console

    from fusion_mamba_ros.commands.bag_tables import print_evaluation
    from fusion_mamba_ros.commands.output_folder import make_output_folder
    from fusion_mamba_ros.commands.reading_progress import reading_progress
    from fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bag import evaluate_bag, load_predictor
    from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions, DetectorOptions
    from fusion_mamba_ros.evaluation.bag_evaluation.scenario import read_scenario

    try:
        options = BagEvaluationOptions(
            ground_truth=ground_truth,
            ground_truth_topic=ground_truth_topic,
            detections=detections,
            detections_bag=detections_bag,
            detector=DetectorOptions(checkpoint, device, precision, threads, registration),
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
        make_output_folder(out)
        with reading_progress(f"evaluating {bag.name}") as progress:
            evaluation = evaluate_bag(
                bag,
                options,
                load_predictor=lambda: load_predictor(options),
                scenario=gate,
                on_total=progress.set_total,
                on_progress=progress.set_done,
            )
        evaluation.write(out)
    except (ValueError, ImportError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        typer.echo("interrupted: nothing is written", err=True)
        raise typer.Exit(130) from None
    print_evaluation(evaluation.report, Console())
    typer.echo(f"written: {out / 'report.json'} and {out / 'frames.jsonl'}")
    result = (evaluation.report["gate"] or {"result": "passed"})["result"]
    raise typer.Exit({"passed": 0, "failed": 1, "not_evaluated": 2}[result])
