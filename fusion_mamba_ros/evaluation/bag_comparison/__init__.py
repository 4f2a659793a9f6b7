# SPDX-License-Identifier: Apache-2.0
"""Compare two evaluations of the same bags, frame by frame."""
