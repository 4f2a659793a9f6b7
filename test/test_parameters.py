# SPDX-License-Identifier: Apache-2.0
"""The parameter table, its YAML and how a running node takes changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy")

import rclpy
from detector_graph import isolate
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from fusion_mamba_ros.ros.parameter_spec import ParameterError
from fusion_mamba_ros.ros.parameters import SPECS, DetectorParameters, ParameterServer

YAML = Path(__file__).parents[1] / "config" / "detector.yaml"
DEFAULTS = {spec.name: spec.default for spec in SPECS}


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    isolate()
    context = Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values


class Server:
    """A node that has the parameters, started with some values."""

    def __init__(
        self,
        context: Context,
        start: dict[str, Any] | None = None,
        *,
        configured: bool = False,
        on_change: Callable[[DetectorParameters], None] | None = None,
    ) -> None:
        overrides = [Parameter(name, value=value) for name, value in (start or {}).items()]
        self.node = Node("parameters", context=context, parameter_overrides=overrides, start_parameter_services=False)
        self.changes: list[DetectorParameters] = []
        try:
            self.server = ParameterServer(
                self.node, may_change=lambda: not configured, on_change=on_change or self.changes.append
            )
        except ParameterError:
            self.node.destroy_node()
            raise

    def set(self, **values: Any) -> tuple[bool, str]:
        parameters = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        result = self.node.set_parameters_atomically(parameters)
        return result.successful, result.reason


def test_the_yaml_file_holds_every_parameter_with_its_default() -> None:
    values = flat(yaml.safe_load(YAML.read_text())["/**"]["ros__parameters"])
    assert values == DEFAULTS
    assert list(values) == [spec.name for spec in SPECS]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_the_yaml_comment_names_range_choices_and_whether_it_is_live(spec: Any) -> None:
    lines = YAML.read_text().splitlines()
    section, _, name = spec.name.rpartition(".")
    first = next((i for i, line in enumerate(lines) if section and line.strip() == f"{section}:"), 0)
    index = next(i for i, line in enumerate(lines) if i >= first and line.strip().startswith(f"{name}:"))
    comment: list[str] = []
    while lines[index - 1].strip().startswith("#") and "---" not in lines[index - 1]:
        index -= 1
        comment.insert(0, lines[index].strip("# "))
    text = " ".join(comment)
    if spec.minimum is not None:
        assert f"{spec.minimum:g} to {spec.maximum:g}" in text
    assert all(choice in text for choice in spec.choices)
    assert ("live" in text) == spec.live


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_parameter_has_a_descriptor(context: Context, spec: Any) -> None:
    server = Server(context)
    descriptor = server.node.describe_parameter(spec.name)
    assert descriptor.description == spec.description
    assert ("at once" in descriptor.additional_constraints) == spec.live
    if spec.minimum is not None:
        (limits,) = [*descriptor.floating_point_range, *descriptor.integer_range]
        assert (limits.from_value, limits.to_value) == (spec.minimum, spec.maximum)
    server.node.destroy_node()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("score_threshold", 1.5, "parameter score_threshold is 1.5: expected 0 to 1"),
        ("score_threshold", float("nan"), "parameter score_threshold is nan: expected a finite number"),
        ("max_detections", "many", "parameter max_detections is 'many': expected 1 to 3000"),
        ("missing_modality", "wait", "parameter missing_modality is 'wait': expected one of continue, stop"),
        ("pairing.timeout_sec", 0.0, "parameter pairing.timeout_sec is 0.0: expected 0.01 to 60"),
        ("registration.homography", [1.0, 0.0], "homography has 2 numbers [1.0, 0.0]: give nine finite ones by rows"),
        ("thermal.range_min", 65535.0, "expected range_min < range_max"),
        ("classes", [1, 2], "parameter classes is [1, 2]: expected a list of class names"),
        ("classes", 5, "parameter classes is 5: expected a list, as in [5]"),
        ("classes", "person", "parameter classes is 'person': expected a list, as in [person]"),
        ("registration.homography", 1.0, "parameter registration.homography is 1.0: expected a list, as in [1.0]"),
    ],
)
def test_a_bad_start_value_is_one_sentence(context: Context, name: str, value: Any, sentence: str) -> None:
    with pytest.raises(ParameterError) as error:
        Server(context, {name: value})
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_whole_numbers_are_taken_for_floats(context: Context) -> None:
    server = Server(context, {"score_threshold": 1, "registration.homography": [1, 0, 0, 0, 1, 0, 0, 0, 1]})
    assert server.server.current.score_threshold == 1.0
    assert server.server.current.registration_homography == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    server.node.destroy_node()


def test_a_live_change_is_handed_on_and_a_bad_one_is_refused_whole(context: Context) -> None:
    server = Server(context, configured=True)
    assert server.set(score_threshold=0.5, pairing__max_offset_sec=0.1) == (True, "")
    assert (server.changes[-1].score_threshold, server.changes[-1].pairing_max_offset_sec) == (0.5, 0.1)
    accepted, reason = server.set(score_threshold=0.6, missing_modality="wait")
    assert (accepted, reason) == (False, "parameter missing_modality is 'wait': expected one of continue, stop")
    assert server.server.current.score_threshold == 0.5
    assert server.node.get_parameter("score_threshold").value == 0.5
    server.node.destroy_node()


def test_what_the_model_was_loaded_with_cannot_change_while_it_is_loaded(context: Context) -> None:
    server = Server(context, configured=True)
    accepted, reason = server.set(device="cpu")
    assert not accepted
    assert reason == "parameter device may change only while the node is unconfigured: clean it up first"
    server.node.destroy_node()


def test_what_the_listener_refuses_is_refused_with_its_sentence(context: Context) -> None:
    def refuse(parameters: DetectorParameters) -> None:
        raise ParameterError(f"unknown class {parameters.classes[0]}")

    server = Server(context, on_change=refuse)
    assert server.set(classes=["dragon"]) == (False, "unknown class dragon")
    assert server.server.current.classes == ()
    server.node.destroy_node()


@pytest.mark.parametrize("value", [5, "person", True])
def test_a_live_scalar_for_a_list_is_refused_with_a_sentence(context: Context, value: Any) -> None:
    server = Server(context, configured=True)
    accepted, reason = server.set(classes=value)
    assert not accepted
    assert reason.startswith(f"parameter classes is {value!r}: expected a list")
    assert server.node.get_parameter("classes").value == []
    server.node.destroy_node()


def test_a_fault_of_the_listener_still_answers_the_caller(context: Context) -> None:
    def fail(parameters: DetectorParameters) -> None:
        raise RuntimeError("the publisher is gone")

    server = Server(context, on_change=fail)
    accepted, reason = server.set(score_threshold=0.5)
    assert (accepted, reason) == (False, "parameters could not be changed: RuntimeError: the publisher is gone")
    assert server.node.get_parameter("score_threshold").value == 0.25
    server.node.destroy_node()
