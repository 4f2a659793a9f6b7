# SPDX-License-Identifier: Apache-2.0
"""The detector node with a depth modality in its registry, as a process: `python depth_detector.py --ros-args ...`."""

from __future__ import annotations

from fusion_mamba_ros.perception.modality import Modality, linear_levels, register_modality
from fusion_mamba_ros.ros.detector.detector_node import main

DEPTH = Modality("depth", to_levels=linear_levels("depth", 0, 60_000), registered=False)

if __name__ == "__main__":
    register_modality(DEPTH)
    main()
