# SPDX-License-Identifier: Apache-2.0
"""Process one pair in the inference thread: decode, predict, publish, record the outcome."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy.typing as npt
from std_msgs.msg import Header

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata
from fusion_mamba_ros.perception.detections import Detections, Mode
from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.perception.letterbox import Size
from fusion_mamba_ros.perception.mode import modalities_in, mode_of
from fusion_mamba_ros.perception.predictor import Thresholds
from fusion_mamba_ros.perception.rectification import Rectification
from fusion_mamba_ros.ros.detector.frame_ledger import FrameLedger, Outcome
from fusion_mamba_ros.ros.detector.further_images import FurtherImage
from fusion_mamba_ros.ros.detector.inference_monitor import InferenceMonitor
from fusion_mamba_ros.ros.detector.message_conversion import to_nanoseconds, to_stamp
from fusion_mamba_ros.ros.detector.refusals import Refusals
from fusion_mamba_ros.ros.detector.result import Job, Result
from fusion_mamba_ros.ros.detector.track_ids import TrackIds
from fusion_mamba_ros.streams.frames import Camera, Frame, LoneFrame, Pair
from fusion_mamba_ros.streams.image_decoding import ImageDecodingError
from fusion_mamba_ros.streams.message_decoding import image_of

__all__ = ["DetectionSource", "Job", "PairProcessor", "Result", "describe_failure"]


class DetectionSource(Protocol):
    """The part of `perception.Predictor` that the node uses. Tests may pass another implementation."""

    thresholds: Thresholds
    metadata: CheckpointMetadata
    device: Any

    @property
    def engine_description(self) -> str:
        """The software that runs the network, with its version and precision."""

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes that the predictor supports."""

    def warm_up(self) -> Sequence[float] | None:
        """Run one prediction per mode. Return their times in seconds, or None if they were not measured."""

    def reset_stream(self) -> None:
        """Reset the state kept from earlier images."""

    def memory_mb(self) -> Mapping[str, float]:
        """Return the memory used outside the process's own, in MiB by name."""

    def free_memory(self) -> None:
        """Return unused cached memory to the device after a failure."""

    def predict(self, images: Any, *, reference_size: tuple[int, int] | None = None) -> Detections:
        """Return the detections of one pair."""


class PairProcessor:
    """Turn jobs into results in the inference thread, and record the outcome of every frame in the ledger.

    Callbacks and collaborators:

    * ``publish(result)`` builds and publishes the array and returns whether it did.
    * ``on_published(result)`` is called after the frames of a published array have been counted.
    * ``report(sentence)`` logs a lost frame.
    * ``continue_alone()`` returns whether a frame is used alone if its partner cannot be decoded.
    * ``rectification(camera, size)`` returns how to rectify an image of this (width, height), or None.
    * ``further(stamp_ns)`` returns the images of modalities besides RGB and thermal for an array with this stamp.
    * ``monitor`` receives the current stage of the thread.
    * ``track_ids``, unless it is None, gives detections the ids of their tracks.
    * ``refusals`` receives the reason why an image could not be decoded.
    """

    def __init__(
        self,
        predictor: DetectionSource,
        ledger: FrameLedger,
        *,
        publish: Callable[[Result], bool],
        on_published: Callable[[Result], None],
        report: Callable[[str], None],
        continue_alone: Callable[[], bool],
        rectification: Callable[[Camera, Size], Rectification | None] = lambda camera, size: None,
        further: Callable[[int], Mapping[str, FurtherImage]] = lambda stamp_ns: {},
        monitor: InferenceMonitor | None = None,
        refusals: Refusals | None = None,
        track_ids: TrackIds | None = None,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._predictor = predictor
        self._ledger = ledger
        self._publish = publish
        self._on_published = on_published
        self._report = report
        self._continue_alone = continue_alone
        self._rectification = rectification
        self._lenses: dict[Camera, Rectification | None] = dict.fromkeys(Camera)
        self._further = further
        self._rgb_frame_id = ""
        self._rgb_size: tuple[int, int] | None = None
        self.monitor = monitor or InferenceMonitor(steady_ns=steady_ns)
        self._refusals = refusals or Refusals(steady_ns=steady_ns)
        self._track_ids = track_ids
        self._steady_ns = steady_ns

    def detach(self) -> None:
        """Drop all callbacks and publish nothing more.

        A thread that never ends must not keep alive the objects that the callbacks refer to.
        """
        self._publish = lambda _: False
        self._on_published = lambda _: None
        self._report = lambda _: None
        self._continue_alone = lambda: False
        self._rectification = lambda camera, size: None
        self._further = lambda _: {}

    def process(self, job: Job) -> None:
        """Publish the result of ``job``, or report why there is no result."""
        self.monitor.enter("decoding the images")
        try:
            self._process(job)
        finally:
            self.monitor.finish()

    def _process(self, job: Job) -> None:
        taken_ns = self._steady_ns()
        frames, images = self._decoded(job.released)
        if not frames:
            return
        # A model of one modality uses only the image of that modality.
        modalities = modalities_in(self._predictor.modes)
        images = {name: image for name, image in images.items() if name in modalities}
        lost_partner = len(frames) < len(job.released.frames)
        if not images or (lost_partner and not self._continue_alone()):
            self._record(frames, Outcome.UNPAIRED)
            return
        is_pair = len(images) == 2
        header = self._header(job.released, images)
        further = self._further(to_nanoseconds(header.stamp))
        images |= {name: image.pixels for name, image in further.items()}
        mode = mode_of(images, modalities)
        if mode not in self._predictor.modes:
            self._record(frames, Outcome.UNPAIRED)
            return
        decoded_ns = self._steady_ns()
        predicted = self._predicted(frames, images, to_nanoseconds(header.stamp))
        if predicted is None:
            return
        seen, detections = predicted
        inferred_ns = self._steady_ns()
        arrived_ns = max(frame.payload.steady_ns for frame in frames)
        result = Result(
            detections=detections,
            seen=seen,
            mode=mode,
            header=header,
            images=images,
            reference_size=self._rgb_size,
            offset_ns=job.released.offset_ns if isinstance(job.released, Pair) and is_pair else None,
            arrived_ns=arrived_ns,
            pairing_ms=(job.released_ns - arrived_ns) * 1e-6,
            queue_ms=(taken_ns - job.released_ns) * 1e-6,
            decode_ms=(decoded_ns - taken_ns) * 1e-6,
            inference_ms=(inferred_ns - decoded_ns) * 1e-6,
            further_offsets_ns={name: image.offset_ns for name, image in further.items()},
            thermal_header=next(
                (
                    frame.payload.message.header
                    for frame in frames
                    if frame.camera is Camera.THERMAL and Camera.THERMAL.value in images
                ),
                None,
            ),
            thermal_lens=self._lenses[Camera.THERMAL],
        )
        self.monitor.enter("publishing the array")
        try:
            published = self._publish(result)
        except Exception as error:
            reason = f"the array could not be published: {describe_failure(error)}"
            self.monitor.record_failure(reason, non_finite=False)
            self._record(frames, Outcome.FAILED)
            raise
        if not published:
            self._record(frames, Outcome.DROPPED)
            return
        self._record(frames, Outcome.ALONE if len(frames) == 1 else Outcome.PAIRED)
        self._ledger.count_published()
        self._on_published(result)

    def _decoded(self, released: Pair | LoneFrame) -> tuple[list[Frame], dict[str, npt.NDArray[Any]]]:
        """Return the frames that could be decoded, with their images. Record and report the others."""
        frames: list[Frame] = []
        images: dict[str, npt.NDArray[Any]] = {}
        for frame in released.frames:
            try:
                image = image_of(frame.payload.message)
                pixels = image.to_rgb() if frame.camera is Camera.RGB else image.to_thermal()
                lens = self._rectification(frame.camera, (image.width, image.height))
                if lens is not None:
                    pixels = lens.rectify(pixels)
            except ImageDecodingError as error:
                self._refusals.note(frame.camera, str(error))
                self._ledger.record(frame.camera, Outcome.REFUSED)
                self._report(f"{frame.camera.value} image refused: {error}")
                continue
            except Exception as error:
                reason = f"{frame.camera.value} image could not be decoded and is lost: {describe_failure(error)}"
                self.monitor.record_failure(reason, non_finite=False)
                self._ledger.record(frame.camera, Outcome.FAILED)
                self._report(reason)
                continue
            self._lenses[frame.camera] = lens
            images[frame.camera.value] = pixels
            frames.append(frame)
            if frame.camera is Camera.RGB:
                self._rgb_frame_id = frame.payload.message.header.frame_id
                self._rgb_size = (image.width, image.height)
        return frames, images

    def _predicted(
        self, frames: list[Frame], images: dict[str, npt.NDArray[Any]], stamp_ns: int
    ) -> tuple[Detections, Detections] | None:
        """Return the detections in pixels of ``images`` and of the image as it was received, None after a failure."""
        lens = self._lenses[Camera.THERMAL if self._rgb_size is None else Camera.RGB]
        self.monitor.enter("inference")
        started_ns = self._steady_ns()
        try:
            detections = self._predictor.predict(images, reference_size=self._rgb_size)
            if self._track_ids is not None:
                detections = self._track_ids.add_to(detections, stamp_ns=stamp_ns, size=self._rgb_size)
            restored = detections if lens is None else lens.restored(detections)
        except Exception as error:
            reason = describe_failure(error)
            self.monitor.record_failure(reason, non_finite=isinstance(error, NonFiniteOutputError))
        else:
            self.monitor.record_success((self._steady_ns() - started_ns) * 1e-9)
            return detections, restored
        # Free memory outside the handler: inside it the traceback still refers to the arrays.
        self._record(frames, Outcome.FAILED)
        self._report(f"inference failed, the frame is lost: {reason}")
        self._predictor.free_memory()
        return None

    def _header(self, released: Pair | LoneFrame, images: Mapping[str, object]) -> Header:
        """Return the header of the RGB frame, or a header for the thermal image if there is no RGB image."""
        if isinstance(released, Pair):
            if Camera.RGB.value in images:
                return released.rgb.payload.header
            # A damaged RGB image still has a valid stamp. The thermal stamp may be later than the next RGB stamp.
            shift_ns = 0 if Camera.RGB.value in modalities_in(self._predictor.modes) else released.offset_ns
            thermal, stamp_ns = released.thermal, released.stamp_ns + shift_ns
        elif released.frame.camera is Camera.RGB:
            return released.frame.payload.header
        else:
            thermal, stamp_ns = released.frame, released.stamp_ns
        thermal_frame_id = thermal.payload.message.header.frame_id
        return Header(stamp=to_stamp(stamp_ns), frame_id=self._rgb_frame_id or thermal_frame_id)

    def _record(self, frames: list[Frame], outcome: Outcome) -> None:
        for frame in frames:
            self._ledger.record(frame.camera, outcome)


def describe_failure(error: Exception) -> str:
    """Return the cause of a failure in one line. Out-of-memory errors are named as such."""
    text = " ".join(str(error).split())
    if isinstance(error, NonFiniteOutputError):
        return text
    if isinstance(error, MemoryError) or "allocate memory" in text:
        return f"out of memory: {text}"
    return f"{type(error).__name__}: {text}"
