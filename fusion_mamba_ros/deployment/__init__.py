# SPDX-License-Identifier: Apache-2.0
"""Exported models and the engines that run them. Import the modules by name: an engine must not import the exporters."""
