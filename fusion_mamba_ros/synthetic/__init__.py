# SPDX-License-Identifier: Apache-2.0
"""Procedural street scenes for an RGB and a thermal camera."""
