# SPDX-License-Identifier: Apache-2.0
"""Small datasets of every layout, written to disk for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 64, 48


def write_image(
    path: Path, *, channels: int = 3, seed: int = 0, depth: type[np.unsignedinteger[Any]] = np.uint8
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (HEIGHT, WIDTH, channels) if channels > 1 else (HEIGHT, WIDTH)
    image = np.random.default_rng(seed).integers(0, np.iinfo(depth).max, shape).astype(depth)
    assert cv2.imwrite(str(path), image)


def write_pair(rgb: Path, thermal: Path, *, seed: int = 0, depth: type[np.unsignedinteger[Any]] = np.uint8) -> None:
    write_image(rgb, seed=2 * seed)
    write_image(thermal, channels=1, seed=2 * seed + 1, depth=depth)


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_voc(path: Path, objects: Sequence[tuple[str, tuple[float, float, float, float]]]) -> None:
    items = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
        "</bndbox></object>"
        for name, (x1, y1, x2, y2) in objects
    )
    write_lines(path, [f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>{items}</annotation>"])


def write_paired_yolo(
    root: Path, splits: Mapping[str, Sequence[str]], labels: Sequence[str] = ("0 0.5 0.5 0.5 0.5",)
) -> Path:
    """Write a paired-YOLO folder whose pairs all have the same ``labels``."""
    for number, stem in enumerate(sorted({stem for stems in splits.values() for stem in stems})):
        write_pair(root / "rgb" / f"{stem}.jpg", root / "thermal" / f"{stem}.png", seed=number)
        write_lines(root / "labels" / f"{stem}.txt", labels)
    for split, stems in splits.items():
        write_lines(root / f"{split}.txt", stems)
    return root
