# SPDX-License-Identifier: Apache-2.0
"""Play, record and replay bags over ROS."""
