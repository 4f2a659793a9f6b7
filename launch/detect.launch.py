# SPDX-License-Identifier: Apache-2.0
"""Start the detector node, then configure and activate it."""

import re
from pathlib import Path
from typing import List  # noqa: UP035  # The type that launch knows.

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.conditions import IfCondition
from launch.events import Shutdown, matches_action
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

PACKAGE = "fusion_mamba_ros"
BOOLEAN = ["true", "false", "True", "False"]
# Stands for the name of each pair in a topic.
PAIR = "{pair}"
# Launch argument to the parameter that it sets, and its type.
PARAMETERS = {
    "checkpoint": ("checkpoint", str),
    "engine": ("engine", str),
    "threads": ("threads", int),
    "image_transport": ("image_transport", str),
    "tiles": ("tiles", str),
    "tracking": ("tracking", bool),
    "use_arrival_time": ("pairing.use_arrival_time", bool),
    "rectify": ("rectify", str),
    "rgb_camera_info_topic": ("rgb.camera_info_topic", str),
    "thermal_camera_info_topic": ("thermal.camera_info_topic", str),
    "pairs": ("pairs", List[str]),  # noqa: UP006
}


def generate_launch_description() -> LaunchDescription:
    """Return the launch arguments, the node, and with `autostart` its two lifecycle transitions."""
    default_parameters = Path(get_package_share_directory(PACKAGE)) / "config" / "detector.yaml"
    arguments = [
        DeclareLaunchArgument(
            "checkpoint",
            default_value="",
            description="Checkpoint or exported model. Default: that of params_file, or the one of the package.",
        ),
        DeclareLaunchArgument(
            "engine",
            default_value="",
            description="Software that runs the network. Default: that of params_file, or by the checkpoint's suffix.",
        ),
        DeclareLaunchArgument(
            "threads",
            default_value="",
            description="CPU threads of the network, 0 for one on each core. Default: that of params_file, or 0.",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="",
            description="raw or compressed. Default: that of params_file, or raw.",
        ),
        DeclareLaunchArgument(
            "tiles",
            default_value="",
            description="Tiles of a large image: COLUMNSxROWS or auto. Default: that of params_file, or none.",
        ),
        DeclareLaunchArgument(
            "tracking",
            default_value="",
            choices=["", *BOOLEAN],
            description="Fill Detection2D.id with the ids of tracks. Default: that of params_file, or false.",
        ),
        DeclareLaunchArgument(
            "use_arrival_time",
            default_value="",
            choices=["", *BOOLEAN],
            description="Pair by arrival, for drivers that do not stamp. Default: that of params_file, or false.",
        ),
        DeclareLaunchArgument(
            "rectify",
            default_value="",
            choices=["", "auto", "off"],
            description="Rectify images of lenses that distort, by camera_info. Default: that of params_file, or auto.",
        ),
        DeclareLaunchArgument(
            "rgb_camera_info_topic",
            default_value="",
            description="camera_info of the RGB camera. Default: that of params_file, or camera_info beside rgb_topic.",
        ),
        DeclareLaunchArgument(
            "thermal_camera_info_topic",
            default_value="",
            description="camera_info of the thermal camera. Default: as for RGB, beside thermal_topic.",
        ),
        DeclareLaunchArgument(
            "pairs",
            default_value="",
            description="Names of several camera pairs, as in '[front, rear]'. Default: those of params_file, or none.",
        ),
        DeclareLaunchArgument("rgb_topic", default_value="rgb/image_raw", description="Topic of the RGB camera."),
        DeclareLaunchArgument(
            "thermal_topic", default_value="thermal/image_raw", description="Topic of the thermal camera."
        ),
        DeclareLaunchArgument(
            "params_file", default_value=str(default_parameters), description="YAML file with the parameters."
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
        DeclareLaunchArgument(
            "use_sim_time", default_value="false", choices=BOOLEAN, description="Follow the /clock topic."
        ),
        DeclareLaunchArgument(
            "autostart",
            default_value="true",
            choices=BOOLEAN,
            description="Configure and activate the node. false: the node stays unconfigured.",
        ),
        DeclareLaunchArgument(
            "required",
            default_value="true",
            choices=BOOLEAN,
            description="End the launch when the node ends; the exit code is 1 if it failed. false: continue.",
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Lowest severity that the node logs.",
        ),
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_detector)])


def _detector(context: LaunchContext) -> list:
    parameters: dict = {"use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)}
    for name, (parameter, kind) in PARAMETERS.items():
        value = LaunchConfiguration(name).perform(context)
        if PAIR in value and name.endswith("_topic"):
            parameters |= {f"{pair}.{parameter}": text for pair, text in _of_each_pair(context, name).items()}
        elif value:  # An empty value would override that of params_file.
            parameters[parameter] = ParameterValue(LaunchConfiguration(name), value_type=kind)
    node = LifecycleNode(
        package=PACKAGE,
        executable="detector_node",
        name="detector_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file"), parameters],
        remappings=_remappings(context),
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
        on_exit=_on_exit if LaunchConfiguration("required").perform(context).lower() == "true" else None,
    )
    autostart = IfCondition(LaunchConfiguration("autostart"))
    activate_when_configured = RegisterEventHandler(
        OnStateTransition(
            target_lifecycle_node=node,
            start_state="configuring",
            goal_state="inactive",
            entities=[_change_state(node, Transition.TRANSITION_ACTIVATE)],
        ),
        condition=autostart,
    )
    configure = _change_state(node, Transition.TRANSITION_CONFIGURE, condition=autostart)
    return [activate_when_configured, node, configure]


def _remappings(context: LaunchContext) -> list:
    """Return the remappings of the image topics; with `pairs` those of each pair, from a name with {pair}."""
    remappings = []
    for topic, argument in {"rgb/image_raw": "rgb_topic", "thermal/image_raw": "thermal_topic"}.items():
        name = LaunchConfiguration(argument).perform(context)
        if PAIR in name:
            remappings += [(f"{pair}/{topic}", own) for pair, own in _of_each_pair(context, argument).items()]
        elif not _pairs(context):
            remappings.append((topic, LaunchConfiguration(argument)))
        elif name != topic:
            raise RuntimeError(f"{argument} is {name}: with pairs, write {PAIR} in place of the name of each pair")
    return remappings


def _pairs(context: LaunchContext) -> list:
    return re.findall(r"\w+", LaunchConfiguration("pairs").perform(context))


def _of_each_pair(context: LaunchContext, argument: str) -> dict:
    """Return the value of a launch argument for each pair. Raises ``RuntimeError`` without the argument `pairs`."""
    value = LaunchConfiguration(argument).perform(context)
    if not _pairs(context):
        raise RuntimeError(
            f"{argument} is {value}: {PAIR} needs the launch argument pairs, as in pairs:='[front, rear]'"
        )
    return {pair: value.replace(PAIR, pair) for pair in _pairs(context)}


def _on_exit(event: ProcessExited, context: LaunchContext) -> list | None:
    """End the launch when the node ends. Raises ``RuntimeError`` if the node failed: `ros2 launch` then returns 1."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        # No launch action sets the exit code. An exception is logged, shuts the launch down and makes the code 1.
        raise RuntimeError(f"detector_node ended with exit code {event.returncode}: see its log above for the reason")
    return [EmitEvent(event=Shutdown(reason="detector_node has ended"))]


def _change_state(node: LifecycleNode, transition_id: int, **options: object) -> EmitEvent:
    return EmitEvent(
        event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition_id), **options
    )
