# SPDX-License-Identifier: Apache-2.0
"""Combinations of faults, drawn by a seed: which, when, how long, and how bad."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from fusion_mamba_ros.streams.frames import Camera

KINDS = (
    "camera dead",
    "camera frozen",
    "camera late",
    "camera corrupt",
    "inference slow",
    "inference hung",
    "inference raising",
    "inference NaN",
    "clock stopped",
    "clock jumping",
    "overload",
)
PAIRS = tuple(itertools.combinations(KINDS, 2))
HEALTHY_SEC = 5.0
CORRUPTIONS = ("cut short", "encoding", "zero stamp")


@dataclass(frozen=True)
class Fault:
    """One fault of a scenario, from ``start_sec`` to ``end_sec``.

    ``camera``: the camera that has it. ``amount``: seconds of delay, of an inference or of the jump, or the share of
    corrupt images. ``corruption``: what is wrong with those.
    """

    kind: str
    start_sec: float
    end_sec: float
    camera: Camera = Camera.THERMAL
    amount: float = 0.0
    corruption: str = ""


@dataclass(frozen=True)
class Scenario:
    """Faults that overlap in time, and the mode of the node while a camera is missing."""

    seed: int
    faults: tuple[Fault, ...] = field(default_factory=tuple)
    missing_modality: str = "continue"

    def has(self, kind: str) -> bool:
        """Return whether one of the faults is of this kind."""
        return any(fault.kind == kind for fault in self.faults)


def draw_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed: the first seeds are all pairs of kinds, later ones one to four kinds at random."""
    rng = np.random.default_rng(seed)
    if seed < len(PAIRS):
        kinds = list(PAIRS[seed])
    else:
        kinds = [str(kind) for kind in rng.choice(KINDS, int(rng.integers(1, 5)), replace=False)]
    faults = tuple(_draw_fault(kind, rng) for kind in kinds)
    if "camera dead" in kinds and rng.random() < 0.3:
        first = faults[kinds.index("camera dead")]
        faults += (Fault("camera dead", first.start_sec + 0.5, first.end_sec, first.camera.other),)
    return Scenario(seed, faults, "stop" if rng.random() < 0.2 else "continue")


def _draw_fault(kind: str, rng: np.random.Generator) -> Fault:
    start_sec = HEALTHY_SEC + float(rng.uniform(0, 2))
    end_sec = start_sec + float(rng.uniform(3.5, 7))
    camera = Camera.RGB if rng.random() < 0.5 else Camera.THERMAL
    amount = {
        "camera late": rng.uniform(0.1, 3),
        "camera corrupt": rng.choice([0.2, 1.0]),
        "inference slow": rng.uniform(0.3, 1.5),
        "inference hung": rng.uniform(4, 20),
        "clock jumping": rng.choice([-3600, -30, -2, 2, 30, 3600]),
        "overload": rng.uniform(0.3, 0.6),
    }.get(kind, 0.0)
    if kind == "camera frozen":
        camera = Camera.THERMAL  # Only thermal cameras have a shutter.
    return Fault(kind, start_sec, end_sec, camera, float(amount), str(rng.choice(CORRUPTIONS)))
