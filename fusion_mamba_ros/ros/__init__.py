# SPDX-License-Identifier: Apache-2.0
"""The only folder that imports rclpy: node, subscriptions, message conversion, diagnostics."""

from fusion_mamba_ros.openmp_policy import set_waiting_policy

# Here, because every module of the node comes after this one and many of them import torch.
set_waiting_policy()
