# SPDX-License-Identifier: Apache-2.0
"""Numpy images in, detections out: preprocessing, decoding, suppression, drawing. No ROS."""
