# SPDX-License-Identifier: Apache-2.0
"""Modules of the node that moved keep their former import path for one release, with a warning."""

from __future__ import annotations

import importlib
import sys

import pytest

pytest.importorskip("rclpy")


@pytest.mark.parametrize(("module", "name"), [("detector_node", "DetectorNode"), ("pairing_filter", "PairingFilter")])
def test_former_path_gives_the_same_class_and_names_the_new_path(module: str, name: str) -> None:
    former, current = f"fusion_mamba_ros.ros.{module}", f"fusion_mamba_ros.ros.detector.{module}"
    sys.modules.pop(former, None)
    with pytest.warns(DeprecationWarning, match=f"{former} is deprecated: import from {current}"):
        moved = importlib.import_module(former)
    assert getattr(moved, name) is getattr(importlib.import_module(current), name)
