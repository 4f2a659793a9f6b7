# SPDX-License-Identifier: Apache-2.0
"""Give detected boxes ids that stay the same over time. Needs numpy only and does not import ROS."""
