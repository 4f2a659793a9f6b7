# SPDX-License-Identifier: Apache-2.0
"""Detection metrics, replay evaluation and reports. Needs no ROS."""
