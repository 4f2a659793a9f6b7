# SPDX-License-Identifier: Apache-2.0
"""Hostile detections and metrics: eval, compare, publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hostile_files as hostile
import numpy as np
import pytest
from hostile_inputs import LONG_NAME, Inputs, assert_refused


def compared(**changes: Any) -> Callable[[Inputs], list[object]]:
    def build(inputs: Inputs) -> list[object]:
        path = hostile.results(inputs.folder / "detections.npz", **changes)
        return ["compare", path, path]

    return build


def published(metrics: str | bytes) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("publish", inputs.good, "--metrics", inputs.text("metrics.json", metrics)),
        *("--out", inputs.folder / "p.safetensors"),
    ]


CASES: dict[str, Callable[[Inputs], list[object]]] = {
    "eval of nothing usable": lambda inputs: [
        *("eval", "--checkpoint", inputs.good, "--data", inputs.dataset(("nonsense",)), "--out", inputs.out)
    ],
    "eval to 10 kB": lambda inputs: [
        *("eval", "--checkpoint", inputs.good, "--data", inputs.dataset(), "--out", LONG_NAME)
    ],
    "eval in an unknown mode": lambda inputs: [
        *("eval", "--checkpoint", inputs.good, "--data", inputs.dataset(), "--out", inputs.out, "--mode", "\x1b[31m")
    ],
    "detections that claim a terabyte": lambda inputs: [
        "compare",
        *[hostile.npz_of_huge_array(inputs.folder / "d.npz")] * 2,
    ],
    "detections are a text": lambda inputs: ["compare", *[inputs.text("d.npz", "x")] * 2],
    "detections are an array": lambda inputs: ["compare", *[inputs.text("d.npz", b"\x93NUMPY\x01\x00\x76\x00")] * 2],
    "detections without boxes": compared(boxes=None),
    "detections of texts": compared(boxes=np.array([["a"] * 4])),
    "detections that are no numbers": compared(boxes=np.full((1, 4), np.nan, np.float32)),
    "detections of negative counts": compared(counts=np.array([-1])),
    "detections of an unknown class": compared(labels=np.array([7])),
    "true boxes of an unknown class": compared(truth_labels=np.array([-3])),
    "detections of an unknown mode": compared(mode=np.array("x")),
    "detections of no image": compared(
        **{
            name: np.zeros((0, 4) if "boxes" in name else 0, int) for name in ("truth_counts", "truth_labels", "counts")
        },
        names=np.array([], str),
        groups=np.array([], str),
        truth_boxes=np.zeros((0, 4), np.float32),
        boxes=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        labels=np.zeros(0, int),
    ),
    "compare with a negative seed": lambda inputs: [*compared()(inputs), "--seed", "-1"],
    "compare of names of 10 kB": lambda inputs: ["compare", LONG_NAME, LONG_NAME],
    "metrics nested 100000 deep": published(hostile.nested(100_000)),
    "published metrics are a list": published("[]"),
    "metrics with modes that are a number": published('{"modes": 5}'),
    "metrics without numbers": published('{"modes": {"fused": {"mAP50": NaN}}}'),
    "metrics are no text": published(b"\xff\xfe\x00"),
    "publish to 10 kB": lambda inputs: [*published('{"modes": {}}')(inputs), "--out", LONG_NAME],
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
def test_hostile_input_ends_in_one_sentence_and_an_exit_code(case: str, inputs: Inputs) -> None:
    assert_refused(CASES[case](inputs))
