# SPDX-License-Identifier: Apache-2.0
"""Paired RGB-thermal datasets and their augmentation. No ROS."""
