# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba predict`: detect objects in image pairs, folders and videos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusion_mamba_ros.commands.engine_option import EngineOption
from fusion_mamba_ros.commands.failure import fail
from fusion_mamba_ros.commands.threads_option import ThreadsOption
from fusion_mamba_ros.commands.tiles_option import TileOverlapOption, TilesOption, warn_without_tiles

if TYPE_CHECKING:
    from fusion_mamba_ros.datasets.pair_source import PairSource
    from fusion_mamba_ros.perception.detections import Detections
    from fusion_mamba_ros.perception.predictor import Predictor

    TrackIds = Callable[[int, Detections], Detections]

_SHEET_TILES = 12


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("predict")
    def predict(
        rgb: Annotated[Path | None, typer.Option(help="RGB image, folder or video.")] = None,
        thermal: Annotated[Path | None, typer.Option(help="Thermal image, folder or video (8 or 16 bits).")] = None,
        checkpoint: Annotated[
            Path | None,
            typer.Option(help="Checkpoint (.safetensors) or exported model (.onnx); without it the package's own."),
        ] = None,
        out: Annotated[Path, typer.Option(help="Folder for images, video and detections.json.")] = Path("predictions"),
        score_threshold: Annotated[
            float | None,
            typer.Option(
                help="Lowest score of a detection, 0 to 1; without it that of the checkpoint's calibration, else 0.25."
            ),
        ] = None,
        nms_threshold: Annotated[
            float, typer.Option(help="Largest overlap (IoU) of two boxes of one class, 0 to 1.")
        ] = 0.5,
        max_detections: Annotated[int, typer.Option(help="Largest number of detections of one image.")] = 300,
        classes: Annotated[str | None, typer.Option(help="Only these classes: person,car.")] = None,
        device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
        precision: Annotated[str, typer.Option(help="auto, fp32, fp16 or bf16.")] = "auto",
        engine: EngineOption = "auto",
        registration: Annotated[
            Path | None, typer.Option(help="YAML of 'fusion-mamba register'; without it the checkpoint's.")
        ] = None,
        thermal_scaling: Annotated[
            str | None, typer.Option(help="percentile, range or passthrough; without it the checkpoint's.")
        ] = None,
        thermal_range: Annotated[
            tuple[float, float] | None, typer.Option(help="Lowest and highest count of scaling 'range'.")
        ] = None,
        thermal_polarity: Annotated[
            str | None, typer.Option(help="white_hot or black_hot; without it the checkpoint's.")
        ] = None,
        continue_alone: Annotated[
            bool, typer.Option("--continue-alone", help="Continue with one camera if the other has no image.")
        ] = False,
        write_images: Annotated[
            bool, typer.Option("--images/--no-images", help="Write annotated images or video, not only the JSON.")
        ] = True,
        old_write_images: Annotated[bool | None, typer.Option("--pictures/--no-pictures", hidden=True)] = None,
        track: Annotated[
            bool, typer.Option("--track", help="Give the boxes of one object the same id, in a video or a folder.")
        ] = False,
        frame_rate: Annotated[
            float, typer.Option(help="Images per second of a folder, for --track; a video has its own.")
        ] = 30.0,
        threads: ThreadsOption = 0,
        tiles: TilesOption = "",
        tile_overlap: TileOverlapOption = 0.2,
    ) -> None:
        """Detect objects on an RGB-thermal pair of images, folders (paired by file name) or videos (frame by frame).

        Writes annotated images (for videos one annotated.mp4), contact_sheet.png and detections.json (COCO layout,
        boxes in pixels of the RGB image). If only one camera is given, the detector uses that camera alone.

        Example: fusion-mamba predict --rgb rgb/ --thermal thermal/ --out predictions/
        """
        from fusion_mamba_ros.datasets.pair_source import open_pairs
        from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
        from fusion_mamba_ros.perception.predictor import Predictor
        from fusion_mamba_ros.perception.registration import read_homography
        from fusion_mamba_ros.perception.tiling import Tiling

        if old_write_images is not None:
            old, new = ("--pictures", "--images") if old_write_images else ("--no-pictures", "--no-images")
            typer.echo(f"warning: {old} is deprecated: use {new}", err=True)
            write_images = old_write_images
        try:
            if not 0 < frame_rate <= 1000:
                raise ValueError(f"--frame-rate is {frame_rate:g}: expected a rate above 0, up to 1000")
            source = open_pairs(rgb, thermal, continue_alone=continue_alone)
            if track and source.kind == "image":
                raise ValueError("--track needs a video or a folder: one image has no tracks")
            if source.kind != "video":
                _require_own_folder(out, rgb, thermal)
            checkpoint = checkpoint or default_checkpoint(engine=engine)
            predictor = Predictor.from_checkpoint(
                checkpoint,
                device=device,
                precision=precision,
                engine=engine,
                threads=threads,
                homography=None if registration is None else read_homography(registration),
                stream=source.kind == "video",
                tiling=Tiling.parse(tiles, tile_overlap),
            )
            warn_without_tiles(predictor.metadata, tiles)
            predictor.change(
                **({} if score_threshold is None else {"score_threshold": score_threshold}),
                nms_threshold=nms_threshold,
                max_detections=max_detections,
                classes=None if classes is None else tuple(name.strip() for name in classes.split(",")),
            )
            given = [name for name, path in (("rgb", rgb), ("thermal", thermal)) if path is not None]
            if not set(given) & set(predictor.modalities):
                raise ValueError(
                    f"checkpoint '{checkpoint}' uses {' and '.join(predictor.modalities)}, not {' and '.join(given)}: "
                    "give an image that it uses"
                )
            track_ids = _track_ids(predictor, source.rate_hz or frame_rate) if track else None
            _override_scaling(predictor, thermal_scaling, thermal_range, thermal_polarity)
            _run(
                source, predictor, out, {"checkpoint": checkpoint.name}, write_images=write_images, track_ids=track_ids
            )
        except (ValueError, OSError) as error:
            fail(error)


def _require_own_folder(out: Path, *inputs: Path | None) -> None:
    """Raise ``ValueError`` if ``out`` is an input folder: annotated images have the file names of their originals."""
    for path in inputs:
        if path and out.resolve() == (path if path.is_dir() else path.parent).resolve():
            raise ValueError(
                f"--out '{out}' is where '{path}' is read from, and could overwrite it: name another folder"
            )


def _override_scaling(
    predictor: Predictor, method: str | None, counts: tuple[float, float] | None, polarity: str | None
) -> None:
    from dataclasses import replace

    changes: dict[str, Any] = {}
    if method is not None:
        changes["method"] = method
    if counts is not None:
        changes["range_min"], changes["range_max"] = counts
    if polarity is not None:
        changes["polarity"] = polarity
    if changes:
        predictor.thermal_scaling = replace(predictor.thermal_scaling, **changes)


def _track_ids(predictor: Predictor, rate_hz: float) -> TrackIds:
    """Return a function that adds track ids to the detections of successive frames.

    ``predictor`` then also returns weak detections, because they can continue a track.
    """
    from fusion_mamba_ros.tracking.tracker import LEAST_SCORE, Tracker

    threshold = predictor.thresholds.score_threshold
    predictor.change(score_threshold=min(threshold, LEAST_SCORE))
    tracker = Tracker()

    def track_ids(number: int, detections: Detections) -> Detections:
        stamp_ns = round(number * 1e9 / rate_hz)
        boxes, scores, labels = detections.boxes, detections.scores, detections.labels
        ids = tracker.update(boxes, scores, labels, stamp_ns=stamp_ns, score_threshold=threshold)
        return detections.tracked(ids, threshold)

    return track_ids


def _run(
    source: PairSource,
    predictor: Predictor,
    out: Path,
    info: dict[str, Any],
    *,
    write_images: bool,
    track_ids: TrackIds | None = None,
) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from fusion_mamba_ros.commands.output_folder import make_output_folder
    from fusion_mamba_ros.perception.annotation_writer import AnnotationWriter
    from fusion_mamba_ros.perception.detections_file import DetectionsFile
    from fusion_mamba_ros.perception.drawing import draw_pair
    from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
    from fusion_mamba_ros.perception.letterbox import size_of

    make_output_folder(out)
    console = Console(stderr=True, highlight=False)
    file = DetectionsFile(predictor.class_names, info)
    writer = AnnotationWriter(out, as_video=source.kind == "video", rate_hz=source.rate_hz, sheet_tiles=_SHEET_TILES)
    modes: Counter[str] = Counter()
    objects: Counter[str] = Counter()
    inference_ms: list[float] = []
    reference_size = None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as progress:
            for pair in progress.track(source, total=source.count or None, description="predicting"):
                images = {"rgb": pair.rgb, "thermal": pair.thermal}
                # If the RGB video ends before the thermal video, keep the boxes in pixels of the RGB camera.
                if pair.rgb is not None and source.kind == "video":
                    reference_size = size_of(pair.rgb)
                try:
                    detections = predictor.predict(images, reference_size=reference_size)
                except NonFiniteOutputError as error:
                    raise ValueError(f"'{pair.name}' has no result: {error}") from error
                if track_ids is not None:
                    detections = track_ids(sum(modes.values()), detections)
                modes[detections.mode.value] += 1
                objects.update(predictor.class_names[label] for label in detections.labels)
                inference_ms.append(predictor.times.inference_ms)
                reference = pair.rgb if pair.rgb is not None else pair.thermal
                assert reference is not None
                file.add(pair.name, reference_size or size_of(reference), detections)
                if write_images:
                    writer.add(
                        pair.name,
                        draw_pair(
                            pair.rgb,
                            pair.thermal,
                            detections,
                            predictor.class_names,
                            scaling=predictor.thermal_scaling,
                            homography=predictor.homography,
                            reference_size=reference_size,
                            caption=pair.name,
                        ),
                    )
    except KeyboardInterrupt:
        source.notes.append("interrupted: the results so far are written")
    finally:
        # Write the results also after an error or interrupt, so that computed frames are not lost.
        if modes:
            file.write(out / "detections.json")
            writer.close()
    for note in source.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    if not modes:
        raise ValueError("no frame could be read from the input")
    typer.echo(f"{sum(modes.values())} images: " + ", ".join(f"{count} {mode}" for mode, count in modes.items()))
    typer.echo("objects: " + (", ".join(f"{count} {name}" for name, count in objects.most_common()) or "none"))
    # Skip the first time, because it includes the one-time setup of PyTorch.
    times, what = (inference_ms[1:], "median") if len(inference_ms) > 1 else (inference_ms, "with its start")
    typer.echo(f"inference: {sorted(times)[len(times) // 2]:.1f} ms ({what}) on {predictor.device}")
    typer.echo(f"written: {out / 'detections.json'}" + "".join(f", {path}" for path in writer.written))
