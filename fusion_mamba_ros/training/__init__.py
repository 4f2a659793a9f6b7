# SPDX-License-Identifier: Apache-2.0
"""The offline trainer: assigner, loss, schedule, loop. No ROS."""
