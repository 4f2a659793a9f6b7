# SPDX-License-Identifier: Apache-2.0
"""The objects that exist while the node is active: subscriptions, pairing and the inference thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecycleNode

from fusion_mamba_ros.msg import FusionStatus
from fusion_mamba_ros.perception.mode import modalities_in
from fusion_mamba_ros.perception.predictor import Predictor
from fusion_mamba_ros.ros.detector.camera_info import RectifiedCameras, camera_info_topics
from fusion_mamba_ros.ros.detector.camera_rectification import RectificationState
from fusion_mamba_ros.ros.detector.contribution_shares import ContributionShares
from fusion_mamba_ros.ros.detector.frame_counters import FrameCounters, count_frames
from fusion_mamba_ros.ros.detector.frame_ledger import FrameLedger, Outcome
from fusion_mamba_ros.ros.detector.further_images import FurtherImages, FurtherState
from fusion_mamba_ros.ros.detector.image_message import fault_of, motion_image, rows_of
from fusion_mamba_ros.ros.detector.image_subscription import ImageSubscription
from fusion_mamba_ros.ros.detector.inference_monitor import InferenceMonitor
from fusion_mamba_ros.ros.detector.inference_scheduler import InferenceLane
from fusion_mamba_ros.ros.detector.inference_worker import InferenceWorker
from fusion_mamba_ros.ros.detector.message_conversion import camera_counters, idle_status, to_nanoseconds
from fusion_mamba_ros.ros.detector.outputs import Outputs
from fusion_mamba_ros.ros.detector.pair_names import ONE_PAIR, PairNames
from fusion_mamba_ros.ros.detector.pair_processor import DetectionSource, Job, PairProcessor, Result, describe_failure
from fusion_mamba_ros.ros.detector.pairing_filter import PairingFilter
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.ros.detector.predictor_loading import thresholds_of
from fusion_mamba_ros.ros.detector.refusals import Refusals
from fusion_mamba_ros.ros.detector.session_limits import limits_from, to_ns
from fusion_mamba_ros.ros.detector.stream_statistics import Output, StreamStatistics
from fusion_mamba_ros.ros.detector.track_ids import TrackIds
from fusion_mamba_ros.ros.throttled_reports import ThrottledReports
from fusion_mamba_ros.streams.clock_offset import ClockOffsetEstimator
from fusion_mamba_ros.streams.frames import Camera, LoneFrame, Pair
from fusion_mamba_ros.streams.frozen_image import FrozenImage
from fusion_mamba_ros.streams.presence import Absence

# Longer than any inference that still ends. Shorter at exit, where the process itself must end in time.
_STOP_TIMEOUT_SEC = 10.0
_STOP_TIMEOUT_AT_EXIT_SEC = 0.7

WorkerFactory = Callable[..., "InferenceWorker[Job] | InferenceLane[Job]"]


class DetectionSession:
    """Connect the subscriptions to pairing, inference and the outputs.

    The executor thread checks and pairs images; the inference thread decodes, predicts and publishes. The node creates
    a session on activation and closes it on deactivation. The constructor raises if a QoS override is not allowed or a
    part cannot be created; it then leaves no subscription and no thread behind. ``names`` are those of the camera pair.
    ``worker`` makes the inference worker, None: a thread of its own. ``warm_up_sec`` holds the times of the warm-up
    inferences. ``steady_ns`` returns the steady time; tests may replace it.
    """

    def __init__(
        self,
        node: LifecycleNode,
        predictor: DetectionSource,
        outputs: Outputs,
        parameters: DetectorParameters,
        *,
        names: PairNames = ONE_PAIR,
        worker: WorkerFactory | None = None,
        warm_up_sec: Sequence[float] = (),
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.started_ns = steady_ns()
        self.statistics, self.refusals = StreamStatistics(), Refusals(steady_ns=steady_ns)
        self.parameters = parameters
        # Fixed while the node is active: a change would make the stamps jump.
        self._use_arrival_time = parameters.pairing_use_arrival_time
        self._steady_ns = steady_ns
        self._node = node
        self._outputs = outputs
        self._reports = ThrottledReports(node.get_logger(), sentence=names.sentence)
        self._ledger = FrameLedger()
        self._closed = False
        self._status = FusionStatus()
        self._offset_estimator = ClockOffsetEstimator()
        self._estimated_offset_sec: float | None = None
        self._metadata = predictor.metadata
        self._frozen = {camera: FrozenImage() for camera in Camera}
        self._change_freeze_timeouts(parameters)
        explained = predictor if parameters.contributions and isinstance(predictor, Predictor) else None
        self._shares = None if explained is None else ContributionShares(explained)
        predictor.reset_stream()
        self.processor = PairProcessor(
            predictor,
            self._ledger,
            publish=self._publish,
            on_published=self._on_published,
            report=self._reports.error,
            continue_alone=lambda: self.parameters.missing_modality == "continue",
            rectification=lambda camera, size: self._rectified.rectification(camera, size),
            further=lambda stamp_ns: self.further.select(stamp_ns),
            monitor=InferenceMonitor(warm_up_sec, steady_ns=steady_ns),
            refusals=self.refusals,
            track_ids=TrackIds(self._score_threshold) if parameters.tracking else None,
            steady_ns=steady_ns,
        )
        compressed = parameters.image_transport == "compressed"
        self.subscriptions: dict[Camera, ImageSubscription] = {}
        # If a later step fails, undo the earlier steps in reverse order: leave no subscription and no thread.
        with ExitStack() as undo:
            for camera in Camera:
                topic = names.topic(f"{camera.value}/image_raw")
                self.subscriptions[camera] = ImageSubscription(node, topic, compressed=compressed)
                undo.callback(self.subscriptions[camera].close)
            self._rectified = RectifiedCameras(node, camera_info_topics(node, parameters, names), names)
            undo.callback(self._rectified.close)
            cameras = {camera.value for camera in Camera}
            self.further = FurtherImages(
                node,
                [name for name in modalities_in(predictor.modes) if name not in cameras],
                compressed=compressed,
                queue_size=parameters.pairing_queue_size,
                max_offset_ns=to_ns(parameters.further_max_offset_sec),
                use_arrival_time=self._use_arrival_time,
                names_of_pair=names,
            )
            undo.callback(self.further.close)
            self._worker = (worker or InferenceWorker)(
                self.processor.process, on_error=partial(self._report_failure, "a result could not be published")
            )
            undo.callback(self._worker.stop, timeout_sec=0.0)
            self._filter = PairingFilter(
                node,
                self.subscriptions[Camera.RGB],
                self.subscriptions[Camera.THERMAL],
                limits_from(parameters),
                is_fresh=self._is_fresh,
                refuse=self._fault_of,
                on_refused=self.refusals.note,
                use_arrival_time=self._use_arrival_time,
                names=names,
                steady_ns=steady_ns,
            )
            self._filter.registerCallback(self._on_released)
            undo.pop_all()

    def close_inputs(self) -> None:
        """Unsubscribe and discard the waiting pair. A running inference goes on, but publishes nothing."""
        self._closed = True
        self._filter.close()
        for subscription in self.subscriptions.values():
            subscription.close()
        self._rectified.close()
        self.further.close()
        self._worker.stop(timeout_sec=0.0)

    def close(self, *, waited_sec: float = 0.0) -> None:
        """Stop the session. Nothing is published after this returns.

        ``waited_sec`` is the time that has already been spent on waiting for inferences since `close_inputs`.
        """
        self.close_inputs()
        timeout_sec = _STOP_TIMEOUT_SEC if self._node.context.ok() else _STOP_TIMEOUT_AT_EXIT_SEC
        if not self._worker.stop(timeout_sec=max(0.0, timeout_sec - waited_sec)):
            self._reports.error(f"inference did not end within {timeout_sec:g} s, leaving it behind")
            # The thread still refers to worker and processor. It must not keep the node and its DDS participant alive.
            self.processor.detach()
            self._worker.detach()

    def has_ended(self) -> bool:
        """Return whether the last inference has ended after `close`. Only then may the predictor be reused."""
        return self._worker.stop(timeout_sec=0.0)

    def change_parameters(self, parameters: DetectorParameters) -> None:
        """Apply changed parameters."""
        self.parameters = parameters
        self._filter.pairing.limits = limits_from(parameters)
        self._change_freeze_timeouts(parameters)
        self.further.change_limits(
            queue_size=parameters.pairing_queue_size, max_offset_ns=to_ns(parameters.further_max_offset_sec)
        )

    def follow_publishers(self) -> None:
        """Adapt the QoS of the subscriptions to the current publishers."""
        for subscription in self.subscriptions.values():
            subscription.follow_publishers()
        self._rectified.follow_publishers()
        self.further.follow_publishers()

    def counters(self) -> tuple[Mapping[Camera, FrameCounters], int]:
        """Return the frame counters of both cameras and the number of published arrays."""
        return count_frames(self._filter.pairing, self._ledger)

    def further_states(self) -> Mapping[str, FurtherState]:
        """Return the state of each further modality: counters, and why it is missing from the last array."""
        return self.further.states()

    def rectification_states(self) -> Mapping[Camera, RectificationState]:
        """Return whether the images of each camera are rectified. A camera without camera_info topic is absent."""
        return self._rectified.states()

    def absences(self) -> Mapping[Camera, Absence]:
        """Return each camera without a fresh image, with the reason. Timeouts run on the node's clock."""
        return self._filter.pairing.absences(now_ns=self._filter.now_ns())

    def clock_jumps(self) -> int:
        """Return how often a stamp or the node's clock jumped back."""
        return self._filter.pairing.counters().clock_jumps

    def estimated_thermal_offset_sec(self) -> float | None:
        """Return the estimate of pairing.thermal_offset_sec, or None. Diagnostics renews it every five seconds."""
        return self._estimated_offset_sec

    def estimate_clock_offset(self) -> None:
        """Renew the estimate of the clock offset in the executor's thread. Takes about ten milliseconds."""
        estimate = self._offset_estimator.estimate()
        self._estimated_offset_sec = None if estimate is None else estimate.thermal_offset_ns * 1e-9

    def publish_idle_status(self) -> None:
        """Publish on `~/status` that there is no array."""
        status = idle_status(self._node.get_clock().now().to_msg())
        self._complete(status, {})
        self._outputs.publish_status(status)

    def _fault_of(self, camera: Camera, message: Any) -> str | None:
        self.statistics.note_arrival(camera, self._steady_ns())
        return fault_of(message)

    def _is_fresh(self, camera: Camera, message: Any, now_ns: int) -> bool:
        stamp_ns = now_ns if self._use_arrival_time else to_nanoseconds(message.header.stamp)
        pixels = motion_image(message) if stamp_ns > 0 else None
        if pixels is not None:
            self._offset_estimator.add(camera, stamp_ns, pixels)
        frozen = self._frozen[camera]
        return frozen.freeze_timeout_ns == 0 or frozen.is_fresh(rows_of(message), arrival_ns=now_ns)

    def _change_freeze_timeouts(self, parameters: DetectorParameters) -> None:
        self._frozen[Camera.RGB].freeze_timeout_ns = to_ns(parameters.rgb_freeze_timeout_sec)
        self._frozen[Camera.THERMAL].freeze_timeout_ns = to_ns(parameters.thermal_freeze_timeout_sec)

    def _score_threshold(self) -> float:
        return thresholds_of(self.parameters, self._metadata).score_threshold

    def _on_released(self, released: Pair | LoneFrame) -> None:
        if isinstance(released, LoneFrame) and self.parameters.missing_modality == "stop":
            self._ledger.record_all(released, Outcome.UNPAIRED)
            return
        replaced = self._worker.submit(Job(released, self._steady_ns()))
        if replaced is not None:
            self._ledger.record_all(replaced.released, Outcome.DROPPED)

    def _publish(self, result: Result) -> bool:
        """Publish the array of ``result`` in the inference thread. Return False once the session is closed."""
        if self._closed:
            return False
        self._status = self._outputs.publish_detections(result, class_id_format=self.parameters.class_id_format)
        self.statistics.note_output(
            Output(
                steady_ns=self._steady_ns(),
                mode=result.mode.value,
                offset_ns=result.offset_ns,
                age_ms=self._status.age_sec * 1e3,
                inference_ms=result.inference_ms,
            )
        )
        return True

    def _on_published(self, result: Result) -> None:
        if self._shares is not None and not self._closed:
            # The array does not wait for the shares. They belong to the boxes that the network saw, before the lens.
            self.processor.monitor.enter("computing the contributions")
            try:
                self._status.contributions = self._shares.messages(result.seen)
            except Exception as error:
                self._report_failure("the contributions could not be computed", error)
            self.processor.monitor.record_contributions()
        self._complete(self._status, result.further_offsets_ns)
        self._outputs.publish_status(self._status)
        # The array is already published: an error here loses only the overlays or the debug image.
        overlays = partial(self._outputs.publish_overlays, result, class_id_format=self.parameters.class_id_format)
        for what, publish in (("overlays", overlays), ("debug image", partial(self._outputs.publish_image, result))):
            try:
                publish()
            except Exception as error:
                self._report_failure(f"the {what} could not be published", error)

    def _complete(self, status: FusionStatus, further_offsets_ns: Mapping[str, int]) -> None:
        counters, status.published = self.counters()
        status.rgb = camera_counters(counters[Camera.RGB])
        status.thermal = camera_counters(counters[Camera.THERMAL])
        status.further = self.further.messages(further_offsets_ns)
        status.non_finite = self.processor.monitor.non_finite
        offset_sec = self.estimated_thermal_offset_sec()
        status.estimated_thermal_offset_sec = math.nan if offset_sec is None else offset_sec

    def _report_failure(self, what: str, error: Exception) -> None:
        if not self._closed:
            self._reports.error(f"{what}: {describe_failure(error)}")
