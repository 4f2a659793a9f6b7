# SPDX-License-Identifier: Apache-2.0
"""Warn of parameters that the user sets but the node does not have, for example misspelt ones."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from rclpy.node import Node

_QOS_PREFIX = "qos_overrides."


def warn_of_unused_parameters(node: Node, known: Sequence[str]) -> None:
    """Log a warning for each parameter that was given at the start and is not declared.

    ``known`` are the names of the parameters that the node has. Call this after all parameters except the QoS overrides
    have been declared.
    """
    names = [name for name in _unused(node) if not name.startswith(_QOS_PREFIX)]
    for name in names:
        remedy = _remedy(name, known)
        node.get_logger().warning(f"parameter {name} is unknown to this node and has no effect: {remedy}")


def warn_of_unused_qos_overrides(node: Node) -> None:
    """Log a warning for each QoS override whose topic or policy the node does not have.

    Call this after all QoS overrides have been declared.
    """
    for name in _unused(node):
        if name.startswith(_QOS_PREFIX):
            node.get_logger().warning(
                f"parameter {name} has no effect: no such topic or policy; give the topic's full name after remapping, "
                "as in qos_overrides./rgb/image_raw.subscription.depth"
            )


def _remedy(name: str, known: Sequence[str]) -> str:
    pair, _, common = name.partition(".")
    if common in known:
        if any(other.startswith(f"{pair}.") and other.removeprefix(f"{pair}.") in known for other in known):
            return f"all camera pairs share it, set {common}"
        if not any(other.startswith(f"{pair}.") for other in known):
            return f"no camera pair has the name {pair}, add it to pairs"
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else "see config/detector.yaml for those that it has"


def _unused(node: Node) -> list[str]:
    # rclpy has no public way to read a given parameter without declaring it.
    return sorted(name for name in node._parameter_overrides if not node.has_parameter(name))
