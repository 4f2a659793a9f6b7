# SPDX-License-Identifier: Apache-2.0
"""Report how a node processed a bag: numbers, an annotated video and a contact sheet.

The report needs only the source bag and the bag of the recorded node output. It needs no ROS.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.bags.bag_reading import Bag
from fusion_mamba_ros.bags.vision_messages import boxes_of, stamp_ns_of
from fusion_mamba_ros.perception.annotation_writer import AnnotationWriter
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.drawing import draw_pair
from fusion_mamba_ros.perception.letterbox import Size, size_of
from fusion_mamba_ros.perception.registration import Homography
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling
from fusion_mamba_ros.streams.message_decoding import image_of

DETECTIONS, LABEL_INFO, STATUS = "/detections", "/label_info", "/detector_node/status"


@dataclass(frozen=True)
class PublishedArray:
    """One detection array of the node, with its mode.

    ``pair_offset_ns`` is the pair offset of the status message, 0 if the mode is not fused.
    """

    stamp_ns: int
    frame_id: str
    detections: Detections
    pair_offset_ns: int = 0


@dataclass(frozen=True)
class ThermalView:
    """Thermal settings of the node. Drawing must use the same settings.

    ``homography``: thermal to RGB, None for aligned cameras. ``scaling``: counts to grey levels, None for the default.
    ``offset_sec``: seconds that the node added to the thermal stamps.
    """

    homography: Homography | None = None
    scaling: ThermalScaling | None = None
    offset_sec: float = 0.0


@dataclass(frozen=True)
class RecordedReplay:
    """Recorded output of a node: detection arrays in order of arrival, class names, and all status messages."""

    arrays: tuple[PublishedArray, ...]
    class_names: tuple[str, ...]
    statuses: tuple[Any, ...]


def read_recording(path: Path) -> RecordedReplay:
    """Return the node output in the bag ``path``. Raises `BagError` if the bag cannot be used or has no status."""
    found: list[Any] = []
    statuses: list[Any] = []
    class_names: tuple[str, ...] = ()
    with Bag(path) as bag:
        bag.require([STATUS])
        for message, fields in bag.read([name for name in (DETECTIONS, LABEL_INFO, STATUS) if name in bag.topics]):
            if message.topic == DETECTIONS:
                found.append(fields)
            elif message.topic == STATUS:
                statuses.append(fields)
            else:
                class_names = tuple(entry.class_name for entry in fields.class_map)
    of_arrays = {stamp_ns_of(status): status for status in statuses if status.mode != "none"}
    arrays = tuple(_array(fields, class_names, of_arrays.get(stamp_ns_of(fields))) for fields in found)
    return RecordedReplay(arrays, class_names, tuple(statuses))


def summarise(source: Path, recording: RecordedReplay, *, rgb_topic: str, thermal_topic: str) -> dict[str, Any]:
    """Return the numbers of a replay as plain values for JSON.

    ``counters`` counts the frames that reached the node. ``lost_in_transport`` counts the frames that did not.
    ``latency_ms`` is the time from the arrival of the later image of a pair until its array is handed to the
    middleware. ``faults`` lists violations of the node's guarantees, one sentence each.
    """
    with Bag(source) as bag:
        frames = {"rgb": bag.topics[rgb_topic].count, "thermal": bag.topics[thermal_topic].count}
        headers = {(stamp_ns_of(fields), fields.header.frame_id) for _, fields in bag.read([rgb_topic])}
    last = recording.statuses[-1]
    # The names come with the recorded message, so that this module need not know them.
    counters = {
        camera: {name: int(count) for name, count in vars(getattr(last, camera)).items() if not name.startswith("_")}
        for camera in frames
    }
    ages_ms = [1e3 * status.age_sec for status in recording.statuses if status.mode != "none"]
    labels = Counter(
        recording.class_names[label] for array in recording.arrays for label in array.detections.labels.tolist()
    )
    return {
        "frames_rgb": frames["rgb"],
        "frames_thermal": frames["thermal"],
        "pairs": counters["rgb"]["paired"],
        "published": len(recording.arrays),
        "detections": sum(len(array.detections) for array in recording.arrays),
        "detections_by_class": dict(sorted(labels.items())),
        "latency_ms": _percentiles(ages_ms),
        "inference_ms": _percentiles([float(s.inference_ms) for s in recording.statuses if s.mode != "none"]),
        "modes": dict(Counter(array.detections.mode.value for array in recording.arrays)),
        "counters": counters,
        "lost_in_transport": {camera: frames[camera] - counters[camera]["received"] for camera in frames},
        "faults": _faults(recording, headers, counters, int(last.published)),
    }


def draw_replay(
    source: Path,
    recording: RecordedReplay,
    folder: Path,
    *,
    rgb_topic: str,
    thermal_topic: str,
    rate_hz: float,
    view: ThermalView | None = None,
    tiles: int = 8,
) -> list[Path]:
    """Write `annotated.mp4` and `contact_sheet.png` of the published arrays to ``folder`` and return the paths.

    ``view``: thermal settings of the node, so that images and boxes align as they did in the node. An array of mode
    `thermal_only` is drawn on the thermal image alone. If the array carries the frame id of the RGB camera, the thermal
    image is drawn at the size of the RGB images, because the boxes are in RGB pixels.
    """
    view = view or ThermalView()
    rgb_size, rgb_frame_id = _rgb_camera(source, rgb_topic)
    writer = AnnotationWriter(folder, as_video=True, rate_hz=rate_hz, sheet_tiles=tiles)
    try:
        offset_ns = round(view.offset_sec * 1e9)
        for array, rgb, thermal in _with_images(source, recording, rgb_topic, thermal_topic, offset_ns):
            image = draw_pair(
                rgb,
                thermal,
                array.detections,
                recording.class_names,
                scaling=view.scaling,
                homography=view.homography,
                reference_size=rgb_size if array.frame_id == rgb_frame_id else None,
            )
            writer.add(f"{array.stamp_ns / 1e9:.3f} s", image)
    finally:
        writer.close()
    return writer.written


def _rgb_camera(source: Path, rgb_topic: str) -> tuple[Size, str]:
    """Return the size (width, height) of the RGB images and their frame id."""
    with Bag(source) as bag:
        _, fields = next(iter(bag.read([rgb_topic])))
        return size_of(image_of(fields).pixels), str(fields.header.frame_id)


def _with_images(
    source: Path, recording: RecordedReplay, rgb_topic: str, thermal_topic: str, thermal_offset_ns: int
) -> Iterator[tuple[PublishedArray, npt.NDArray[np.uint8] | None, npt.NDArray[Any] | None]]:
    """Yield each array with the RGB and thermal images that it was computed from.

    The RGB image is found by the stamp of the array, the thermal image by this stamp and the offsets.
    """
    with Bag(source) as bag:
        stamps = {
            topic: np.array([stamp_ns_of(fields) for _, fields in bag.read([topic])], np.int64)
            for topic in (rgb_topic, thermal_topic)
        }
        wanted: dict[str, dict[int, list[int]]] = {rgb_topic: {}, thermal_topic: {}}
        missing: list[int] = []
        for index, array in enumerate(recording.arrays):
            topics = {Mode.FUSED: [rgb_topic, thermal_topic], Mode.RGB_ONLY: [rgb_topic]}
            chosen = topics.get(array.detections.mode, [thermal_topic])
            missing.append(len(chosen))
            for topic in chosen:
                # The array of a lone thermal frame carries its stamp on the RGB camera's clock.
                stamp_ns = array.stamp_ns + (array.pair_offset_ns - thermal_offset_ns if topic == thermal_topic else 0)
                nearest = int(stamps[topic][np.abs(stamps[topic] - stamp_ns).argmin()])
                wanted[topic].setdefault(nearest, []).append(index)
        images: dict[int, dict[str, Any]] = {}
        for message, fields in bag.read([rgb_topic, thermal_topic]):
            # Draw an array once, even if a bag has two images with one stamp.
            for index in wanted[message.topic].pop(stamp_ns_of(fields), []):
                image = image_of(fields)
                found = images.setdefault(index, {})
                found[message.topic] = image.to_rgb() if message.topic == rgb_topic else image.to_thermal()
                if len(found) == missing[index]:
                    ready = images.pop(index)
                    yield recording.arrays[index], ready.get(rgb_topic), ready.get(thermal_topic)


def _array(fields: Any, class_names: tuple[str, ...], status: Any | None) -> PublishedArray:
    boxes, scores, class_ids = boxes_of(fields)
    labels = np.array([_label(class_id, class_names) for class_id in class_ids], np.int64)
    mode = Mode.FUSED if status is None else Mode(status.mode)
    offset_sec = status.pair_offset_sec if status is not None and mode is Mode.FUSED else 0.0
    detections = Detections(boxes, scores, labels, mode)
    return PublishedArray(stamp_ns_of(fields), fields.header.frame_id, detections, round(offset_sec * 1e9))


def _label(class_id: str, class_names: tuple[str, ...]) -> int:
    return class_names.index(class_id) if class_id in class_names else int(class_id)


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p95": None}
    return {"p50": round(float(np.percentile(values, 50)), 2), "p95": round(float(np.percentile(values, 95)), 2)}


def _faults(
    recording: RecordedReplay, rgb_headers: set[tuple[int, str]], counters: dict[str, dict[str, int]], published: int
) -> list[str]:
    faults = []
    stamps = [array.stamp_ns for array in recording.arrays]
    if any(later <= earlier for earlier, later in itertools.pairwise(stamps)):
        faults.append("stamps of the arrays do not strictly increase")
    strangers = [
        array
        for array in recording.arrays
        if array.detections.mode is not Mode.THERMAL_ONLY and (array.stamp_ns, array.frame_id) not in rgb_headers
    ]
    if strangers:
        faults.append(f"{len(strangers)} arrays carry a header that no RGB frame of the bag has")
    if published != len(recording.arrays):
        faults.append(f"{published} arrays were published, {len(recording.arrays)} recorded")
    for camera, counts in counters.items():
        ended = sum(count for name, count in counts.items() if name != "received")
        if counts["received"] != ended:
            faults.append(f"{camera}: {counts['received']} frames received, {ended} accounted for")
    return faults
