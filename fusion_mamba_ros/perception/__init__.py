# SPDX-License-Identifier: Apache-2.0
"""Detection on NumPy images: preprocessing, inference, decoding, NMS and drawing. This package imports no ROS."""
