# SPDX-License-Identifier: Apache-2.0
"""Detection metrics, bag evaluation and reports. No ROS."""
