# SPDX-License-Identifier: Apache-2.0
"""One file for each way in which a dataset lies on disk; each finds the pairs of one split."""
