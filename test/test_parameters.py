# SPDX-License-Identifier: Apache-2.0
"""The parameter table, its YAML and how a running node takes changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy")

from detector_graph import isolated_context
from parameter_node import Server
from rcl_interfaces.msg import SetParametersResult
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter, parameter_dict_from_yaml_file, parameter_value_to_python

from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError
from fusion_mamba_ros.ros.detector.parameters import SPECS, DetectorParameters

YAML = Path(__file__).parents[1] / "config" / "detector.yaml"
DEFAULTS = {spec.name: spec.default for spec in SPECS}


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    with isolated_context() as context:
        yield context


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in tree.items():
        values |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values


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
    descriptor: Any = server.node.describe_parameter(spec.name)
    assert descriptor.description == spec.description
    assert ("at once" in descriptor.additional_constraints) == spec.live
    if spec.minimum is not None:
        ranges: list[Any] = list(descriptor.floating_point_range) + list(descriptor.integer_range)
        (limits,) = ranges
        allowed = [spec.minimum, spec.maximum] if spec.special is None else [spec.minimum, spec.maximum, spec.special]
        assert (limits.from_value, limits.to_value) == (min(allowed), max(allowed))
    server.node.destroy_node()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("score_threshold", 1.5, "parameter score_threshold is 1.5: expected 0 to 1, or -1"),
        ("score_threshold", -0.5, "parameter score_threshold is -0.5: expected 0 to 1, or -1"),
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


def test_what_the_check_refuses_is_refused_with_its_sentence(context: Context) -> None:
    def refuse(parameters: DetectorParameters) -> None:
        raise ParameterError(f"unknown class {parameters.classes[0]}")

    server = Server(context, check=refuse)
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


def test_a_fault_of_the_check_still_answers_the_caller(context: Context) -> None:
    def fail(parameters: DetectorParameters) -> None:
        raise RuntimeError("the checkpoint is gone")

    server = Server(context, check=fail)
    accepted, reason = server.set(score_threshold=0.5)
    assert (accepted, reason) == (False, "parameters could not be changed: RuntimeError: the checkpoint is gone")
    assert server.node.get_parameter("score_threshold").value == -1.0
    server.node.destroy_node()


def test_a_fault_while_a_change_is_applied_still_answers_the_caller(context: Context) -> None:
    def fail(parameters: DetectorParameters) -> None:
        raise RuntimeError("the publisher is gone")

    server = Server(context, on_change=fail)
    assert server.set(score_threshold=0.5) == (True, "")
    assert server.server.current.score_threshold == server.node.get_parameter("score_threshold").value == 0.5
    server.node.destroy_node()


def spin_until_idle(server: Server) -> None:
    executor = SingleThreadedExecutor(context=server.node.context)
    executor.add_node(server.node)
    for _ in range(5):
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()


@pytest.mark.parametrize("release", ["jazzy", "humble"])
def test_a_change_that_another_callback_refuses_is_not_applied(
    context: Context, monkeypatch: pytest.MonkeyPatch, release: str
) -> None:
    if release == "humble":
        monkeypatch.delattr(Node, "add_post_set_parameters_callback")
    server = Server(context, configured=True)
    refused = SetParametersResult(successful=False, reason="not today")
    # rclpy calls the newest callback first: the private list is the way to one that comes after ours.
    callbacks = server.node._on_set_parameters_callbacks
    callbacks.append(lambda parameters: refused)
    assert server.set(score_threshold=0.5) == (False, "not today")
    spin_until_idle(server)
    assert server.changes == [] and server.server.current.score_threshold == -1.0
    del callbacks[-1]
    assert server.set(score_threshold=0.75) == (True, "")
    spin_until_idle(server)
    assert [change.score_threshold for change in server.changes] == [0.75]
    assert server.server.current.score_threshold == server.node.get_parameter("score_threshold").value == 0.75
    server.node.destroy_node()


def dump(node: Node, path: Path) -> Path:
    """Write what `ros2 param dump` writes."""
    tree: dict[str, Any] = {}
    for name in [*DEFAULTS, "use_sim_time"]:
        branch = tree
        *parents, leaf = name.split(".")
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[leaf] = parameter_value_to_python(node.get_parameter(name).get_parameter_value())
    path.write_text(yaml.dump({"/parameters": {"ros__parameters": tree}}, default_flow_style=False))
    return path


@pytest.mark.parametrize(
    "start",
    [
        {},
        {"classes": ["person"], "registration.homography": [1, 0, 0, 0, 1, 0, 0, 0, 1], "score_threshold": 1},
    ],
    ids=["defaults", "values"],
)
def test_a_dumped_file_loads_at_the_start_and_into_a_configured_node(
    context: Context, tmp_path: Path, start: dict[str, Any]
) -> None:
    # By the file of the package: an empty list in it has no type.
    first = Server(context, start, file=YAML)
    path = dump(first.node, tmp_path / "dump.yaml")
    assert "null" not in path.read_text()
    second = Server(context, file=path, configured=True)
    assert second.server.current == first.server.current
    for name, message in parameter_dict_from_yaml_file(str(path)).items():
        if name in DEFAULTS:
            assert second.set(**{name.replace(".", "__"): parameter_value_to_python(message.value)}) == (True, "")
    assert second.server.current == first.server.current and second.changes == []
    assert dump(second.node, tmp_path / "again.yaml").read_text() == path.read_text()
    first.node.destroy_node()
    second.node.destroy_node()


def test_a_list_that_an_older_dump_holds_as_null_is_empty(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "dump.yaml"
    path.write_text("/parameters: {ros__parameters: {classes: null, registration: {homography: null}}}")
    server = Server(context, file=path)
    assert (server.server.current.classes, server.server.current.registration_homography) == ((), None)
    for message in parameter_dict_from_yaml_file(str(path)).values():
        assert server.node.set_parameters([Parameter.from_parameter_msg(message)])[0].successful
    assert (server.server.current.classes, server.server.current.registration_homography) == ((), None)
    server.node.destroy_node()


def test_a_parameter_cannot_be_unset(context: Context) -> None:
    server = Server(context)
    accepted, reason = server.set(classes=None)
    assert (accepted, reason) == (False, "parameter classes cannot be unset: set it to its default, []")
    assert server.node.get_parameter("classes").value == []
    server.node.destroy_node()


@pytest.mark.parametrize("word", ["off", False])
def test_the_word_off_of_a_file_is_text_though_yaml_reads_it_as_false(
    context: Context, tmp_path: Path, word: Any
) -> None:
    path = tmp_path / "off.yaml"
    path.write_text("/parameters: {ros__parameters: {rectify: off}}")
    server = Server(context, file=path)
    assert server.server.current.rectify == server.node.get_parameter("rectify").value == "off"
    assert server.set(rectify="auto") == (True, "") and server.set(rectify=word) == (True, "")
    assert server.server.current.rectify == "off"
    accepted, reason = server.set(rectify=True)
    assert (accepted, reason) == (False, "parameter rectify is True: expected one of auto, off")
    server.node.destroy_node()


@pytest.mark.parametrize("topic", ["two words", "/a//b", "1st", "/camera_info/", "a\nb"])
def test_a_name_that_is_no_topic_is_refused_with_a_sentence(context: Context, topic: str) -> None:
    server = Server(context)
    accepted, reason = server.set(rgb__camera_info_topic=topic)
    assert not accepted and reason.startswith("parameter rgb.camera_info_topic is '")
    assert "expected a topic name" in reason and "\n" not in reason
    assert server.set(rgb__camera_info_topic="~/lens/camera_info") == (True, "")
    server.node.destroy_node()
