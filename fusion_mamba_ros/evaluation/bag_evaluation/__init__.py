# SPDX-License-Identifier: Apache-2.0
"""Evaluate a detector on a bag: accuracy, misses, latency and a release gate. Needs no ROS."""
