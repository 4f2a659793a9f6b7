# SPDX-License-Identifier: Apache-2.0
"""Example for a vehicle: the detector behind two cameras with compressed images. Copy and adapt it."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

# The topics without the suffix /compressed, which image_transport adds.
ARGUMENTS = {
    "namespace": "front",
    "rgb_topic": "/front/rgb/image_raw",
    "thermal_topic": "/front/thermal/image_raw",
    "image_transport": "compressed",
}


def generate_launch_description() -> LaunchDescription:
    """Return the detector with the arguments of this vehicle."""
    detector = Path(get_package_share_directory("fusion_mamba_ros")) / "launch" / "detect.launch.py"
    return LaunchDescription(
        [IncludeLaunchDescription(PythonLaunchDescriptionSource(str(detector)), launch_arguments=ARGUMENTS.items())]
    )
