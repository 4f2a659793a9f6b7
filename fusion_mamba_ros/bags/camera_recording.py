# SPDX-License-Identifier: Apache-2.0
"""Write the videos or image folders of two cameras, or a procedural scene, to a bag."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from pathlib import Path

from fusion_mamba_ros.bags.camera_recorder import FRAME_IDS, record_cameras
from fusion_mamba_ros.bags.recording_options import LABEL_TOPIC, Recording, RecordingOptions
from fusion_mamba_ros.datasets.image_sequence import (
    FolderFrames,
    Image,
    ImageSequence,
    align_folders,
    open_image_sequence,
)
from fusion_mamba_ros.synthetic.procedural_scene import CLASS_NAMES, ProceduralScene

__all__ = ["FRAME_IDS", "LABEL_TOPIC", "Recording", "RecordingOptions", "record_scene", "record_sequences"]

_FOLDER_RATE = 30.0
_SCENE_RATE = 15.0
_SHOWN_STEMS = 5

# Receives the number of frames done and their total, 0 if it is unknown.
OnProgress = Callable[[int, int], None]


def record_sequences(
    out: Path,
    options: RecordingOptions,
    *,
    rgb: Path,
    thermal: Path,
    on_progress: OnProgress = lambda done, total: None,
) -> Recording:
    """Write two videos or folders to the new bag ``out`` and return a summary.

    The bag holds all frames of both cameras. If one camera ends early, the other continues alone, unless
    ``options.shortest`` is set. Raises `ImageSequenceError`, `BagError`, ``UnreadableImageError`` or ``ValueError``
    with a one-sentence message. After an error, no bag remains.
    """
    sequences: dict[str, ImageSequence] = {
        "rgb": open_image_sequence(rgb, thermal=False),
        "thermal": open_image_sequence(thermal, thermal=True),
    }
    notes: list[str] = []
    rgb_frames, thermal_frames = sequences["rgb"], sequences["thermal"]
    if isinstance(rgb_frames, FolderFrames) and isinstance(thermal_frames, FolderFrames):
        lone = align_folders(rgb_frames, thermal_frames)
        if lone:
            more = ", ..." if len(lone) > _SHOWN_STEMS else ""
            notes.append(
                f"{len(lone)} images have no partner of the same name and are recorded alone: "
                f"{', '.join(lone[:_SHOWN_STEMS])}{more}"
            )
    rates = {
        "rgb": options.frames_per_second or rgb_frames.frames_per_second or _FOLDER_RATE,
        "thermal": options.thermal_frames_per_second
        or options.frames_per_second
        or thermal_frames.frames_per_second
        or _FOLDER_RATE,
    }
    options.faults.check_rates(rates)
    counts = {"rgb": 0, "thermal": 0}
    last_sec = {"rgb": 0.0, "thermal": 0.0}
    total = sum(sequence.announced_count for sequence in sequences.values())
    ended: set[str] = set()

    def timed(camera: str) -> Iterator[tuple[float, str, int, Image]]:
        for index, image in sequences[camera]:
            yield index / rates[camera], camera, index, image
        ended.add(camera)

    with record_cameras(out, options) as recorder:
        frames = heapq.merge(timed("rgb"), timed("thermal"), key=lambda item: item[0])
        for seconds, camera, index, image in frames:
            if options.shortest and ended and seconds > max(last_sec[name] for name in ended):
                break
            recorder.write_image(camera, index, seconds, image)
            counts[camera] += 1
            last_sec[camera] = seconds
            on_progress(sum(counts.values()), total)
    recording = recorder.recording
    notes += _length_note(rates, counts, last_sec, {"rgb": rgb, "thermal": thermal}, options.shortest)
    recording.notes += notes
    return recording


def record_scene(
    out: Path,
    options: RecordingOptions,
    *,
    night: bool,
    seed: int,
    seconds: float,
    radiometric: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> Recording:
    """Write a procedural street to the new bag ``out`` and return a summary.

    The true boxes go to ``options.labels_topic``, with the stamp of the RGB image.
    """
    if not 0 < seconds <= 3600:
        raise ValueError(f"seconds is {seconds:g}: expected more than 0, at most 3600")
    rate = options.rates(_SCENE_RATE)["rgb"]
    if options.thermal_frames_per_second not in (None, rate):
        raise ValueError("a procedural scene has one rate for both cameras: leave out the thermal rate")
    scene = ProceduralScene(seed, night=night, frames_per_second=rate, radiometric=radiometric)
    count = max(int(seconds * rate), 1)
    with record_cameras(out, options, labels=True) as recorder:
        for index in range(count):
            sample = scene.render(index)
            names = [CLASS_NAMES[label] for label in sample.labels]
            recorder.write_image("rgb", index, index / rate, sample.images["rgb"])
            recorder.write_labels("rgb", index, index / rate, sample.boxes, names)
            recorder.write_image("thermal", index, index / rate, sample.images["thermal"])
            on_progress(index + 1, count)
    return recorder.recording


def _length_note(
    rates: dict[str, float],
    counts: dict[str, int],
    last_sec: dict[str, float],
    paths: dict[str, Path],
    shortest: bool,
) -> list[str]:
    """Return one sentence if one camera ended more than one frame before the other, else nothing."""
    short, long = sorted(last_sec, key=lambda camera: last_sec[camera])
    if shortest or last_sec[long] - last_sec[short] <= 1.0 / min(rates.values()):
        return []
    ends_sec = last_sec[short] + 0.5 / rates[short]
    alone = int((last_sec[long] - ends_sec) * rates[long]) + 1
    names = {"rgb": "RGB", "thermal": "thermal"}
    return [
        f"'{paths[short]}' ends early: {counts[short]} {names[short]} frames, {counts[long]} {names[long]} frames: "
        f"the last {alone} {names[long]} frames have no partner (--shortest leaves them out)"
    ]
