# SPDX-License-Identifier: Apache-2.0
"""Options that `eval-bag` and `eval-bags` share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from fusion_mamba_ros.commands.engine_option import EngineOption
from fusion_mamba_ros.commands.threads_option import ThreadsOption
from fusion_mamba_ros.commands.tiles_option import TileOverlapOption, TilesOption

if TYPE_CHECKING:
    from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions

_PARAMETER = "options"


@dataclass(frozen=True)
class BagOptions:
    """Values of the shared options. Each field is one option: its annotation says how it is given."""

    ground_truth: Annotated[
        str | None, typer.Option(help="Topic of the bag, another bag, COCO file or YOLO folder.")
    ] = None
    ground_truth_topic: Annotated[str | None, typer.Option(help="Topic in another bag with ground truth.")] = None
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Checkpoint (.safetensors) or exported model (.onnx); without it the package's own."),
    ] = None
    detections: Annotated[
        str | None, typer.Option(help="Score this recorded topic (Detection2DArray) and run no detector.")
    ] = None
    detections_bag: Annotated[
        Path | None, typer.Option(help="Bag with the topic of --detections, if not the evaluated bag.")
    ] = None
    scenario: Annotated[Path | None, typer.Option(help="YAML with limits; the exit code says if they hold.")] = None
    topics: Annotated[tuple[str, str], typer.Option(help="Topics of the RGB and the thermal camera.")] = (
        "/rgb/image_raw",
        "/thermal/image_raw",
    )
    score_threshold: Annotated[
        float | None, typer.Option(help="Operating threshold; without it that of the checkpoint or the recording.")
    ] = None
    protocol: Annotated[
        str, typer.Option(help="mAP of all detections (coco) or of those that the node publishes (published).")
    ] = "coco"
    tolerance: Annotated[
        float | None, typer.Option(help="Seconds between a frame and its ground truth (a quarter of the period).")
    ] = None
    max_offset: Annotated[float, typer.Option(help="pairing.max_offset_sec of the node.")] = 0.05
    thermal_offset: Annotated[float, typer.Option(help="pairing.thermal_offset_sec of the node.")] = 0.0
    timeout: Annotated[float, typer.Option(help="pairing.timeout_sec of the node.")] = 0.5
    freeze_timeout: Annotated[float, typer.Option(help="thermal.freeze_timeout_sec of the node.")] = 0.4
    speed: Annotated[
        list[float] | None, typer.Option(help="Simulate a live node at this factor of the recorded rate (1).")
    ] = None
    window: Annotated[float, typer.Option(help="Length of the time windows in seconds.")] = 30.0
    worst: Annotated[int, typer.Option(min=0, help="Worst frames to draw; 0 leaves out all images of the page.")] = 12
    compare: Annotated[
        Path | None, typer.Option(help="Folder or JSON report of an earlier run on the same bags to compare with.")
    ] = None
    registration: Annotated[
        Path | None, typer.Option(help="YAML of 'fusion-mamba register'; without it the checkpoint's.")
    ] = None
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto"
    engine: EngineOption = "auto"
    threads: ThreadsOption = 0
    tiles: TilesOption = ""
    tile_overlap: TileOverlapOption = 0.2

    def evaluation_options(self) -> BagEvaluationOptions:
        """Return what to evaluate, with the package's checkpoint if a detector runs and none is named.

        Raises ``ValueError`` on a value out of range. Imports torch only if a detector runs.
        """
        from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions, DetectorOptions

        checkpoint = self.checkpoint
        if self.detections is None and checkpoint is None:
            from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint

            checkpoint = default_checkpoint(engine=self.engine)
        return BagEvaluationOptions(
            ground_truth=self.ground_truth,
            ground_truth_topic=self.ground_truth_topic,
            detections=self.detections,
            detections_bag=self.detections_bag,
            detector=DetectorOptions(
                checkpoint,
                self.device,
                self.precision,
                self.threads,
                self.registration,
                self.engine,
                self.tiles,
                self.tile_overlap,
            ),
            score_threshold=self.score_threshold,
            protocol=self.protocol,
            rgb_topic=self.topics[0],
            thermal_topic=self.topics[1],
            tolerance_sec=self.tolerance,
            max_offset_sec=self.max_offset,
            thermal_offset_sec=self.thermal_offset,
            timeout_sec=self.timeout,
            freeze_timeout_sec=self.freeze_timeout,
            speeds=tuple(self.speed or (1.0,)),
            window_sec=self.window,
        )


def takes_bag_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` with the options of `BagOptions` in place of its last parameter ``options``."""
    hints = get_type_hints(BagOptions, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=field.default, annotation=hints[field.name]
        )
        for field in fields(BagOptions)
    ]
    own = [item for item in inspect.signature(command, eval_str=True).parameters.values() if item.name != _PARAMETER]
    parameters = [*own, *shared]

    @functools.wraps(command)
    def with_options(**values: Any) -> None:
        options = BagOptions(**{item.name: values.pop(item.name) for item in shared})
        command(**values, **{_PARAMETER: options})

    # Typer reads the options of a command from its signature and its annotations.
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {item.name: item.annotation for item in parameters}
    return with_options
