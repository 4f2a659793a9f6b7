# SPDX-License-Identifier: Apache-2.0
"""Recorded bags: read, write, and take image pairs out of them."""
