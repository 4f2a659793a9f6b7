# SPDX-License-Identifier: Apache-2.0
"""Declare the parameters of the detector node, check changes, and apply them once they are accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor, SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.timer import Timer

from fusion_mamba_ros.ros.detector.pair_parameters import PAIRS, pair_names_of, pair_specs, parameters_of_pair
from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError, ParameterSpec, is_unset
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters

# No list has this value.
_NOT_GIVEN = "not given"


class ParameterServer:
    """Declare the parameter table on a node, refuse invalid changes with one sentence and apply accepted ones.

    ``may_change()`` returns whether parameters that are not live may change now. ``check`` is called with the new
    values of each camera pair before a change is accepted; it must have no side effect, and an exception from it
    refuses the change. ``on_change`` is called with the new common values after the node and all of its parameter
    callbacks have accepted them. ``current`` are the common values, and ``pairs`` those of each camera pair by name; a
    node without `pairs` has one pair with an empty name.
    Raises :class:`ParameterError` if a start value (YAML, command line) is invalid.
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
        self._specs = {spec.name: spec for spec in SPECS}
        for spec in SPECS:
            _declare(node, spec)
        self._names = pair_names_of(node.get_parameter(PAIRS).value or ())
        self._own_specs = {spec.name: spec for pair in self._names for spec in pair_specs(pair)}
        for spec in self._own_specs.values():
            _declare_unset(node, spec)
        self._specs |= self._own_specs
        self.current, self.pairs = self._parameters_from(self._values())
        node.add_on_set_parameters_callback(self._judge)
        self._knows_acceptance = hasattr(node, "add_post_set_parameters_callback")
        if self._knows_acceptance:
            node.add_post_set_parameters_callback(self._on_accepted)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return tuple(self._specs)

    def _values(self) -> dict[str, Any]:
        """Return the accepted values that the node holds."""
        return {name: self._node.get_parameter(name).value for name in self._specs}

    def _parameters_from(self, values: dict[str, Any]) -> tuple[DetectorParameters, dict[str, DetectorParameters]]:
        """Return the common values and those of each camera pair. Raises :class:`ParameterError`."""
        common = DetectorParameters.from_values(values)
        if not self._names:
            return common, {"": common}
        return common, {pair: parameters_of_pair(pair, values) for pair in self._names}

    def _judge(self, parameters: Iterable[Parameter]) -> SetParametersResult:
        changes = [parameter for parameter in parameters if parameter.name in self._specs]
        if not changes:
            return SetParametersResult(successful=True)
        try:
            values = self._values()
            for parameter in changes:
                self._require_changeable(self._specs[parameter.name], parameter, values[parameter.name])
                values[parameter.name] = parameter.value
            for pair in self._parameters_from(values)[1].values():
                self._check(pair)
        except ParameterError as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:
            # The caller waits for an answer. If the exception left this callback, rclpy would send none.
            reason = f"parameters could not be changed: {type(error).__name__}: {error}"
            self._logger.error(reason)
            return SetParametersResult(successful=False, reason=reason)
        if not self._knows_acceptance:
            self._apply_soon()
        return SetParametersResult(successful=True)

    def _require_changeable(self, spec: ParameterSpec, parameter: Parameter, current: Any) -> None:
        if parameter.type_ is Parameter.Type.NOT_SET:
            if spec.name in self._own_specs:
                raise ParameterError(f"parameter {spec.name} cannot be unset: set it to the value that you want")
            # rclpy would undeclare the parameter.
            raise ParameterError(f"parameter {spec.name} cannot be unset: set it to its default, {spec.default!r}")
        # Accept an unchanged value: `ros2 param load` sets every value of a dump.
        changed = _value_of(spec, parameter.value) != _value_of(spec, current)
        if changed and spec.name == PAIRS:
            raise ParameterError(f"parameter {PAIRS} can be given only at the start of the node: start it again")
        if changed and not spec.live and not self._may_change():
            raise ParameterError(
                f"parameter {spec.name} may change only while the node is unconfigured: clean it up first"
            )

    def _on_accepted(self, parameters: Iterable[Parameter]) -> None:
        if any(parameter.name in self._specs for parameter in parameters):
            self._apply()

    def _apply_soon(self) -> None:
        """Apply the node's values as soon as the executor is free.

        rclpy of Humble does not report that a change was accepted.
        """
        if self._timer is None:
            self._timer = self._node.create_timer(0.0, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _on_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            self._node.destroy_timer(timer)
        self._apply()

    def _apply(self) -> None:
        try:
            current, pairs = self._parameters_from(self._values())
            if (current, pairs) != (self.current, self.pairs):
                self.current, self.pairs = current, pairs
                self._on_change(current)
        except Exception as error:
            # The caller of the service still waits for its answer, so no exception may leave this method.
            self._logger.error(f"changed parameters could not be applied: {type(error).__name__}: {error}")


def _declare(node: Node, spec: ParameterSpec) -> None:
    # Declare without constraints first: an invalid start value then gets our sentence, not a traceback of rclpy.
    parameter = node.declare_parameter(spec.name, spec.default, ParameterDescriptor(dynamic_typing=True))
    typed = spec.parameter_of(spec.value_of(parameter.value))
    # An empty list in a file has no type. `ros2 param dump` would write it as null, which no node can load.
    node.set_parameters([typed])
    descriptor = spec.descriptor()
    descriptor.type = typed.type_.value
    node.set_descriptor(spec.name, descriptor)


def _declare_unset(node: Node, spec: ParameterSpec) -> None:
    """Declare a parameter that has no value unless the user gave one at the start."""
    descriptor = ParameterDescriptor(dynamic_typing=True)
    # An empty list in a file has no type, and rclpy reads it as no value. The default shows whether there is one.
    value = node.declare_parameter(spec.name, _NOT_GIVEN if spec.kind is list else None, descriptor).value
    if value == _NOT_GIVEN:
        node.undeclare_parameter(spec.name)
        node.declare_parameter(spec.name, None, descriptor)
    elif value is None and spec.kind is list:
        node.set_parameters([spec.parameter_of(())])
    elif not is_unset(value):
        spec.value_of(value)
    descriptor = spec.descriptor()
    descriptor.dynamic_typing = True
    node.set_descriptor(spec.name, descriptor)


def _value_of(spec: ParameterSpec, value: Any) -> Any:
    return None if is_unset(value) and spec.kind is not list else spec.value_of(value)
