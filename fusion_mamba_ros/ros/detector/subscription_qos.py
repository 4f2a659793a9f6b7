# SPDX-License-Identifier: Apache-2.0
"""The QoS of a subscription, with overrides by parameters `qos_overrides.<topic>.subscription.<policy>`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError

FOLLOW = "best_available"
# DDS stores the depth in 32 bits, but far smaller depths already exhaust memory.
MAX_DEPTH = 10_000


@dataclass(frozen=True)
class _Policy:
    """One policy that may be overridden. ``choices`` is empty for the depth, which is a number."""

    default: str | int
    meaning: str
    choices: tuple[str, ...] = ()


_POLICIES: dict[str, _Policy] = {
    "history": _Policy("keep_last", "keep_last or keep_all", ("keep_last", "keep_all")),
    "depth": _Policy(5, "messages kept for a callback that is late"),
    "reliability": _Policy(
        FOLLOW,
        f"reliable, best_effort or {FOLLOW} (adopt what the publishers offer)",
        ("reliable", "best_effort", FOLLOW),
    ),
    "durability": _Policy("volatile", "volatile or transient_local", ("volatile", "transient_local")),
}


class SubscriptionQoS:
    """The QoS of the subscription to one topic.

    ``reliability`` is `FOLLOW` if no override fixes it; the caller then chooses it. Raises :class:`ParameterError` if
    the value of an override is not allowed.
    """

    def __init__(self, node: Node, topic: str) -> None:
        values = {policy: _override(node, topic, policy) for policy in _POLICIES}
        self.reliability = str(values["reliability"])
        self._history = HistoryPolicy[str(values["history"]).upper()]
        self._durability = DurabilityPolicy[str(values["durability"]).upper()]
        self._depth = int(values["depth"])

    def profile(self, reliability: str) -> QoSProfile:
        """Return the profile with the given ``reliability``, ``reliable`` or ``best_effort``."""
        return QoSProfile(
            history=self._history,
            depth=self._depth,
            reliability=ReliabilityPolicy[reliability.upper()],
            durability=self._durability,
        )


def _override(node: Node, topic: str, name: str) -> str | int:
    parameter, policy = f"qos_overrides.{topic}.subscription.{name}", _POLICIES[name]
    if not node.has_parameter(parameter):
        # Accept any type here: the checks below refuse a wrong value with one sentence.
        descriptor = ParameterDescriptor(
            description=f"QoS {name} of {topic}: {policy.meaning}", read_only=True, dynamic_typing=True
        )
        node.declare_parameter(parameter, policy.default, descriptor)
    value: Any = node.get_parameter(parameter).value
    if policy.choices:
        if value not in policy.choices:
            raise ParameterError(f"parameter {parameter} is {value!r}: expected one of {', '.join(policy.choices)}")
    elif isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_DEPTH:
        raise ParameterError(f"parameter {parameter} is {value!r}: expected a whole number, 1 to {MAX_DEPTH}")
    return str(value) if policy.choices else int(value)
