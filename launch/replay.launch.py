# SPDX-License-Identifier: Apache-2.0
"""Play a bag through the detector node; the launch ends at the end of the bag."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PACKAGE = "fusion_mamba_ros"
BOOLEAN = ["true", "false", "True", "False"]
# Arguments that the detector gets as they are.
HANDED_ON = (
    *("checkpoint", "engine", "threads", "tiles", "tracking", "rectify", "image_transport"),
    *("rgb_topic", "thermal_topic", "rgb_camera_info_topic", "thermal_camera_info_topic", "params_file", "log_level"),
)
# The player waits this long for the node, which loads its model before it subscribes.
WAIT_FOR_SUBSCRIBERS_SEC = "60"


def generate_launch_description() -> LaunchDescription:
    """Return the launch arguments, the detector node and the bag player."""
    share = Path(get_package_share_directory(PACKAGE))
    arguments = [
        DeclareLaunchArgument("bag", description="Folder or file of the bag."),
        DeclareLaunchArgument(
            "checkpoint",
            default_value="",
            description="Path of the .safetensors checkpoint. Default: that of params_file, or the one of the package.",
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
            "rectify",
            default_value="",
            choices=["", "auto", "off"],
            description="Rectify images by the camera_info of the bag. Default: that of params_file, or auto.",
        ),
        DeclareLaunchArgument("rgb_topic", default_value="/rgb/image_raw", description="RGB topic in the bag."),
        DeclareLaunchArgument(
            "thermal_topic", default_value="/thermal/image_raw", description="Thermal topic in the bag."
        ),
        DeclareLaunchArgument(
            "rgb_camera_info_topic",
            default_value="",
            description="camera_info of RGB in the bag. Default: that of params_file, or camera_info beside rgb_topic.",
        ),
        DeclareLaunchArgument(
            "thermal_camera_info_topic",
            default_value="",
            description="camera_info of thermal in the bag. Default: as for RGB, beside thermal_topic.",
        ),
        DeclareLaunchArgument(
            "image_transport",
            default_value="raw",
            choices=["raw", "compressed"],
            description="compressed: the bag contains CompressedImage on <topic>/compressed.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(share / "config" / "detector.yaml"),
            description="YAML file with the parameters of the node.",
        ),
        DeclareLaunchArgument("rate", default_value="1.0", description="Playback speed; 1.0 is the recorded speed."),
        DeclareLaunchArgument(
            "loop", default_value="false", choices=BOOLEAN, description="Restart at the end of the bag."
        ),
        DeclareLaunchArgument(
            "clock",
            default_value="false",
            choices=BOOLEAN,
            description="Publish the time of the bag on /clock; the node uses it.",
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="Lowest severity that the node logs."),
    ]
    detector = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / "launch" / "detect.launch.py")),
        launch_arguments={
            **{name: LaunchConfiguration(name) for name in HANDED_ON},
            "use_sim_time": LaunchConfiguration("clock"),
        }.items(),
    )
    return LaunchDescription([*arguments, detector, OpaqueFunction(function=_player)])


def _player(context: LaunchContext) -> list:
    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    suffix = "/compressed" if value("image_transport") == "compressed" else ""
    topics = [value("rgb_topic") + suffix, value("thermal_topic") + suffix]
    calibrations = [
        value(f"{camera}_camera_info_topic") or f"{value(f'{camera}_topic').rpartition('/')[0]}/camera_info"
        for camera in ("rgb", "thermal")
    ]
    flags = [f"--{name}" for name in ("loop", "clock") if value(name).lower() == "true"]
    player = Node(
        package=PACKAGE,
        executable="bag_player",
        arguments=[
            value("bag"),
            "--rate",
            value("rate"),
            *flags,
            "--topics",
            *topics,
            "--optional-topics",
            *calibrations,
            "--wait-for-subscribers",
            WAIT_FOR_SUBSCRIBERS_SEC,
            "--require-subscribers",
        ],
        output="screen",
    )
    return [player, RegisterEventHandler(OnProcessExit(target_action=player, on_exit=_on_player_exit))]


def _on_player_exit(event: ProcessExited, context: LaunchContext) -> list | None:
    """End the launch when the player ends. Raises ``RuntimeError`` if it failed: `ros2 launch` then returns 1."""
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        # No launch action sets the exit code. An exception is logged, shuts the launch down and makes the code 1.
        raise RuntimeError(f"bag_player ended with exit code {event.returncode}: see its log above for the reason")
    return [EmitEvent(event=Shutdown(reason="the bag has been played"))]
