# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba make-bag`: make a rosbag2 from two videos, two folders, a dataset or a procedural scene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.progress_bar import progress_bar

_SOURCE, _CAMERAS, _FAULTS = "Source", "Cameras and labels", "Faults to imitate"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("make-bag")(make_bag)


def make_bag(
    out: Annotated[Path, typer.Option(help="Folder of the new bag.")],
    rgb: Annotated[
        Path | None, typer.Option(help="Video or folder of images of the RGB camera.", rich_help_panel=_SOURCE)
    ] = None,
    thermal: Annotated[
        Path | None, typer.Option(help="Video or folder of images of the thermal camera.", rich_help_panel=_SOURCE)
    ] = None,
    shortest: Annotated[
        bool, typer.Option(help="End where the shorter of the two videos ends.", rich_help_panel=_SOURCE)
    ] = False,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            help="Instead of files, labelled pairs: dataset folder or YAML; give it again to join several.",
            rich_help_panel=_SOURCE,
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Split of the dataset: train, val, test or all.", rich_help_panel=_SOURCE)
    ] = "val",
    scene: Annotated[
        str | None, typer.Option(help="Instead of files, a procedural street: night or day.", rich_help_panel=_SOURCE)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the procedural street.", rich_help_panel=_SOURCE)] = 0,
    seconds: Annotated[float, typer.Option(help="How long the procedural scene runs.", rich_help_panel=_SOURCE)] = 10.0,
    radiometric: Annotated[
        bool,
        typer.Option(help="Procedural scene: 16-bit thermal images, hundredths of a kelvin.", rich_help_panel=_SOURCE),
    ] = False,
    topics: Annotated[
        tuple[str, str], typer.Option(help="Topics of the RGB and the thermal camera.", rich_help_panel=_CAMERAS)
    ] = ("/rgb/image_raw", "/thermal/image_raw"),
    labels_topic: Annotated[
        str,
        typer.Option(
            help="Topic of the true boxes of a dataset or scene (vision_msgs/Detection2DArray).",
            rich_help_panel=_CAMERAS,
        ),
    ] = "/ground_truth",
    compressed: Annotated[
        bool, typer.Option(help="CompressedImage: RGB as JPEG, thermal as PNG.", rich_help_panel=_CAMERAS)
    ] = False,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Frames per second of both cameras (the video's own; 30 for folders, 15 for scenes, 10 for datasets).",
            rich_help_panel=_CAMERAS,
        ),
    ] = None,
    thermal_fps: Annotated[
        float | None,
        typer.Option(help="Frames per second of the thermal camera, if different.", rich_help_panel=_CAMERAS),
    ] = None,
    start: Annotated[
        float | None,
        typer.Option(help="Stamp of the first frame, seconds since 1970 (now).", rich_help_panel=_CAMERAS),
    ] = None,
    thermal_offset: Annotated[
        float, typer.Option(help="Seconds added to the stamps of the thermal camera.", rich_help_panel=_FAULTS)
    ] = 0.0,
    thermal_drift: Annotated[
        float,
        typer.Option(
            help="Seconds by which the thermal clock gains in each second, for example 1e-4.", rich_help_panel=_FAULTS
        ),
    ] = 0.0,
    jitter: Annotated[
        float,
        typer.Option(help="Seconds by which each stamp is moved at random, up or down.", rich_help_panel=_FAULTS),
    ] = 0.0,
    drop: Annotated[
        float, typer.Option(help="Share of the frames to leave out, 0 to below 1.", rich_help_panel=_FAULTS)
    ] = 0.0,
    corrupt: Annotated[
        float, typer.Option(help="Share of the images to cut short, 0 to below 1.", rich_help_panel=_FAULTS)
    ] = 0.0,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            help="START:LENGTH in seconds: the thermal camera repeats one image with fresh stamps, as during a "
            "flat-field correction; give it again for several.",
            rich_help_panel=_FAULTS,
        ),
    ] = None,
    fault_seed: Annotated[
        int, typer.Option(help="Seed of the random jitter, dropped and corrupt frames.", rich_help_panel=_FAULTS)
    ] = 0,
) -> None:
    """Turn two videos, two folders of images, a dataset or a procedural scene into a rosbag2 (mcap).

    The bag holds every frame of both cameras. If one camera ends early, the other continues alone. Images in folders
    are matched by name. Thermal videos of three channels are converted to their luma. 16-bit thermal images become
    mono16. The true boxes of a dataset or a procedural scene go to /ground_truth, including those of dropped frames.

    Example: fusion-mamba make-bag --rgb visible.mp4 --thermal infrared.mp4 --out drive

    Example: fusion-mamba make-bag --data datasets/msrs --split val --out val

    Example: fusion-mamba make-bag --scene night --jitter 0.005 --drop 0.05 --freeze 3:0.5 --out faulty
    """
    import time

    from fusion_mamba_ros.bags.bag_reading import BagError
    from fusion_mamba_ros.bags.camera_recording import record_scene, record_sequences
    from fusion_mamba_ros.bags.dataset_recording import record_dataset
    from fusion_mamba_ros.bags.recording_faults import RecordingFaults, parse_freeze
    from fusion_mamba_ros.bags.recording_options import RecordingOptions
    from fusion_mamba_ros.datasets.image_sequence import ImageSequenceError
    from fusion_mamba_ros.datasets.problems import DatasetError

    try:
        # Reject values that cannot be converted to nanoseconds. RecordingOptions checks the range of ROS stamps.
        if start is not None and not abs(start) < 1e12:
            raise ValueError(f"--start is {start}: expected seconds since 1970")
        options = RecordingOptions(
            rgb_topic=topics[0],
            thermal_topic=topics[1],
            compressed=compressed,
            frames_per_second=fps,
            thermal_frames_per_second=thermal_fps,
            thermal_offset_sec=thermal_offset,
            shortest=shortest,
            labels_topic=labels_topic,
            faults=RecordingFaults(
                thermal_drift=thermal_drift,
                jitter_sec=jitter,
                drop_share=drop,
                corrupt_share=corrupt,
                freezes=tuple(map(parse_freeze, freeze or ())),
                seed=fault_seed,
            ),
            start_ns=int((time.time() if start is None else start) * 1e9),
        )
        if sum((rgb is not None or thermal is not None, bool(data), scene is not None)) > 1:
            raise ValueError("--scene and --data bring their own images: give one of them, or --rgb and --thermal")
        if scene not in (None, "night", "day"):
            raise ValueError(f"--scene is {scene!r}: expected night or day")
        with progress_bar(f"writing {out}") as on_progress:
            if scene is not None:
                recording = record_scene(
                    out,
                    options,
                    night=scene == "night",
                    seed=seed,
                    seconds=seconds,
                    radiometric=radiometric,
                    on_progress=on_progress,
                )
            elif data:
                recording = record_dataset(out, options, data=data, split=split, on_progress=on_progress)
            elif rgb is not None and thermal is not None:
                recording = record_sequences(out, options, rgb=rgb, thermal=thermal, on_progress=on_progress)
            else:
                raise ValueError("give --rgb and --thermal, or --scene night, or --data")
    except (BagError, DatasetError, ImageSequenceError, OSError, ValueError) as error:
        fail(error)
    for note in recording.notes:
        typer.echo(f"note: {note}", err=True)
    faults = [f"{count} {name}" for name in ("dropped", "corrupt", "frozen") if (count := getattr(recording, name)) > 0]
    typer.echo(
        f"{out}: {recording.rgb_count} RGB and {recording.thermal_count} thermal frames, "
        f"{recording.duration_sec:.1f} s{' (' + ', '.join(faults) + ')' if faults else ''}"
    )
