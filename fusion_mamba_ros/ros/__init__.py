# SPDX-License-Identifier: Apache-2.0
"""The only folder that imports rclpy: node, subscriptions, message conversion, diagnostics."""

from fusion_mamba_ros.openmp_policy import set_waiting_policy

# Call this here: it must run before torch is imported, and every module of the node imports this one first.
set_waiting_policy()
