# SPDX-License-Identifier: Apache-2.0
"""Fusion-Mamba in torch: tensors in, tensors out. Knows no files, no numpy images, no ROS."""
