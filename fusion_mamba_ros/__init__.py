# SPDX-License-Identifier: Apache-2.0
"""RGB-thermal object detection for ROS 2 with the Fusion-Mamba network (arXiv 2404.09146)."""

__version__ = "0.1.0"
