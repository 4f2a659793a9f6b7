# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node `detector_node`: two camera topics in, detections out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any, NoReturn

from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from fusion_mamba_ros.perception.finite_output import NonFiniteOutputError
from fusion_mamba_ros.perception.predictor import labels_of
from fusion_mamba_ros.ros.detector.camera_pair import CameraPair
from fusion_mamba_ros.ros.detector.detection_session import DetectionSession
from fusion_mamba_ros.ros.detector.inference_scheduler import InferenceScheduler
from fusion_mamba_ros.ros.detector.inference_threads import inference_threads, threads_of_each
from fusion_mamba_ros.ros.detector.pair_names import PairNames
from fusion_mamba_ros.ros.detector.pair_processor import DetectionSource
from fusion_mamba_ros.ros.detector.parameter_server import ParameterServer
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.ros.detector.predictor_loading import load_predictor, share_engine
from fusion_mamba_ros.ros.detector.unused_overrides import warn_of_unused_parameters, warn_of_unused_qos_overrides
from fusion_mamba_ros.ros.process import run_node

_DESCRIPTION = """\
Pair an RGB and a thermal camera by time and publish the detected objects. A lifecycle node: without
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
ShareEngine = Callable[[Any, DetectorParameters], DetectionSource]


class DetectorNode(LifecycleNode):
    """Pair the images of an RGB and a thermal camera by time and publish detections.

    `configure` loads and warms up the model, `activate` subscribes. ``docs/reference/node.md`` lists topics and
    parameters. ``load`` returns the predictor, and ``share(predictor, parameters)`` one for a further camera pair that
    uses the same engine; tests pass replacements. With ``autostart`` the node configures and
    activates itself as soon as it is spun. Raises :class:`ParameterError` if a parameter given at the start is invalid.
    """

    def __init__(
        self,
        node_name: str = "detector_node",
        *,
        load: LoadPredictor = load_predictor,
        share: ShareEngine = share_engine,
        autostart: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(node_name, **options)
        self._load = load
        self._share = share
        self._pairs: list[CameraPair] = []
        self._scheduler: InferenceScheduler | None = None
        self._answer_illegal_transitions()
        self._settings = ParameterServer(
            self,
            may_change=lambda: not self._pairs,
            check=self._check_parameters,
            on_change=self._on_parameters_changed,
        )
        warn_of_unused_parameters(self, self._settings.names)
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
            self._configure()
        except Exception as error:
            # rclpy would discard the exception, and the user would not learn the cause.
            self.get_logger().error(f"configure failed: {error}")
            self._release()
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start inference. Fails while an earlier inference is still running."""
        if any(not pair.is_idle() for pair in self._pairs):
            # Only one thread may use a predictor.
            self.get_logger().error(
                "activate failed: the inference that was under way at deactivation has not ended: "
                "activate again later, or clean up and configure to start with the model loaded anew"
            )
            return TransitionCallbackReturn.FAILURE
        super().on_activate(state)
        try:
            self._activate()
        except Exception as error:
            self.get_logger().error(f"activate failed: {error}")
            self._end_sessions()
            super().on_deactivate(state)
            return TransitionCallbackReturn.FAILURE
        warn_of_unused_qos_overrides(self)
        topics = " and ".join(topic for pair in self._pairs for topic in pair.topics())
        self.get_logger().info(f"active: detecting on {topics}")
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and wait for a running inference. Its result is not published."""
        self._end_sessions()
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
        super().destroy_node()  # type: ignore[no-untyped-call]

    def _autostart(self) -> None:
        self.destroy_timer(self._autostart_timer)
        if self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    @property
    def _session(self) -> DetectionSession | None:
        """The session of the first camera pair."""
        return self._pairs[0].session if self._pairs else None

    def _configure(self) -> None:
        parameters, settings = self._settings.current, self._settings.pairs
        first, *others = settings.values()
        predictor = self._load(threads_of_each(first, len(settings)))
        checkpoint = f"'{parameters.checkpoint}'" if parameters.checkpoint else "of the package"
        try:
            warm_up_sec = tuple(predictor.warm_up() or ())
        except NonFiniteOutputError as error:
            raise ValueError(f"checkpoint {checkpoint}: {error}") from error
        predictors = [predictor, *(self._share(predictor, own) for own in others)]
        turns = len(settings) / inference_threads(predictor, parameters, len(settings))
        for (name, own), its_predictor in zip(settings.items(), predictors, strict=True):
            pair = CameraPair(self, PairNames(name), its_predictor, own, turns=turns, warm_up_sec=warm_up_sec)
            self._pairs.append(pair)
        modes = ", ".join(mode.value for mode in predictor.modes)
        self.get_logger().info(
            f"checkpoint {checkpoint} on {predictor.device} by {predictor.engine_description}, modes {modes}"
        )

    def _activate(self) -> None:
        if len(self._pairs) > 1:
            threads = inference_threads(self._pairs[0].predictor, self._settings.current, len(self._pairs))
            self._scheduler = InferenceScheduler(threads)
        for pair in self._pairs:
            worker = None if self._scheduler is None else self._scheduler.lane
            pair.activate(self._settings.pairs[pair.names.pair], worker)

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
        if self._pairs:
            try:
                labels_of(parameters.classes, self._pairs[0].predictor.metadata.class_names)
            except ValueError as error:
                raise ParameterError(str(error)) from error

    def _on_parameters_changed(self, parameters: DetectorParameters) -> None:
        for pair in self._pairs:
            pair.change_parameters(self._settings.pairs[pair.names.pair])

    def _end_sessions(self) -> None:
        # Close all inputs first: the running inferences of all pairs then end at the same time.
        for pair in self._pairs:
            pair.close_inputs()
        since = time.monotonic()
        for pair in self._pairs:
            pair.end_session(waited_sec=time.monotonic() - since)
        scheduler, self._scheduler = self._scheduler, None
        if scheduler is not None:
            scheduler.close()
        # rclpy's callback group keeps a dead weak reference to every destroyed subscription, timer and event.
        group = self.default_callback_group
        group.entities = {reference for reference in group.entities if reference() is not None}

    def _release(self) -> None:
        self._end_sessions()
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.close()


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
