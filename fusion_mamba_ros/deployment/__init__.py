# SPDX-License-Identifier: Apache-2.0
"""Exported models and the engines that run them. Import the modules by name: engines must not import exporters."""
