# SPDX-License-Identifier: Apache-2.0
"""Parameters that a file or the command line sets and the node does not have: misspelt ones, most often."""

from __future__ import annotations

import difflib

from rclpy.node import Node

from fusion_mamba_ros.ros.detector.parameters import SPECS

_QOS_PREFIX = "qos_overrides."


def warn_of_unused_parameters(node: Node) -> None:
    """Log a warning for each parameter that was given at the start and is not declared, once all but QoS ones are."""
    names = [name for name in _unused(node) if not name.startswith(_QOS_PREFIX)]
    for name in names:
        close = difflib.get_close_matches(name, [spec.name for spec in SPECS], n=1)
        remedy = f"did you mean {close[0]}?" if close else "see config/detector.yaml for those that it has"
        node.get_logger().warning(f"parameter {name} is unknown to this node and has no effect: {remedy}")


def warn_of_unused_qos_overrides(node: Node) -> None:
    """Log a warning for each QoS override of a topic or policy that the node does not have, once all are declared."""
    for name in _unused(node):
        if name.startswith(_QOS_PREFIX):
            node.get_logger().warning(
                f"parameter {name} has no effect: no such topic or policy; give the topic's full name after remapping, "
                "as in qos_overrides./rgb/image_raw.subscription.depth"
            )


def _unused(node: Node) -> list[str]:
    # rclpy has no public way to ask for what was given without declaring it.
    return sorted(name for name in node._parameter_overrides if not node.has_parameter(name))
