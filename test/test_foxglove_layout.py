# SPDX-License-Identifier: Apache-2.0
"""The Foxglove layout names topics and fields that the node has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fusion_mamba_ros.bags.detections_writing import TOPICS

ROOT = Path(__file__).resolve().parents[1]
LAYOUT = ROOT / "config" / "foxglove_layout.json"


def test_panels_show_each_camera_with_its_annotations() -> None:
    panels = json.loads(LAYOUT.read_text())["configById"]
    shown = {
        mode["imageTopic"]: list(mode["annotations"]) for mode in (p.get("imageMode") for p in panels.values()) if mode
    }
    assert shown == {f"/{camera}/image_raw": [annotations] for camera, (_, annotations) in TOPICS.items()}
    assert all(mode["synchronize"] for mode in (panel.get("imageMode") for panel in panels.values()) if mode)


def test_plots_show_fields_of_the_status() -> None:
    fields = set(re.findall(r"^\w[\w/]* (\w+)\b(?!=)", (ROOT / "msg" / "FusionStatus.msg").read_text(), re.MULTILINE))
    paths = re.findall(r"/detector_node/status\.(\w+)", LAYOUT.read_text())
    assert len(paths) == 6 and set(paths) <= fields


def test_every_panel_is_in_the_layout_once() -> None:
    layout = json.loads(LAYOUT.read_text())

    def leaves(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else leaves(node["first"]) + leaves(node["second"])

    assert sorted(leaves(layout["layout"])) == sorted(layout["configById"])
