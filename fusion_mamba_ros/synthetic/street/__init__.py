# SPDX-License-Identifier: Apache-2.0
"""Parts of a procedural street: camera, canvas, people, vehicles, the street itself and the sensors."""
