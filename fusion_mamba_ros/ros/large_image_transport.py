# SPDX-License-Identifier: Apache-2.0
"""Select a Fast DDS profile that transports whole images between processes of one machine."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

# Fast DDS 2 (Humble, Jazzy) reads the first. Fast DDS 3 (Kilted) reads the second, and the first with a warning.
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def profile_environment(profile: Path) -> dict[str, str]:
    """Return the environment variables that make every release of Fast DDS load ``profile``."""
    return dict.fromkeys(PROFILE_VARIABLES, str(profile))


def use_large_image_transport(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make Fast DDS transport whole images between processes of this machine.

    A profile that the user has chosen is kept. If only one of the variables is set, its profile is used for every
    release of Fast DDS. Call this before the first ROS context is initialised.
    """
    from ament_index_python.packages import get_package_share_directory

    chosen = next((environment[name] for name in PROFILE_VARIABLES if environment.get(name)), None)
    if chosen is None:
        chosen = str(Path(get_package_share_directory("fusion_mamba_ros")) / "config" / "fastdds_large_images.xml")
    for name in PROFILE_VARIABLES:
        environment.setdefault(name, chosen)
