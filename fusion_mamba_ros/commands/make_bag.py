# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba make-bag`: make a rosbag2 from two videos, two folders or a procedural scene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fusion_mamba_ros.commands.failure import fail


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("make-bag")(make_bag)


def make_bag(
    out: Annotated[Path, typer.Option(help="Folder of the new bag.")],
    rgb: Annotated[Path | None, typer.Option(help="Video or folder of images of the RGB camera.")] = None,
    thermal: Annotated[Path | None, typer.Option(help="Video or folder of images of the thermal camera.")] = None,
    scene: Annotated[str | None, typer.Option(help="Instead of files, a procedural street: night or day.")] = None,
    seed: Annotated[int, typer.Option(help="Which procedural street.")] = 0,
    seconds: Annotated[float, typer.Option(help="How long the procedural scene runs.")] = 10.0,
    compressed: Annotated[bool, typer.Option(help="CompressedImage: RGB as JPEG, thermal as PNG.")] = False,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames per second of both cameras (the video's own; 30 for folders, 15 for scenes)."),
    ] = None,
    thermal_fps: Annotated[
        float | None, typer.Option(help="Frames per second of the thermal camera, if another.")
    ] = None,
    thermal_offset: Annotated[float, typer.Option(help="Seconds added to the stamps of the thermal camera.")] = 0.0,
    shortest: Annotated[bool, typer.Option(help="End where the shorter of the two videos ends.")] = False,
    topics: Annotated[tuple[str, str], typer.Option(help="Topics of the RGB and the thermal camera.")] = (
        "/rgb/image_raw",
        "/thermal/image_raw",
    ),
    radiometric: Annotated[
        bool, typer.Option(help="Procedural scene: 16-bit thermal images, hundredths of a kelvin.")
    ] = False,
    start: Annotated[float | None, typer.Option(help="Stamp of the first frame, seconds since 1970 (now).")] = None,
) -> None:
    """Turn two videos, two folders of images or a procedural scene into a rosbag2 (mcap).

    The bag holds every frame of both cameras. If one camera ends early, the other continues alone. Images in folders
    are matched by name. Thermal videos of three channels are converted to their luma. 16-bit thermal images become
    mono16. The true boxes of a procedural scene go to /ground_truth.

    Example: fusion-mamba make-bag --rgb visible.mp4 --thermal infrared.mp4 --out drive
    """
    import time

    from fusion_mamba_ros.bags.bag_reading import BagError
    from fusion_mamba_ros.bags.camera_recording import (
        RecordingOptions,
        record_scene,
        record_sequences,
    )
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
            start_ns=int((time.time() if start is None else start) * 1e9),
        )
        if scene is not None:
            if rgb is not None or thermal is not None:
                raise ValueError("--scene makes its own images: leave out --rgb and --thermal")
            if scene not in ("night", "day"):
                raise ValueError(f"--scene is {scene!r}: expected night or day")
            recording = record_scene(
                out, options, night=scene == "night", seed=seed, seconds=seconds, radiometric=radiometric
            )
        else:
            if rgb is None or thermal is None:
                raise ValueError("give --rgb and --thermal, or --scene night")
            recording = record_sequences(out, options, rgb=rgb, thermal=thermal)
    except (BagError, DatasetError, ImageSequenceError, OSError, ValueError) as error:
        fail(error)
    for note in recording.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(
        f"{out}: {recording.rgb_count} RGB and {recording.thermal_count} thermal frames, {recording.duration_sec:.1f} s"
    )
