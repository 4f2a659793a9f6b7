# SPDX-License-Identifier: Apache-2.0
"""`detect.launch.py`, read through a recorder of ROS's launch API: what it declares, starts and wires.

Where ROS's own `launch` is installed the file is executed by that as well.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import runpy
import sys
import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ament_index_python")

ROOT = Path(__file__).parents[1]
LAUNCH_FILE = ROOT / "launch" / "detect.launch.py"
ARGUMENTS = {
    "checkpoint": None,
    "rgb_topic": "rgb/image_raw",
    "thermal_topic": "thermal/image_raw",
    "namespace": "",
    "use_sim_time": "false",
    "autostart": "true",
    "log_level": "info",
}
# Names that Humble's launch and launch_ros have, and the newer ones still have.
API = {
    "launch": ["LaunchDescription"],
    "launch.actions": ["DeclareLaunchArgument", "EmitEvent", "RegisterEventHandler"],
    "launch.conditions": ["IfCondition"],
    "launch.events": ["matches_action"],
    "launch.substitutions": ["LaunchConfiguration"],
    "launch_ros": [],
    "launch_ros.actions": ["LifecycleNode"],
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

    __hash__ = None


@pytest.fixture
def description(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    for module_name, names in API.items():
        module = types.ModuleType(module_name)
        for name in names:
            setattr(module, name, functools.partial(Call, name))
        monkeypatch.setitem(sys.modules, module_name, module)
    monkeypatch.setattr("ament_index_python.packages.get_package_share_directory", lambda package: str(ROOT))
    launch_file = runpy.run_path(str(LAUNCH_FILE))
    (entities,) = launch_file["generate_launch_description"]().arguments
    return entities


def named(description: list[Call], name: str) -> list[Call]:
    return [call for call in description if call.name == name]


def test_the_arguments_are_the_documented_ones_with_their_defaults(description: list[Call]) -> None:
    declared = {call.arguments[0]: call.options for call in named(description, "DeclareLaunchArgument")}
    assert declared.keys() == {*ARGUMENTS, "params_file"}
    assert {name: declared[name].get("default_value") for name in ARGUMENTS} == ARGUMENTS
    assert Path(declared["params_file"]["default_value"]) == ROOT / "config" / "detector.yaml"
    assert all(options["description"] for options in declared.values())


def test_the_node_gets_file_checkpoint_clock_and_topics(description: list[Call]) -> None:
    (node,) = named(description, "LifecycleNode")
    configuration = lambda name: Call("LaunchConfiguration", name)  # noqa: E731
    assert node.options["namespace"] == configuration("namespace")
    file, values = node.options["parameters"]
    assert file == configuration("params_file")
    assert values["checkpoint"] == Call("ParameterValue", configuration("checkpoint"), value_type=str)
    assert values["use_sim_time"] == Call("ParameterValue", configuration("use_sim_time"), value_type=bool)
    assert dict(node.options["remappings"]) == {
        "rgb/image_raw": configuration("rgb_topic"),
        "thermal/image_raw": configuration("thermal_topic"),
    }
    assert f"install_executable({node.options['executable']} " in (ROOT / "CMakeLists.txt").read_text()


def test_autostart_configures_then_activates_the_same_node(description: list[Call]) -> None:
    from lifecycle_msgs.msg import Transition

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


def test_no_launch_file_evaluates_text() -> None:
    for path in (ROOT / "launch").glob("*.py"):
        assert not re.search(r"\b(eval|exec)\(|PythonExpression", path.read_text()), path


@pytest.mark.skipif(importlib.util.find_spec("launch_ros") is None, reason="ROS's launch is not installed")
def test_ros_accepts_the_launch_file() -> None:
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(LAUNCH_FILE))
    assert {argument.name for argument in description.get_launch_arguments()} == {*ARGUMENTS, "params_file"}
