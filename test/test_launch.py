# SPDX-License-Identifier: Apache-2.0
"""The launch files, read through a recorder of ROS's launch API: what they declare, start and wire.

Where ROS's own `launch` is installed `detect.launch.py` is executed by that as well.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import runpy
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, List  # noqa: UP035  # launch knows no other.

import pytest

pytest.importorskip("rclpy")

from fusion_mamba_ros.ros.bag_tools.bag_player import parse_arguments
from fusion_mamba_ros.ros.detector.parameters import SPECS

ROOT = Path(__file__).parents[1]
DETECT, REPLAY, VEHICLE = (ROOT / "launch" / f"{name}.launch.py" for name in ("detect", "replay", "vehicle"))
# fmt: off
NOT_GIVEN = (
    "checkpoint", "engine", "threads", "image_transport", "tiles", "tracking", "use_arrival_time", "rectify",
    "rgb_camera_info_topic", "thermal_camera_info_topic", "pairs", "namespace",
)
# fmt: on
ARGUMENTS = dict.fromkeys(NOT_GIVEN, "") | {
    "rgb_topic": "rgb/image_raw",
    "thermal_topic": "thermal/image_raw",
    "use_sim_time": "false",
    "autostart": "true",
    "required": "true",
    "log_level": "info",
}
# Names that Humble's launch and launch_ros have, and the newer ones still have.
API = {
    "launch": ["LaunchContext", "LaunchDescription"],
    "launch.actions": [
        "DeclareLaunchArgument",
        "EmitEvent",
        "IncludeLaunchDescription",
        "OpaqueFunction",
        "RegisterEventHandler",
    ],
    "launch.conditions": ["IfCondition"],
    "launch.event_handlers": ["OnProcessExit"],
    "launch.events": ["Shutdown", "matches_action"],
    "launch.events.process": ["ProcessExited"],
    "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
    "launch.substitutions": ["LaunchConfiguration"],
    "launch_ros": [],
    "launch_ros.actions": ["LifecycleNode", "Node"],
    "launch_ros.event_handlers": ["OnStateTransition"],
    "launch_ros.events": [],
    "launch_ros.events.lifecycle": ["ChangeState"],
    "launch_ros.parameter_descriptions": ["ParameterValue"],
}


class Call:
    """One call of the launch API: its name and arguments."""

    def __init__(self, name: str, /, *arguments: Any, **options: Any) -> None:
        self.name, self.arguments, self.options = name, arguments, options

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def perform(self, context: dict[str, str]) -> str:
        """Return the value of a launch argument, as `LaunchConfiguration` does."""
        return context[self.arguments[0]]


@pytest.fixture
def describe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Call]]:
    """Return what a launch file consists of when it is started with some arguments, the others at their defaults."""
    for module_name, names in API.items():
        module = types.ModuleType(module_name)
        for name in names:
            setattr(module, name, functools.partial(Call, name))
        monkeypatch.setitem(sys.modules, module_name, module)
    monkeypatch.setattr("ament_index_python.packages.get_package_share_directory", lambda package: str(ROOT))

    def describe(launch_file: Path, **given: str) -> list[Call]:
        (entities,) = runpy.run_path(str(launch_file))["generate_launch_description"]().arguments
        context = {
            call.arguments[0]: call.options.get("default_value") for call in named(entities, "DeclareLaunchArgument")
        }
        described: list[Call] = []
        for entity in entities:
            opaque = entity.name == "OpaqueFunction"
            described += entity.options["function"]({**context, **given}) if opaque else [entity]
        return described

    return describe


def named(description: list[Call], name: str) -> list[Call]:
    return [call for call in description if call.name == name]


def configuration(name: str) -> Call:
    return Call("LaunchConfiguration", name)


def test_the_arguments_are_the_documented_ones_with_their_defaults(describe: Callable[..., list[Call]]) -> None:
    declared = {call.arguments[0]: call.options for call in named(describe(DETECT), "DeclareLaunchArgument")}
    assert declared.keys() == {*ARGUMENTS, "params_file"}
    assert {name: declared[name].get("default_value") for name in ARGUMENTS} == ARGUMENTS
    assert Path(declared["params_file"]["default_value"]) == ROOT / "config" / "detector.yaml"
    assert all(options["description"] for options in declared.values())


def test_the_node_gets_file_checkpoint_clock_and_topics(describe: Callable[..., list[Call]]) -> None:
    (node,) = named(
        describe(DETECT, checkpoint="a.onnx", engine="onnxruntime", image_transport="compressed", tiles="3x2"),
        "LifecycleNode",
    )
    assert node.options["namespace"] == configuration("namespace")
    file, values = node.options["parameters"]
    assert file == configuration("params_file")
    for name in ("checkpoint", "engine", "image_transport", "tiles"):
        assert values[name] == Call("ParameterValue", configuration(name), value_type=str)
    assert values["use_sim_time"] == Call("ParameterValue", configuration("use_sim_time"), value_type=bool)
    assert dict(node.options["remappings"]) == {
        "rgb/image_raw": configuration("rgb_topic"),
        "thermal/image_raw": configuration("thermal_topic"),
    }
    assert f"install_executable({node.options['executable']} " in (ROOT / "CMakeLists.txt").read_text()


def test_the_topics_of_several_pairs_follow_a_pattern(describe: Callable[..., list[Call]]) -> None:
    topics = {"rgb_topic": "/{pair}/colour/image_raw", "thermal_topic": "lwir/{pair}"}
    (node,) = named(describe(DETECT, pairs="[front, rear_left]", **topics), "LifecycleNode")
    assert dict(node.options["remappings"]) == {
        "front/rgb/image_raw": "/front/colour/image_raw",
        "rear_left/rgb/image_raw": "/rear_left/colour/image_raw",
        "front/thermal/image_raw": "lwir/front",
        "rear_left/thermal/image_raw": "lwir/rear_left",
    }
    (node,) = named(describe(DETECT, pairs="['front']"), "LifecycleNode")
    assert node.options["remappings"] == []


def test_the_calibrations_of_several_pairs_follow_a_pattern(describe: Callable[..., list[Call]]) -> None:
    given = {"rgb_camera_info_topic": "/{pair}/info", "thermal_camera_info_topic": "/shared/info"}
    (node,) = named(describe(DETECT, pairs="[front, rear]", **given), "LifecycleNode")
    values = node.options["parameters"][-1]
    own = {name: value for name, value in values.items() if name.endswith("rgb.camera_info_topic")}
    assert own == {f"{pair}.rgb.camera_info_topic": f"/{pair}/info" for pair in ("front", "rear")}
    assert values["thermal.camera_info_topic"].arguments == (configuration("thermal_camera_info_topic"),)


def test_a_topic_that_does_not_fit_the_pairs_is_refused(describe: Callable[..., list[Call]]) -> None:
    with pytest.raises(RuntimeError, match=r"rgb_topic is /cam/image: with pairs, write \{pair\}"):
        describe(DETECT, pairs="[front, rear]", rgb_topic="/cam/image")
    for argument in ("thermal_topic", "rgb_camera_info_topic"):
        with pytest.raises(
            RuntimeError, match=rf"{argument} is /\{{pair\}}/a: \{{pair\}} needs the launch argument pairs"
        ):
            describe(DETECT, **{argument: "/{pair}/a"})


def test_what_is_not_given_is_left_to_the_params_file(describe: Callable[..., list[Call]]) -> None:
    (node,) = named(describe(DETECT), "LifecycleNode")
    _, values = node.options["parameters"]
    assert values.keys() == {"use_sim_time"}


def test_autostart_configures_then_activates_the_same_node(describe: Callable[..., list[Call]]) -> None:
    from lifecycle_msgs.msg import Transition

    description = describe(DETECT)
    (node,) = named(description, "LifecycleNode")
    (handler,) = named(description, "RegisterEventHandler")
    (configure,) = named(description, "EmitEvent")
    wanted = Call("IfCondition", Call("LaunchConfiguration", "autostart"))
    assert handler.options["condition"] == configure.options["condition"] == wanted
    assert configure.options["event"].options["transition_id"] == Transition.TRANSITION_CONFIGURE
    on_transition = handler.arguments[0].options
    assert on_transition["target_lifecycle_node"] is node
    assert (on_transition["start_state"], on_transition["goal_state"]) == ("configuring", "inactive")
    (activate,) = on_transition["entities"]
    assert activate.options["event"].options["transition_id"] == Transition.TRANSITION_ACTIVATE
    # The handler must be there before the event that it waits for.
    assert description.index(handler) < description.index(configure)


def test_replay_hands_on_to_the_node_what_both_declare(describe: Callable[..., list[Call]]) -> None:
    replay = describe(REPLAY)
    declared = {call.arguments[0] for call in named(replay, "DeclareLaunchArgument")}
    assert {"engine", "tracking", "rectify"} <= declared
    (include,) = named(replay, "IncludeLaunchDescription")
    assert include.arguments == (Call("PythonLaunchDescriptionSource", str(DETECT)),)
    handed_on = dict(include.options["launch_arguments"])
    assert handed_on.pop("use_sim_time") == configuration("clock")
    assert handed_on == {name: configuration(name) for name in declared & {*ARGUMENTS, "params_file"}}


def test_the_example_of_a_vehicle_sets_arguments_that_the_detector_declares(
    describe: Callable[..., list[Call]],
) -> None:
    vehicle = describe(VEHICLE)
    (include,) = named(vehicle, "IncludeLaunchDescription")
    assert include.arguments == (Call("PythonLaunchDescriptionSource", str(DETECT)),)
    given = dict(include.options["launch_arguments"])
    assert given.keys() <= {*ARGUMENTS, "params_file"}
    declared = {call.arguments[0]: call.options for call in named(vehicle, "DeclareLaunchArgument")}
    assert {"engine", "tracking", "rectify"} <= declared.keys()
    for name, options in declared.items():
        assert given[name] == configuration(name) and options["default_value"] == ""


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_replay_plays_what_the_node_subscribes_to_and_ends_with_the_bag(
    describe: Callable[..., list[Call]], transport: str
) -> None:
    replay = describe(REPLAY, bag="drive", rate="0.5", clock="True", image_transport=transport)
    (player,), (handler,) = named(replay, "Node"), named(replay, "RegisterEventHandler")
    path, options = parse_arguments(list(player.options["arguments"]))
    suffix = "/compressed" if transport == "compressed" else ""
    assert (path, options.rate, options.clock, options.loop) == (Path("drive"), 0.5, True, False)
    assert options.topics == (f"/rgb/image_raw{suffix}", f"/thermal/image_raw{suffix}")
    assert options.optional_topics == ("/rgb/camera_info", "/thermal/camera_info")
    assert options.require_subscribers
    (on_exit,) = handler.arguments
    assert on_exit.options["target_action"] is player
    given = describe(REPLAY, bag="drive", thermal_camera_info_topic="/lwir/info")
    _, options = parse_arguments(list(named(given, "Node")[0].options["arguments"]))
    assert options.optional_topics == ("/rgb/camera_info", "/lwir/info")
    ends_the_launch(on_exit.options["on_exit"])


def ends_the_launch(on_exit: Callable[[Any, Any], list[Call] | None]) -> None:
    """Check what happens when a process ends: launch returns 1 for an exception in a handler, and for nothing else."""

    def exit_with(code: int, *, shutting_down: bool = False) -> list[Call] | None:
        return on_exit(types.SimpleNamespace(returncode=code), types.SimpleNamespace(is_shutdown=shutting_down))

    ended = exit_with(0)
    assert ended is not None
    (end,) = ended
    assert end.name == "EmitEvent" and end.options["event"].name == "Shutdown"
    for code in (1, 2, -9):
        with pytest.raises(RuntimeError, match=f"exit code {code}"):
            exit_with(code)
    assert exit_with(0, shutting_down=True) is None and exit_with(-2, shutting_down=True) is None


def test_the_launch_ends_with_the_node_and_tells_a_failure_from_an_end(describe: Callable[..., list[Call]]) -> None:
    (node,) = named(describe(DETECT), "LifecycleNode")
    ends_the_launch(node.options["on_exit"])
    (node,) = named(describe(DETECT, required="False"), "LifecycleNode")
    assert node.options["on_exit"] is None


def test_no_launch_file_evaluates_text() -> None:
    for path in (ROOT / "launch").glob("*.py"):
        assert not re.search(r"\b(eval|exec)\(|PythonExpression", path.read_text()), path


@pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="ROS's launch is not installed")
def test_ros_accepts_the_launch_file() -> None:
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(DETECT))
    assert {argument.name for argument in description.get_launch_arguments()} == {*ARGUMENTS, "params_file"}


@pytest.mark.parametrize(
    ("argument", "value", "parameter", "kind"),
    [
        ("tracking", "true", "tracking", bool),
        ("use_arrival_time", "true", "pairing.use_arrival_time", bool),
        ("threads", "2", "threads", int),
        ("rectify", "off", "rectify", str),
        ("pairs", "[front, rear]", "pairs", List[str]),  # noqa: UP006
        ("rgb_camera_info_topic", "/a/info", "rgb.camera_info_topic", str),
        ("thermal_camera_info_topic", "/b/info", "thermal.camera_info_topic", str),
    ],
)
def test_a_switch_overrides_the_parameter_file_only_where_it_is_given(
    describe: Callable[..., list[Call]], argument: str, value: str, parameter: str, kind: type
) -> None:
    (node,) = named(describe(DETECT, **{argument: value}), "LifecycleNode")
    given = Call("ParameterValue", configuration(argument), value_type=kind)
    assert node.options["parameters"][-1][parameter] == given
    assert parameter in {spec.name for spec in SPECS}
    (node,) = named(describe(DETECT), "LifecycleNode")
    assert parameter not in node.options["parameters"][-1]
