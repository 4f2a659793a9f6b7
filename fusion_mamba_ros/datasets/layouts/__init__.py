# SPDX-License-Identifier: Apache-2.0
"""Dataset layouts: one file for each folder structure. Each layout lists the pairs of a split."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.datasets.layouts.coco import CocoLayout
from fusion_mamba_ros.datasets.layouts.flir_aligned import FlirAlignedLayout
from fusion_mamba_ros.datasets.layouts.layout import Layout
from fusion_mamba_ros.datasets.layouts.m3fd import M3fdLayout
from fusion_mamba_ros.datasets.layouts.paired_yolo import PairedYoloLayout
from fusion_mamba_ros.datasets.layouts.split_folders import SplitFoldersLayout
from fusion_mamba_ros.datasets.problems import DatasetError

__all__ = ["LAYOUTS", "Layout", "find_layout"]

# Auto-detection tries the layouts in this order.
LAYOUTS: dict[str, type[Layout]] = {
    "paired_yolo": PairedYoloLayout,
    "flir_aligned": FlirAlignedLayout,
    "m3fd": M3fdLayout,
    "split_folders": SplitFoldersLayout,
    "coco": CocoLayout,
}


def find_layout(root: Path, format_name: str = "auto") -> Layout:
    """Return the layout of the dataset folder ``root``.

    Raises ``DatasetError`` if the folder does not exist, the format is unknown or the folder does not match it.
    """
    if not root.is_dir():
        raise DatasetError(f"dataset folder {str(root)!r} does not exist")
    if format_name != "auto" and format_name not in LAYOUTS:
        raise DatasetError(f"dataset format is {format_name!r}: expected auto or one of {', '.join(LAYOUTS)}")
    candidates = LAYOUTS.values() if format_name == "auto" else [LAYOUTS[format_name]]
    for layout in candidates:
        if layout.matches(root):
            return layout(root)
    expected = "; ".join(f"{name}: {layout.FORM}" for name, layout in LAYOUTS.items() if layout in candidates)
    raise DatasetError(f"dataset folder {str(root)!r} has no form that is known: expected {expected}")
