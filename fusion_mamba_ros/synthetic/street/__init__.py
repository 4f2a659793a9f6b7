# SPDX-License-Identifier: Apache-2.0
"""What a procedural street is made of: a camera, a canvas, people, vehicles, and the street itself."""
