# SPDX-License-Identifier: Apache-2.0
"""Example for a vehicle: the detector behind two cameras with compressed images. Copy and adapt it."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

# The topics without the suffix /compressed, which image_transport adds.
ARGUMENTS = {
    "namespace": "front",
    "rgb_topic": "/front/rgb/image_raw",
    "thermal_topic": "/front/thermal/image_raw",
    "image_transport": "compressed",
}
# Arguments that may be given at the start, as in `ros2 launch vehicle.launch.py tracking:=true`. Default: those of the
# parameter file of the package.
HANDED_ON = {
    "engine": "Software that runs the network.",
    "threads": "CPU threads of the network.",
    "tracking": "Fill Detection2D.id with the ids of tracks.",
    "rectify": "auto or off: rectify images of lenses that distort, by camera_info.",
}


def generate_launch_description() -> LaunchDescription:
    """Return the detector with the arguments of this vehicle."""
    detector = Path(get_package_share_directory("fusion_mamba_ros")) / "launch" / "detect.launch.py"
    declared = [
        DeclareLaunchArgument(name, default_value="", description=description)
        for name, description in HANDED_ON.items()
    ]
    arguments = {**ARGUMENTS, **{name: LaunchConfiguration(name) for name in HANDED_ON}}
    include = IncludeLaunchDescription(PythonLaunchDescriptionSource(str(detector)), launch_arguments=arguments.items())
    return LaunchDescription([*declared, include])
