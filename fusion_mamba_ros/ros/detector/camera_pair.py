# SPDX-License-Identifier: Apache-2.0
"""One pair of cameras of the configured node: its predictor, publishers, diagnostics and session."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.lifecycle import LifecycleNode

from fusion_mamba_ros.ros.detector.detection_session import DetectionSession, WorkerFactory
from fusion_mamba_ros.ros.detector.diagnostics import Diagnostics
from fusion_mamba_ros.ros.detector.outputs import Outputs
from fusion_mamba_ros.ros.detector.pair_names import PairNames
from fusion_mamba_ros.ros.detector.pair_processor import DetectionSource
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.ros.detector.predictor_loading import (
    homography_of,
    inference_thresholds_of,
    thermal_scaling_of,
    thresholds_of,
)


class CameraPair:
    """Everything that one camera pair has of its own.

    The constructor creates the publishers, `activate` subscribes. ``turns`` is the number of camera pairs for each
    inference thread, and ``warm_up_sec`` holds the times of the warm-up inferences.
    """

    def __init__(
        self,
        node: LifecycleNode,
        names: PairNames,
        predictor: DetectionSource,
        parameters: DetectorParameters,
        *,
        turns: float,
        warm_up_sec: Sequence[float],
    ) -> None:
        self.names = names
        self.predictor = predictor
        self.session: DetectionSession | None = None
        self._node = node
        self._warm_up_sec = tuple(warm_up_sec)
        self._last_session: DetectionSession | None = None
        metadata = predictor.metadata
        scaling, homography = thermal_scaling_of(parameters, metadata), homography_of(parameters, metadata)
        self._outputs = Outputs(node, metadata.class_names, scaling, homography, names=names)
        try:
            self._outputs.publish_labels(thresholds_of(parameters, metadata).score_threshold)
            self._diagnostics = Diagnostics(node, predictor, names=names, turns=turns)
        except Exception:
            self._outputs.close()
            raise

    def is_idle(self) -> bool:
        """Return whether no inference of an earlier session is running."""
        return self._last_session is None or self._last_session.has_ended()

    def activate(self, parameters: DetectorParameters, worker: WorkerFactory | None) -> None:
        """Subscribe to the cameras and start inference. Raises if a part of the session cannot be created."""
        self.session = DetectionSession(
            self._node,
            self.predictor,
            self._outputs,
            parameters,
            names=self.names,
            worker=worker,
            warm_up_sec=self._warm_up_sec,
        )
        self._diagnostics.watch(self.session)

    def topics(self) -> list[str]:
        """Return the full names of the image topics of the session."""
        if self.session is None:
            return []
        subscriptions = (*self.session.subscriptions.values(), *self.session.further.subscriptions.values())
        return [subscription.topic for subscription in subscriptions]

    def change_parameters(self, parameters: DetectorParameters) -> None:
        """Apply changed parameters."""
        self.predictor.thresholds = inference_thresholds_of(parameters, self.predictor.metadata)
        if self.session is not None:
            self.session.change_parameters(parameters)
        self._outputs.publish_labels(thresholds_of(parameters, self.predictor.metadata).score_threshold)

    def close_inputs(self) -> None:
        """Unsubscribe, and publish nothing more. A running inference goes on."""
        self._diagnostics.watch(None)
        if self.session is not None:
            self.session.close_inputs()

    def end_session(self, *, waited_sec: float = 0.0) -> None:
        """Unsubscribe and wait for a running inference. See `DetectionSession.close` for ``waited_sec``."""
        self._diagnostics.watch(None)
        session, self.session = self.session, None
        if session is not None:
            session.close(waited_sec=waited_sec)
            self._last_session = None if session.has_ended() else session

    def close(self) -> None:
        """End the session and destroy the publishers."""
        self.end_session()
        self._diagnostics.close()
        self._outputs.close()
