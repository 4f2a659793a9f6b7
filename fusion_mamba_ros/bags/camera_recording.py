# SPDX-License-Identifier: Apache-2.0
"""Write the videos or image folders of two cameras, or a procedural scene, to a bag."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from fusion_mamba_ros.bags.bag_writing import ImageBagWriter
from fusion_mamba_ros.datasets.image_sequence import (
    FolderFrames,
    Image,
    ImageSequence,
    ImageSequenceError,
    align_folders,
    open_image_sequence,
)
from fusion_mamba_ros.synthetic.procedural_scene import CLASS_NAMES, ProceduralScene

LABEL_TOPIC = "/ground_truth"
FRAME_IDS = {"rgb": "rgb_camera_optical_frame", "thermal": "thermal_camera_optical_frame"}

_FOLDER_RATE = 30.0
_SCENE_RATE = 15.0
_SHOWN_STEMS = 5
_MOST_OFFSET_SEC = 1e6
# The seconds of a ROS stamp are a signed 32-bit number. One year is reserved for the recording itself.
_STAMP_END_NS = (2**31 - 365 * 86400) * 1_000_000_000


@dataclass(frozen=True)
class RecordingOptions:
    """Settings for writing images to a bag.

    ``frames_per_second`` overrides the default rate: the video's own, 30 for folders, 15 for scenes.
    ``thermal_frames_per_second`` overrides the rate of the thermal camera only. ``thermal_offset_sec`` is added to the
    thermal stamps. ``shortest`` ends both cameras when the shorter one ends. Raises ``ValueError`` on a value out of
    range.
    """

    rgb_topic: str = "/rgb/image_raw"
    thermal_topic: str = "/thermal/image_raw"
    compressed: bool = False
    frames_per_second: float | None = None
    thermal_frames_per_second: float | None = None
    thermal_offset_sec: float = 0.0
    shortest: bool = False
    start_ns: int = 1_700_000_000_000_000_000

    def __post_init__(self) -> None:
        for name in ("frames_per_second", "thermal_frames_per_second"):
            rate = getattr(self, name)
            if rate is not None and not 0.001 <= rate <= 1000:
                raise ValueError(f"{name} is {rate:g}: expected at least 0.001, at most 1000")
        if not math.isfinite(self.thermal_offset_sec) or abs(self.thermal_offset_sec) > _MOST_OFFSET_SEC:
            raise ValueError(
                f"thermal_offset_sec is {self.thermal_offset_sec}: expected seconds, at most {_MOST_OFFSET_SEC:g}"
            )
        if self.start_ns >= _STAMP_END_NS:
            raise ValueError(
                f"the first stamp is {self.start_ns / 1e9:g} s: ROS stamps end at {_STAMP_END_NS / 1e9:g} s"
            )
        # Readers of the bag treat a stamp of zero or below as "no stamp".
        if self.start_ns + min(self.thermal_offset_sec, 0) * 1e9 <= 0:
            raise ValueError(f"the first stamp is {self.start_ns / 1e9:g} s: expected a time after 1970")
        for topic in (self.rgb_topic, self.thermal_topic):
            if not topic.strip("/") or " " in topic:
                raise ValueError(f"topic '{topic}' is no ROS topic name: expected for example /rgb/image_raw")
        if self.rgb_topic.lstrip("/") == self.thermal_topic.lstrip("/"):
            raise ValueError(f"both cameras have the topic '{self.rgb_topic}': give each its own")


@dataclass
class Recording:
    """Summary of a written bag. ``notes`` are sentences for the user."""

    rgb_count: int = 0
    thermal_count: int = 0
    duration_sec: float = 0.0
    notes: list[str] = field(default_factory=list)


def record_sequences(out: Path, options: RecordingOptions, *, rgb: Path, thermal: Path) -> Recording:
    """Write two videos or folders to the new bag ``out`` and return a summary.

    The bag holds all frames of both cameras. If one camera ends early, the other continues alone, unless
    ``options.shortest`` is set. Raises `ImageSequenceError`, `BagError` or ``UnreadableImageError`` with a one-sentence
    message. After an error, no bag remains.
    """
    sequences: dict[str, ImageSequence] = {
        "rgb": open_image_sequence(rgb, thermal=False),
        "thermal": open_image_sequence(thermal, thermal=True),
    }
    recording = Recording()
    rgb_frames, thermal_frames = sequences["rgb"], sequences["thermal"]
    if isinstance(rgb_frames, FolderFrames) and isinstance(thermal_frames, FolderFrames):
        lone = align_folders(rgb_frames, thermal_frames)
        if lone:
            more = ", ..." if len(lone) > _SHOWN_STEMS else ""
            recording.notes.append(
                f"{len(lone)} images have no partner of the same name and go in alone: "
                f"{', '.join(lone[:_SHOWN_STEMS])}{more}"
            )
    rates = {
        "rgb": options.frames_per_second or rgb_frames.frames_per_second or _FOLDER_RATE,
        "thermal": options.thermal_frames_per_second
        or options.frames_per_second
        or thermal_frames.frames_per_second
        or _FOLDER_RATE,
    }
    counts = {"rgb": 0, "thermal": 0}
    last_sec = {"rgb": 0.0, "thermal": 0.0}
    total = sum(sequence.announced_count for sequence in sequences.values())
    ended: set[str] = set()

    def timed(camera: str) -> Iterator[tuple[float, str, Image]]:
        for index, image in sequences[camera]:
            yield index / rates[camera], camera, image
        ended.add(camera)

    with _new_bag(out, options) as bag, _progress(f"writing {out}", total) as advance:
        frames = heapq.merge(timed("rgb"), timed("thermal"), key=lambda item: item[0])
        for seconds, camera, image in frames:
            if options.shortest and ended and seconds > max(last_sec[name] for name in ended):
                break
            bag.write_image(camera, _stamp_ns(options, camera, seconds), image)
            counts[camera] += 1
            last_sec[camera] = seconds
            advance()
        if not counts["rgb"] or not counts["thermal"]:
            raise ImageSequenceError(f"'{rgb}' or '{thermal}' holds no image")
    recording.rgb_count, recording.thermal_count = counts["rgb"], counts["thermal"]
    recording.duration_sec = max(last_sec.values())
    recording.notes += _length_note(rates, counts, last_sec, {"rgb": rgb, "thermal": thermal}, options.shortest)
    return recording


def record_scene(
    out: Path, options: RecordingOptions, *, night: bool, seed: int, seconds: float, radiometric: bool = False
) -> Recording:
    """Write a procedural street to the new bag ``out`` and return a summary. The true boxes go to `/ground_truth`."""
    if not 0 < seconds <= 3600:
        raise ValueError(f"seconds is {seconds:g}: expected more than 0, at most 3600")
    rate = options.frames_per_second or _SCENE_RATE
    if options.thermal_frames_per_second not in (None, rate):
        raise ValueError("a procedural scene gives both cameras at one rate: leave out the thermal one")
    for topic in (options.rgb_topic, options.thermal_topic):
        if topic.lstrip("/") == LABEL_TOPIC.lstrip("/"):
            raise ValueError(
                f"topic '{topic}' holds the true boxes of a procedural scene: choose another for the camera"
            )
    scene = ProceduralScene(seed, night=night, frames_per_second=rate, radiometric=radiometric)
    count = max(int(seconds * rate), 1)
    with _new_bag(out, options, labels=True) as bag, _progress(f"writing {out}", count) as advance:
        for index in range(count):
            sample = scene.render(index)
            rgb_ns = _stamp_ns(options, "rgb", index / rate)
            bag.write_image("rgb", rgb_ns, sample.images["rgb"])
            bag.write_labels("rgb", rgb_ns, sample.boxes, [CLASS_NAMES[label] for label in sample.labels])
            bag.write_image("thermal", _stamp_ns(options, "thermal", index / rate), sample.images["thermal"])
            advance()
    return Recording(rgb_count=count, thermal_count=count, duration_sec=(count - 1) / rate)


def _stamp_ns(options: RecordingOptions, camera: str, seconds: float) -> int:
    offset = options.thermal_offset_sec if camera == "thermal" else 0.0
    return options.start_ns + round((seconds + offset) * 1e9)


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


@contextmanager
def _new_bag(out: Path, options: RecordingOptions, *, labels: bool = False) -> Iterator[ImageBagWriter]:
    """Open a new bag. Remove it if an exception ends the recording."""
    bag = ImageBagWriter(
        out,
        topics={"rgb": options.rgb_topic, "thermal": options.thermal_topic},
        frame_ids=FRAME_IDS,
        compressed=options.compressed,
        label_topic=LABEL_TOPIC if labels else None,
    )
    try:
        yield bag
        bag.close()
    except BaseException:
        bag.abort()
        raise


@contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[], None]]:
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total or None)
        yield lambda: progress.advance(task)
