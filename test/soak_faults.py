# SPDX-License-Identifier: Apache-2.0
"""The single faults that the soak injects in turn, and how fast output came back after each."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from detector_graph import Graph
from faulty_detector import NAN, RAISE, SLOW, STALL, STALL_SEC
from ros_cameras import Cameras
from sensor_msgs.msg import Image

from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds
from fusion_mamba_ros.streams.frames import Camera

MOST_RESUME_SEC = 2.0
JUMP_NS, LATE_NS = 60 * 10**9, 300_000_000


@dataclass(frozen=True)
class SoakFault:
    """One kind of fault, from its begin until its effect ends ``seconds`` later.

    ``marked_sec``: how long the images call for it, if not all the time. The sum of ``counters`` of the status message
    must grow.
    """

    kind: str
    begin: Callable[[Cameras], None]
    seconds: float = 1.5
    marked_sec: float | None = None
    counters: tuple[str, ...] = ()


def _stop(cameras_hit: tuple[Camera, ...], cameras: Cameras) -> None:
    cameras.running = {camera: camera not in cameras_hit for camera in Camera}


def _mark(command: int, cameras: Cameras) -> None:
    cameras.first_pixel = command


def _freeze(cameras: Cameras) -> None:
    cameras.frozen = True


def _jump_back(cameras: Cameras) -> None:
    cameras.shift_ns = -JUMP_NS


def _spoil(change: Callable[[Image], None], cameras_hit: tuple[Camera, ...], cameras: Cameras) -> None:
    def spoil(camera: Camera, message: Image) -> Image:
        if camera in cameras_hit:
            change(message)
        return message

    cameras.spoil = spoil


def _cut(message: Image) -> None:
    message.data = message.data[:-7]


def _rename(message: Image) -> None:
    message.encoding = "no such encoding"


def _date_back(message: Image) -> None:
    stamp_ns = to_nanoseconds(message.header.stamp) - LATE_NS
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)


def _zero(message: Image) -> None:
    message.header.stamp.sec = message.header.stamp.nanosec = 0


_RGB, _THERMAL, _BOTH = (Camera.RGB,), (Camera.THERMAL,), tuple(Camera)
# Failing inference first: the first exception costs memory once, which belongs to the warm-up.
FAULTS = (
    SoakFault("inference raises", partial(_mark, RAISE), counters=("failed",)),
    SoakFault("inference gives NaN", partial(_mark, NAN), counters=("failed",)),
    SoakFault("thermal dead", partial(_stop, _THERMAL), counters=("alone", "unpaired")),
    SoakFault("RGB dead", partial(_stop, _RGB), counters=("alone", "unpaired")),
    SoakFault("both cameras dead", partial(_stop, _BOTH)),
    SoakFault("thermal frozen", _freeze, seconds=2.5, counters=("alone", "unpaired")),
    SoakFault("images cut short", partial(_spoil, _cut, _BOTH), counters=("refused",)),
    SoakFault("unknown encoding of thermal", partial(_spoil, _rename, _THERMAL), counters=("refused",)),
    SoakFault("zero stamps of RGB", partial(_spoil, _zero, _RGB), counters=("refused",)),
    SoakFault("late thermal stamps", partial(_spoil, _date_back, _THERMAL), counters=("unpaired", "late", "alone")),
    SoakFault("stamps jump back", _jump_back),
    SoakFault("inference slow", partial(_mark, SLOW), counters=("dropped",)),
    # Marked briefly: the inference that has begun lasts by itself.
    SoakFault("inference stalls", partial(_mark, STALL), STALL_SEC + 0.1, marked_sec=0.15, counters=("dropped",)),
)


class FaultInjector:
    """Injects one fault every ``every_sec`` and measures when fused output is back after its end."""

    def __init__(self, graph: Graph, cameras: Cameras, *, every_sec: float) -> None:
        self.failures: list[str] = []
        self.resumed_sec: dict[str, list[float]] = defaultdict(list)
        self._graph, self._cameras, self._every_sec = graph, cameras, every_sec
        self._count = 0

    def run_one(self) -> None:
        """Inject the next fault, end it, wait for output, then for the rest of the period."""
        fault = FAULTS[self._count % len(FAULTS)]
        self._count += 1
        start = time.monotonic()
        before = self._sums(fault)
        fault.begin(self._cameras)
        time.sleep(fault.seconds if fault.marked_sec is None else fault.marked_sec)
        self._heal()
        time.sleep(max(0.0, start + fault.seconds - time.monotonic()))
        self._measure(fault)
        if fault.counters and self._sums(fault) <= before:
            self.failures.append(f"{fault.kind}: no frame was counted as {' or '.join(fault.counters)}")
        time.sleep(max(0.0, start + self._every_sec - time.monotonic()))

    def summary(self) -> str:
        """Return a table: how often, and the median and the worst time until output was back."""
        lines = ["| fault | times | median (s) | worst (s) |", "|---|---:|---:|---:|"]
        for kind, seconds in self.resumed_sec.items():
            lines.append(f"| {kind} | {len(seconds)} | {np.median(seconds):.2f} | {max(seconds):.2f} |")
        return "\n".join(lines)

    def _heal(self) -> None:
        cameras = self._cameras
        cameras.running, cameras.frozen = dict.fromkeys(Camera, True), False
        cameras.first_pixel, cameras.shift_ns = 0, 0
        cameras.spoil = lambda camera, message: message

    def _measure(self, fault: SoakFault) -> None:
        """Wait for the first fused array with a stamp of after the fault."""
        ended, ended_ns = time.monotonic(), time.time_ns()
        while (seconds := time.monotonic() - ended) < 2 * self._every_sec:
            status = self._graph.statuses[-1]
            if status.mode == "fused" and to_nanoseconds(status.header.stamp) >= ended_ns:
                self.resumed_sec[fault.kind].append(seconds)
                if seconds > MOST_RESUME_SEC:
                    self.failures.append(f"{fault.kind}: output resumed after {seconds:.2f} s")
                return
            time.sleep(0.01)
        self.failures.append(f"{fault.kind}: no output within {seconds:.0f} s of its end")

    def _sums(self, fault: SoakFault) -> int:
        status = self._graph.statuses[-1]
        return sum(getattr(camera, name) for camera in (status.rgb, status.thermal) for name in fault.counters)
