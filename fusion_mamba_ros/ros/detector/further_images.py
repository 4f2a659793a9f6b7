# SPDX-License-Identifier: Apache-2.0
"""Images of further modalities, besides RGB and thermal. Each array gets the frame that is nearest in time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy.typing as npt
from rclpy.lifecycle import LifecycleNode

from fusion_mamba_ros.msg import FurtherModality
from fusion_mamba_ros.perception.modality import modality_named
from fusion_mamba_ros.ros.detector.image_message import fault_of
from fusion_mamba_ros.ros.detector.image_subscription import ImageSubscription
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.ros.detector.pair_names import ONE_PAIR, PairNames
from fusion_mamba_ros.ros.throttled_reports import ThrottledReports
from fusion_mamba_ros.streams.depth_decoding import ENCODING as METRES
from fusion_mamba_ros.streams.depth_decoding import check_metres, millimetres_of
from fusion_mamba_ros.streams.image_decoding import ImageDecodingError
from fusion_mamba_ros.streams.message_decoding import image_of
from fusion_mamba_ros.streams.nearest_frame import NearestFrameCounters, NearestFrames


@dataclass(frozen=True, eq=False)
class FurtherImage:
    """A decoded image of a further modality. ``offset_ns`` is its stamp minus the stamp of the array."""

    pixels: npt.NDArray[Any]
    offset_ns: int


@dataclass(frozen=True)
class FurtherState:
    """The state of a further modality. ``missing`` says why the last array lacks it; empty if it is present."""

    counters: NearestFrameCounters
    missing: str = ""


class FurtherImages:
    """Subscriptions and image queues of the modalities ``names``, which may be empty.

    ``names_of_pair`` are those of the camera pair. With ``use_arrival_time`` the time of the node's clock at arrival
    replaces the stamps. The executor thread receives images; the inference thread selects them. The constructor raises
    if a QoS override is not allowed, and then leaves no subscription behind. ``subscriptions`` maps modality names to
    subscriptions.
    """

    def __init__(
        self,
        node: LifecycleNode,
        names: Sequence[str],
        *,
        compressed: bool,
        queue_size: int,
        max_offset_ns: int,
        use_arrival_time: bool = False,
        names_of_pair: PairNames = ONE_PAIR,
    ) -> None:
        self._clock = node.get_clock()
        self._use_arrival_time = use_arrival_time
        self.max_offset_ns = max_offset_ns
        self.subscriptions: dict[str, ImageSubscription] = {}
        self._lock = threading.Lock()
        self._reports = ThrottledReports(node.get_logger(), sentence=names_of_pair.sentence)
        self._queues = {name: NearestFrames(queue_size) for name in names}
        self._missing = dict.fromkeys(names, "")
        try:
            for name in names:
                subscription = ImageSubscription(node, names_of_pair.topic(f"{name}/image_raw"), compressed=compressed)
                self.subscriptions[name] = subscription
                subscription.registerCallback(self._on_image, name)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self.subscriptions.values():
            subscription.close()

    def follow_publishers(self) -> None:
        """Adapt the QoS of the subscriptions to the current publishers."""
        for subscription in self.subscriptions.values():
            subscription.follow_publishers()

    def change_limits(self, *, queue_size: int, max_offset_ns: int) -> None:
        """Apply changed limits."""
        with self._lock:
            self.max_offset_ns = max_offset_ns
            for queue in self._queues.values():
                queue.queue_size = queue_size

    def select(self, stamp_ns: int) -> dict[str, FurtherImage]:
        """Return the image nearest to ``stamp_ns`` of each modality that has one within ``max_offset_ns``."""
        images = {}
        for name in self._queues:
            image, reason = self._nearest(name, stamp_ns)
            self._missing[name] = reason
            if image is not None:
                images[name] = image
            else:
                self._reports.warning(f"{name} is missing: {reason}")
        return images

    def states(self) -> dict[str, FurtherState]:
        """Return the state of each modality."""
        with self._lock:
            return {name: FurtherState(queue.counters(), self._missing[name]) for name, queue in self._queues.items()}

    def messages(self, offsets_ns: Mapping[str, int]) -> list[FurtherModality]:
        """Return the status messages of these modalities. ``offsets_ns`` holds those that the array used."""
        return [
            FurtherModality(
                name=name,
                in_array=name in offsets_ns,
                offset_sec=offsets_ns[name] * 1e-9 if name in offsets_ns else float("nan"),
                **asdict(state.counters),
            )
            for name, state in self.states().items()
        ]

    def _on_image(self, message: Any, name: str) -> None:
        reason = _fault_of(message)
        stamp_ns = self._clock.now().nanoseconds if self._use_arrival_time else to_nanoseconds(message.header.stamp)
        if reason is None and stamp_ns <= 0:
            reason = "its stamp is zero or negative, let the driver set it"
        with self._lock:
            if reason is None:
                self._queues[name].add(stamp_ns, message)
            else:
                self._queues[name].count_refused()
        if reason is not None:
            self._reports.warning(f"{name} image refused: {reason}")

    def _nearest(self, name: str, stamp_ns: int) -> tuple[FurtherImage | None, str]:
        """Return the nearest image, or None and the reason. Images that cannot be decoded are refused."""
        queue, refusal = self._queues[name], ""
        while True:
            with self._lock:
                frame, max_offset_ns = queue.select(stamp_ns, self.max_offset_ns), self.max_offset_ns
                received = queue.counters().received
            if frame is None:
                apart = f"no image within further.max_offset_sec ({max_offset_ns * 1e-9:g} s) of the array"
                return None, refusal or (apart if received else "nothing arrives")
            try:
                pixels = _pixels_of(frame.payload, channels=modality_named(name).channels)
            except (ImageDecodingError, MemoryError) as error:
                refusal = f"its image is refused: {error}"
                with self._lock:
                    queue.refuse(frame)
                self._reports.warning(f"{name} image refused: {error}")
                continue
            with self._lock:
                queue.mark_used(frame)
            return FurtherImage(pixels, frame.stamp_ns - stamp_ns), ""


def _fault_of(message: Any) -> str | None:
    if getattr(message, "encoding", None) != METRES:
        return fault_of(message)
    try:
        check_metres(message)
    except ImageDecodingError as error:
        return str(error)
    return None


def _pixels_of(message: Any, *, channels: int) -> npt.NDArray[Any]:
    """Return (H, W) uint8, uint16 or float32 for one channel, (H, W, 3) uint8 for three."""
    if channels == 1 and getattr(message, "encoding", None) == METRES:
        return millimetres_of(message)
    image = image_of(message)
    return image.to_rgb() if channels == 3 else image.to_thermal()
