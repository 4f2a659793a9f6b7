# SPDX-License-Identifier: Apache-2.0
"""The specification of one node parameter: name, default, meaning, range, and when it may change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.parameter import Parameter

_TYPES = {
    bool: Parameter.Type.BOOL,
    str: Parameter.Type.STRING,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
}
_ARRAY_TYPES = {str: Parameter.Type.STRING_ARRAY, float: Parameter.Type.DOUBLE_ARRAY}
# ROS reads null in a parameter file as one of these texts. `ros2 param dump` writes null for an untyped list.
_UNSET_WORDS = ("null", "None")
_OFF = "off"


def is_unset(value: Any) -> bool:
    """Return whether ``value`` is that of a parameter without a value, also as text in a dumped file."""
    return value is None or (isinstance(value, str) and value in _UNSET_WORDS)


class ParameterError(ValueError):
    """Raised for a parameter value that the node cannot use. The message is one sentence for the user."""


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a node.

    ``kind`` is the Python type of a value, and ``element`` the type of the values of a list. A ``live`` parameter may
    change while the node is configured. ``special`` is an allowed float outside ``minimum`` to ``maximum`` with a
    meaning of its own.
    """

    name: str
    default: Any
    description: str
    kind: type
    live: bool = False
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    element: type = str
    special: float | None = None

    def descriptor(self) -> ParameterDescriptor:
        """Return the ROS descriptor: description, constraints in words, and the numeric range."""
        descriptor = ParameterDescriptor(name=self.name, description=self.description)
        # ``value_of`` checks types instead of rclpy: a whole number is allowed for a float, an empty list has no
        # element type, and YAML reads the bare word off as false.
        descriptor.dynamic_typing = self.kind in (float, list) or _OFF in self.choices
        when = "Changes take effect at once." if self.live else "May change only while the node is unconfigured."
        descriptor.additional_constraints = f"One of: {', '.join(self.choices)}. {when}" if self.choices else when
        if self.kind is float and self.minimum is not None and self.maximum is not None:
            # A descriptor holds only one range. ``value_of`` refuses values between ``special`` and the range.
            bounds = sorted((self.minimum, self.maximum, self.minimum if self.special is None else self.special))
            descriptor.floating_point_range = [FloatingPointRange(from_value=bounds[0], to_value=bounds[-1])]
        if self.kind is int and self.minimum is not None and self.maximum is not None:
            descriptor.integer_range = [IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum))]
        return descriptor

    def expectation(self) -> str:
        """Return a description of the allowed values."""
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.minimum is not None and self.maximum is not None:
            special = "" if self.special is None else f", or {self.special:g}"
            return f"{self.minimum:g} to {self.maximum:g}{special}"
        words: dict[type, str] = {str: "text", list: "a list"}
        return words.get(self.kind, self.kind.__name__)

    def value_of(self, value: Any) -> Any:
        """Return ``value`` as this parameter's type. Raises :class:`ParameterError` if it is not allowed."""
        if self.kind is float:
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise ParameterError(f"parameter {self.name} is {value!r}: expected a finite number")
            value = float(value)
        elif self.kind is list:
            if is_unset(value):
                value = None
            # Text is also a sequence: without this check, "person" would be six names.
            if value is not None and (isinstance(value, str) or not isinstance(value, Sequence)):
                raise ParameterError(f"parameter {self.name} is {value!r}: expected a list, as in [{value}]")
            value = tuple(value or ())
        elif value is False and _OFF in self.choices:
            value = _OFF
        elif not isinstance(value, self.kind) or isinstance(value, bool) != (self.kind is bool):
            raise ParameterError(f"parameter {self.name} is {value!r}: expected {self.expectation()}")
        if self.choices and value not in self.choices:
            raise ParameterError(f"parameter {self.name} is '{value}': expected {self.expectation()}")
        in_range = self.minimum is None or self.maximum is None or self.minimum <= value <= self.maximum
        if not in_range and value != self.special:
            raise ParameterError(f"parameter {self.name} is {value}: expected {self.expectation()}")
        return value

    def parameter_of(self, value: Any) -> Parameter:
        """Return the ROS parameter that holds an allowed value. An empty list gets this parameter's array type too."""
        if self.kind is not list:
            return Parameter(self.name, _TYPES[self.kind], value)
        # The code that reads the list refuses an element of the wrong type, with its own sentence.
        if not all(isinstance(element, (int, float) if self.element is float else self.element) for element in value):
            return Parameter(self.name, value=list(value))
        return Parameter(self.name, _ARRAY_TYPES[self.element], [self.element(element) for element in value])
