# SPDX-License-Identifier: Apache-2.0
"""What arrives over time: pairing, decoding of image messages, frozen-picture detection. No ROS."""
