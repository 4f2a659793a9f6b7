# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration: MyST pages and an API reference taken from the docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fusion_mamba_ros import __version__  # noqa: E402

project = "fusion_mamba_ros"
author = "fusion_mamba_ros contributors"
project_copyright = "fusion_mamba_ros contributors, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
# The pages look the same on a machine without ROS, PyTorch and the packages of training.
autodoc_mock_imports = [
    *("rclpy", "message_filters", "cv_bridge", "launch", "launch_ros", "ament_index_python", "rosidl_runtime_py"),
    *("builtin_interfaces", "diagnostic_msgs", "geometry_msgs", "lifecycle_msgs", "rcl_interfaces", "rosgraph_msgs"),
    *("sensor_msgs", "std_msgs", "vision_msgs", "foxglove_msgs", "fusion_mamba_ros.msg"),
    *("torch", "safetensors", "lightning_fabric", "pycocotools", "matplotlib", "tensorboard", "rosbags"),
    *("cv2", "typer", "rich", "mcap", "lz4", "zstandard"),
]


def drop_links_to_sources(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.TextElement | None:
    """Return the text of a link alone where it leads to a file of the repository outside this folder."""
    page = Path(env.doc2path(node["refdoc"]))
    target = (page.parent / node["reftarget"].partition("#")[0]).resolve()
    outside = target.is_relative_to(ROOT) and not target.is_relative_to(app.srcdir)
    return text if outside and target.exists() else None


def setup(app: Sphinx) -> None:
    """Register the handler of links that lead out of the documentation."""
    app.connect("missing-reference", drop_links_to_sources)
