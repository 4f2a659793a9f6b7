# SPDX-License-Identifier: Apache-2.0
"""Read and write rosbag2 bags, and extract image pairs from them."""
