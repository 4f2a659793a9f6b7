# SPDX-License-Identifier: Apache-2.0
"""RGB-thermal object detection for ROS 2 with the Fusion-Mamba network (arXiv 2404.09146)."""

from pkgutil import extend_path

# The messages generated from msg/ are a second folder of this name where the source tree itself is on the path.
__path__ = extend_path(__path__, __name__)

__version__ = "0.2.0"
