# SPDX-License-Identifier: Apache-2.0
"""Offline training: assigner, loss, moving average, schedule and training loop. This package does not use ROS."""
