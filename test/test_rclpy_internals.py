# SPDX-License-Identifier: Apache-2.0
"""What this package uses of rclpy beyond its documented interface: each release must still have it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy")

import rclpy
from detector_graph import isolate
from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType
from rclpy.context import Context
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.utilities import remove_ros_args
from std_msgs.msg import String

SOURCES = sorted((Path(__file__).resolve().parents[1] / "fusion_mamba_ros" / "ros").rglob("*.py"))
# Attributes that have no public counterpart; each has a test below.
PRIVATE = {"unused_overrides.py": {"_parameter_overrides"}}


@pytest.fixture
def node() -> Iterator[LifecycleNode]:
    isolate()
    context = Context()
    rclpy.init(context=context)
    node = LifecycleNode("internals", context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_the_service_that_changes_the_state_is_found_and_its_callback_can_be_replaced(node: LifecycleNode) -> None:
    service: Any
    (service,) = (service for service in node.services if service.srv_type is ChangeState)
    assert service.service_name == "/internals/change_state"
    assert callable(service.callback)
    service.callback = lambda request, response: response
    assert service.callback(None, "answer") == "answer"


def test_the_default_callback_group_is_a_set_of_references_that_can_be_pruned(node: LifecycleNode) -> None:
    group = node.default_callback_group
    timer = node.create_timer(100.0, lambda: None)
    assert timer in [reference() for reference in group.entities]
    node.destroy_timer(timer)
    del timer
    group.entities = {reference for reference in group.entities if reference() is not None}
    subscription = node.create_subscription(String, "words", lambda message: None, 1)
    assert subscription in [reference() for reference in group.entities]


def test_the_period_of_a_timer_can_be_changed(node: LifecycleNode) -> None:
    timer = node.create_timer(100.0, lambda: None, clock=Clock(clock_type=ClockType.STEADY_TIME))
    timer.timer_period_ns = 5_000_000
    timer.reset()
    assert timer.timer_period_ns == 5_000_000
    assert timer.time_until_next_call() <= 5_000_000


def test_the_errors_of_rcl_are_where_we_catch_them() -> None:
    assert issubclass(rclpy_implementation.RCLError, RuntimeError)
    with pytest.raises(rclpy_implementation.UnknownROSArgsError):
        remove_ros_args(["program", "--ros-args", "--no-such-argument"])
    with pytest.raises(rclpy_implementation.RCLError):
        remove_ros_args(["program", "--ros-args", "-r", "no rule"])


def test_publishers_are_looked_up_by_a_name_that_is_remapped_once(node: LifecycleNode) -> None:
    arguments = ["--ros-args", "-r", "first:=/second", "-r", "/second:=/third"]
    remapped = Node("remapped", context=node.context, cli_args=arguments)
    publisher = remapped.create_publisher(String, "first", 1)
    assert publisher.topic_name == remapped.resolve_topic_name("first") == "/second"
    assert [info.node_name for info in remapped.get_publishers_info_by_topic("first")] == ["remapped"]
    remapped.destroy_node()


def node_classes() -> list[ast.ClassDef]:
    return [
        statement
        for source in SOURCES
        for statement in ast.parse(source.read_text()).body
        if isinstance(statement, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id in ("Node", "LifecycleNode") for base in statement.bases)
    ]


def test_our_nodes_hide_no_private_name_of_rclpys(node: LifecycleNode) -> None:
    taken = set(vars(node)) | set(dir(node))
    classes = node_classes()
    assert {definition.name for definition in classes} >= {"DetectorNode", "BagPlayer"}
    for definition in classes:
        attributes = {
            part.attr
            for part in ast.walk(definition)
            if isinstance(part, ast.Attribute)
            and isinstance(part.ctx, ast.Store)
            and isinstance(part.value, ast.Name)
            and part.value.id == "self"
        }
        methods = {part.name for part in definition.body if isinstance(part, ast.FunctionDef)}
        private = {name for name in attributes | methods if re.match(r"_[a-z]", name)}
        assert private and private & taken == set(), definition.name


def test_no_private_attribute_of_a_node_is_used(node: LifecycleNode) -> None:
    private = {name for name in {*vars(node), *dir(node)} if re.match(r"_[a-z]", name)}
    for source in SOURCES:
        tree = ast.parse(source.read_text())
        defined = {
            part.attr for part in ast.walk(tree) if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store)
        }
        used = {part.attr for part in ast.walk(tree) if isinstance(part, ast.Attribute)} & private - defined
        assert used == PRIVATE.get(source.name, set()), source.name


def test_the_parameter_overrides_of_a_node_are_a_mapping_by_name(node: LifecycleNode) -> None:
    overrides = [Parameter("declared", value=1), Parameter("unknown", value=2)]
    given = Node("given", context=node.context, parameter_overrides=overrides)
    given.declare_parameter("declared", 0)
    assert {"declared", "unknown"} <= set(given._parameter_overrides)
    assert given.has_parameter("declared") and not given.has_parameter("unknown")
    given.destroy_node()
