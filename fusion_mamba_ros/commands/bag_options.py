# SPDX-License-Identifier: Apache-2.0
"""Options that `eval-bag` and `eval-bags` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fusion_mamba_ros.evaluation.bag_evaluation.options import DetectorOptions

GroundTruth = Annotated[str | None, typer.Option(help="Topic of the bag, another bag, COCO file or YOLO folder.")]
GroundTruthTopic = Annotated[str | None, typer.Option(help="Topic in another bag with ground truth.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option(help="Checkpoint (.safetensors) or exported model (.onnx); without it the package's own."),
]
Detections = Annotated[
    str | None, typer.Option(help="Score this recorded topic (Detection2DArray) and run no detector.")
]
DetectionsBag = Annotated[Path | None, typer.Option(help="Bag of --detections, if it is another.")]
ScenarioFile = Annotated[Path | None, typer.Option(help="YAML with limits; the exit code says if they hold.")]
Topics = Annotated[tuple[str, str], typer.Option(help="Topics of the RGB and the thermal camera.")]
ScoreThreshold = Annotated[
    float | None, typer.Option(help="Operating threshold; without it that of the checkpoint or the recording.")
]
Protocol = Annotated[
    str, typer.Option(help="mAP of all detections (coco) or of those that the node publishes (published).")
]
Tolerance = Annotated[
    float | None, typer.Option(help="Seconds between a frame and its ground truth (a quarter of the period).")
]
MaxOffset = Annotated[float, typer.Option(help="pairing.max_offset_sec of the node.")]
ThermalOffset = Annotated[float, typer.Option(help="pairing.thermal_offset_sec of the node.")]
Timeout = Annotated[float, typer.Option(help="pairing.timeout_sec of the node.")]
FreezeTimeout = Annotated[float, typer.Option(help="thermal.freeze_timeout_sec of the node.")]
Speed = Annotated[
    list[float] | None, typer.Option(help="Simulate a live node at this factor of the recorded rate (1).")
]
Window = Annotated[float, typer.Option(help="Length of the time windows in seconds.")]
Registration = Annotated[
    Path | None, typer.Option(help="YAML of 'fusion-mamba register'; without it the checkpoint's.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Precision = Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")]
Worst = Annotated[int, typer.Option(min=0, help="Worst frames to draw; 0 leaves out all pictures of the page.")]
Compare = Annotated[
    Path | None, typer.Option(help="Folder or JSON report of an earlier run on the same bags to compare with.")
]

DEFAULT_TOPICS = ("/rgb/image_raw", "/thermal/image_raw")


def detector_options(
    *,
    checkpoint: Path | None,
    device: str,
    precision: str,
    engine: str,
    threads: int,
    registration: Path | None,
    detections: str | None,
) -> DetectorOptions:
    """Return the detector to run, with the package's checkpoint if none is named. Imports torch only if one runs."""
    from fusion_mamba_ros.evaluation.bag_evaluation.options import DetectorOptions

    if detections is None and checkpoint is None:
        from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint

        checkpoint = default_checkpoint()
    return DetectorOptions(checkpoint, device, precision, threads, registration, engine)
