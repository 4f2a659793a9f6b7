# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `detector_node`: two camera topics in, detections out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.perception.predictor import labels_of
from fusion_mamba_ros.ros.detector.detection_session import DetectionSession
from fusion_mamba_ros.ros.detector.diagnostics import Diagnostics
from fusion_mamba_ros.ros.detector.outputs import Outputs
from fusion_mamba_ros.ros.detector.pair_processor import DetectionSource
from fusion_mamba_ros.ros.detector.parameter_server import ParameterServer
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.ros.detector.predictor_loading import (
    homography_of,
    inference_thresholds_of,
    load_predictor,
    thermal_scaling_of,
    thresholds_of,
)
from fusion_mamba_ros.ros.detector.unused_overrides import warn_of_unused_parameters, warn_of_unused_qos_overrides
from fusion_mamba_ros.ros.process import run_node

_DESCRIPTION = """\
Pair an RGB and a thermal camera by time and publish what the network sees in them. A lifecycle node: without
--autostart it waits for `ros2 lifecycle set /detector_node configure`, then `activate`; detect.launch.py does both.

inputs      rgb/image_raw, thermal/image_raw; camera_info beside each, if a lens distorts; NAME/image_raw of each
            further modality of the checkpoint
outputs     detections, detections_thermal, label_info, debug_image, ~/annotations, ~/annotations_thermal, ~/status,
            /diagnostics
parameters  with meaning, range and default: config/detector.yaml of the package

example:
  detector_node --autostart --ros-args -p checkpoint:=mine.safetensors -p "classes:=[person, car]" \\
      -r rgb/image_raw:=/camera/image_raw --params-file detector.yaml
"""

LoadPredictor = Callable[[DetectorParameters], DetectionSource]


class DetectorNode(LifecycleNode):
    """Pair the images of an RGB and a thermal camera by time and publish detections.

    `configure` loads and warms up the model, `activate` subscribes. ``docs/reference/node.md`` lists topics and
    parameters. ``load`` returns the predictor; tests pass a replacement. With ``autostart`` the node configures and
    activates itself as soon as it is spun. Raises :class:`ParameterError` if a parameter given at the start is invalid.
    """

    def __init__(
        self,
        node_name: str = "detector_node",
        *,
        load: LoadPredictor = load_predictor,
        autostart: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(node_name, **options)
        self._load = load
        self._predictor: DetectionSource | None = None
        self._warm_up_sec: tuple[float, ...] = ()
        self._outputs: Outputs | None = None
        self._session: DetectionSession | None = None
        self._last_session: DetectionSession | None = None
        self._diagnostics: Diagnostics | None = None
        self._answer_illegal_transitions()
        self._settings = ParameterServer(
            self,
            may_change=lambda: self._predictor is None,
            check=self._check_parameters,
            on_change=self._on_parameters_changed,
        )
        warn_of_unused_parameters(self)
        if autostart:
            # Start by a timer: a signal that arrives while the model loads must find the node spinning.
            self._autostart_timer = self.create_timer(
                0.0, self._autostart, clock=Clock(clock_type=ClockType.STEADY_TIME)
            )
        else:
            self.get_logger().info("unconfigured: waiting for the transitions configure and activate")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the checkpoint and run one inference per mode. On an error, log it and stay unconfigured."""
        try:
            self._configure(self._settings.current)
        except Exception as error:
            # rclpy would discard the exception, and the user would not learn the cause.
            self.get_logger().error(f"configure failed: {error}")
            self._release()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start inference. Fails while an earlier inference is still running."""
        if self._last_session is not None and not self._last_session.has_ended():
            # Only one thread may use a predictor.
            self.get_logger().error(
                "activate failed: the inference that was under way at deactivation has not ended: "
                "activate again later, or clean up and configure to start with the model loaded anew"
            )
            return TransitionCallbackReturn.FAILURE
        assert self._predictor is not None and self._outputs is not None and self._diagnostics is not None
        super().on_activate(state)
        try:
            self._session = DetectionSession(
                self, self._predictor, self._outputs, self._settings.current, warm_up_sec=self._warm_up_sec
            )
        except Exception as error:
            self.get_logger().error(f"activate failed: {error}")
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        self._diagnostics.watch(self._session)
        warn_of_unused_qos_overrides(self)
        subscriptions = (*self._session.subscriptions.values(), *self._session.further.subscriptions.values())
        topics = " and ".join(subscription.topic for subscription in subscriptions)
        self.get_logger().info(f"active: detecting on {topics}")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and wait for a running inference. Its result is not published."""
        self._end_session()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Destroy the publishers and free the model."""
        self._release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, from any state."""
        self._release()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything and become unconfigured."""
        self._release()
        return super().on_error(state)

    def destroy_node(self) -> None:
        """Release everything, then destroy the node."""
        self._release()
        super().destroy_node()

    def _autostart(self) -> None:
        self.destroy_timer(self._autostart_timer)
        if self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _configure(self, parameters: DetectorParameters) -> None:
        predictor = self._load(parameters)
        checkpoint = f"'{parameters.checkpoint}'" if parameters.checkpoint else "of the package"
        try:
            self._warm_up_sec = tuple(predictor.warm_up() or ())
        except NonFiniteOutputError as error:
            raise ValueError(f"checkpoint {checkpoint}: {error}") from error
        self._predictor, metadata = predictor, predictor.metadata
        self._outputs = Outputs(
            self,
            metadata.class_names,
            thermal_scaling_of(parameters, metadata),
            homography_of(parameters, metadata),
        )
        self._outputs.publish_labels(thresholds_of(parameters, metadata).score_threshold)
        self._diagnostics = Diagnostics(self, predictor)
        modes = ", ".join(mode.value for mode in predictor.modes)
        self.get_logger().info(f"checkpoint {checkpoint} on {predictor.device}, modes {modes}")

    def _answer_illegal_transitions(self) -> None:
        """Answer a request for an illegal transition with failure. By default rclpy raises."""
        service = next(service for service in self.services if service.srv_type is ChangeState)
        change_state = service.callback

        def answer(request: Any, response: Any) -> Any:
            try:
                return change_state(request, response)
            except Exception as error:
                self.get_logger().error(f"transition refused: {error}")
                response.success = False
                return response

        service.callback = answer

    def _check_parameters(self, parameters: DetectorParameters) -> None:
        """Raise :class:`ParameterError` if the loaded checkpoint cannot work with these parameters."""
        if self._predictor is not None:
            try:
                labels_of(parameters.classes, self._predictor.metadata.class_names)
            except ValueError as error:
                raise ParameterError(str(error)) from error

    def _on_parameters_changed(self, parameters: DetectorParameters) -> None:
        if self._predictor is not None:
            self._predictor.thresholds = inference_thresholds_of(parameters, self._predictor.metadata)
        if self._session is not None:
            self._session.change_parameters(parameters)
        if self._outputs is not None and self._predictor is not None:
            self._outputs.publish_labels(thresholds_of(parameters, self._predictor.metadata).score_threshold)

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if self._diagnostics is not None:
            self._diagnostics.watch(None)
        if session is not None:
            session.close()
            self._last_session = None if session.has_ended() else session
        # rclpy's callback group keeps a dead weak reference to every destroyed subscription, timer and event.
        group = self.default_callback_group
        group.entities = {reference for reference in group.entities if reference() is not None}

    def _release(self) -> None:
        self._end_session()
        diagnostics, self._diagnostics = self._diagnostics, None
        if diagnostics is not None:
            diagnostics.close()
        outputs, self._outputs = self._outputs, None
        if outputs is not None:
            outputs.close()
        self._predictor = self._last_session = None


def main() -> NoReturn:
    """Run the node until a signal or a shutdown of the context ends it."""
    parser = argparse.ArgumentParser(
        prog="detector_node",
        usage="%(prog)s [-h] [--autostart] [--ros-args ...]",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--autostart", action="store_true", help="configure and activate at once")
    run_node(lambda options: DetectorNode(autostart=options.autostart), parser)
