# SPDX-License-Identifier: Apache-2.0
"""The parameters of the detector node on a ROS node: declared, checked, and applied once a change is accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.timer import Timer

from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError, ParameterSpec
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters

_SPECS = {spec.name: spec for spec in SPECS}


class ParameterServer:
    """Declares the table on a node, refuses bad changes with a sentence and hands accepted ones on.

    ``may_change()``: whether parameters that are not live may change now. ``check``: called with the new values before
    the change is accepted, must have no side effect; what it raises refuses the change. ``on_change``: called with the
    new values after the node has accepted them, other callbacks of the node included.
    Raises :class:`ParameterError` if a start value (YAML, command line) is bad.
    """

    def __init__(
        self,
        node: Node,
        *,
        may_change: Callable[[], bool],
        check: Callable[[DetectorParameters], None],
        on_change: Callable[[DetectorParameters], None],
    ) -> None:
        self._node = node
        self._logger = node.get_logger()
        self._may_change = may_change
        self._check = check
        self._on_change = on_change
        self._timer: Timer | None = None
        for spec in SPECS:
            _declare(node, spec)
        self.current = DetectorParameters.from_values(self._values())
        node.add_on_set_parameters_callback(self._judge)
        self._knows_acceptance = hasattr(node, "add_post_set_parameters_callback")
        if self._knows_acceptance:
            node.add_post_set_parameters_callback(self._on_accepted)

    def _values(self) -> dict[str, Any]:
        """Return what the node holds: the values that were accepted."""
        return {spec.name: self._node.get_parameter(spec.name).value for spec in SPECS}

    def _judge(self, parameters: Iterable[Parameter]) -> SetParametersResult:
        changes = [parameter for parameter in parameters if parameter.name in _SPECS]
        if not changes:
            return SetParametersResult(successful=True)
        try:
            values = self._values()
            for parameter in changes:
                self._require_changeable(_SPECS[parameter.name], parameter, values[parameter.name])
                values[parameter.name] = parameter.value
            self._check(DetectorParameters.from_values(values))
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:
            # Whatever it is, the caller waits for an answer: out of here, rclpy would send none.
            reason = f"parameters could not be changed: {type(error).__name__}: {error}"
            self._logger.error(reason)
            return SetParametersResult(successful=False, reason=reason)
        if not self._knows_acceptance:
            self._apply_soon()
        return SetParametersResult(successful=True)

    def _require_changeable(self, spec: ParameterSpec, parameter: Parameter, current: Any) -> None:
        if parameter.type_ is Parameter.Type.NOT_SET:
            # rclpy would undeclare it.
            raise ParameterError(f"parameter {spec.name} cannot be unset: set it to its default, {spec.default!r}")
        # An unchanged value passes: `ros2 param load` sets everything that a dump holds.
        changed = spec.value_of(parameter.value) != spec.value_of(current)
        if changed and not spec.live and not self._may_change():
            raise ParameterError(
                f"parameter {spec.name} may change only while the node is unconfigured: clean it up first"
            )

    def _on_accepted(self, parameters: Iterable[Parameter]) -> None:
        if any(parameter.name in _SPECS for parameter in parameters):
            self._apply()

    def _apply_soon(self) -> None:
        """Apply what the node holds as soon as the executor is free: rclpy of Humble does not tell of acceptance."""
        if self._timer is None:
            self._timer = self._node.create_timer(0.0, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            self._node.destroy_timer(timer)
        self._apply()

    def _apply(self) -> None:
        try:
            current = DetectorParameters.from_values(self._values())
            if current != self.current:
                self.current = current
                self._on_change(current)
        except Exception as error:
            # As above: the caller of the service still waits for its answer.
            self._logger.error(f"changed parameters could not be applied: {type(error).__name__}: {error}")


def _declare(node: Node, spec: ParameterSpec) -> None:
    # First without constraints, so that a bad start value gets our sentence instead of a traceback of rclpy's.
    parameter = node.declare_parameter(spec.name, spec.default, ParameterDescriptor(dynamic_typing=True))
    typed = spec.parameter_of(spec.value_of(parameter.value))
    # An empty list in a file has no type: without one, `ros2 param dump` writes null, which no node can load.
    node.set_parameters([typed])
    descriptor = spec.descriptor()
    descriptor.type = typed.type_.value
    node.set_descriptor(spec.name, descriptor)
