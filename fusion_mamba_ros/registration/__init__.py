# SPDX-License-Identifier: Apache-2.0
"""Estimate the homography from thermal to RGB, and report how well it fits."""
