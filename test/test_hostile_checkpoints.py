# SPDX-License-Identifier: Apache-2.0
"""Hostile checkpoints, and weights of others."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import hostile_files as hostile
import pytest
from hostile_inputs import LONG_NAME, Inputs, assert_refused, predict


def predict_with(changes: dict[str, Any] | None = None, text: str | None = None) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("predict", "--rgb", inputs.image(), "--out", inputs.out),
        *("--checkpoint", inputs.checkpoint(changes, text)),
    ]


def imported(
    pickled: bytes, storages: dict[str, bytes] | None = None, **options: Any
) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("import-weights", hostile.torch_file(inputs.folder / "yolo.pt", pickled, storages, **options)),
        *("--out", inputs.folder / "start.safetensors"),
    ]


MODULE = b"cultralytics.nn.tasks\nDetectionModel\n)\x81"
ENDLESS_MODULE = b"\x80\x02" + MODULE + b"q\x00}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x000h\x00ssb."
HUGE_NAMES = "[" + ", ".join(f'"c{n}"' for n in range(20_000)) + "]"


CASES: dict[str, Callable[[Inputs], list[object]]] = {
    # Checkpoints
    "dssf count of a billion": predict_with(hostile.with_fusion_mamba(dssf_count=10**9)),
    "dssf count at the limit without the tensors": predict_with(hostile.with_fusion_mamba(dssf_count=64)),
    "dssf count is a text": predict_with(hostile.with_fusion_mamba(dssf_count="8")),
    "a billion classes": predict_with(hostile.with_model(classes=10**9)),
    "a billion states": predict_with(hostile.with_fusion_mamba(state_size=10**9)),
    "a billion bins": predict_with(hostile.with_model(reg_max=10**9)),
    "a billion channels": predict_with(hostile.with_model(modalities={"rgb": 10**9})),
    "a billion fusion channels": predict_with(hostile.with_fusion_mamba(max_channels=4 * 10**9)),
    "model is a list": predict_with({"model": [1]}),
    "levels are a mapping": predict_with(hostile.with_model(levels={"3": 1})),
    "backbone is a list": predict_with(hostile.with_model(backbone=["yolov8"])),
    "unknown model field with line ends": predict_with(hostile.with_model(**{"a\nerror: forged\x1b[31m": 1})),
    "input size is infinite": predict_with({"input_size": [float("inf"), 64]}),
    "input size is no number": predict_with({"input_size": [float("nan"), 64]}),
    "input size of a million": predict_with({"input_size": [10**6 * 32, 10**6 * 32]}),
    "input size of one side": predict_with({"input_size": [96]}),
    "input size is a number": predict_with({"input_size": 96}),
    "input size of texts": predict_with({"input_size": ["96", "64"]}),
    "class names are a text": predict_with({"class_names": "ab"}),
    "class names with control characters": predict_with({"class_names": ["car", "a\x1b[31m\nb"]}),
    "a class name of a million characters": predict_with({"class_names": ["car", "c" * 1_000_000]}),
    "20000 class names": predict_with(text=json.dumps(hostile.METADATA).replace('["person", "car"]', HUGE_NAMES)),
    "homography is infinite": predict_with({"homography": [[1e999, 0, 0], [0, 1, 0], [0, 0, 1]]}),
    "homography of lists": predict_with({"homography": [[[1], 0, 0], [0, 1, 0], [0, 0, 1]]}),
    "homography is singular": predict_with({"homography": [[0, 0, 0], [0, 0, 0], [0, 0, 0]]}),
    "thermal scaling is a list": predict_with({"thermal": [1]}),
    "thermal range is no number": predict_with({"thermal": {"range_min": float("nan")}}),
    "thermal method is a list": predict_with({"thermal": {"method": ["range"]}}),
    "metrics are a list": predict_with({"metrics": [1]}),
    "modes of the metrics are a list": predict_with({"metrics": {"modes": [1]}}),
    "training is a number": predict_with({"training": 1}),
    "format is a mapping": predict_with({"format": {"a": "b" * 10_000}}),
    "metadata nested 100000 deep": predict_with(text=hostile.nested(100_000)),
    "metadata nested 900 deep": predict_with(text='{"format": 1, "training": ' + hostile.nested(900) + "}"),
    "metadata of 5 MB": predict_with({"training": {"note": "x" * 5_000_000}}),
    "metadata with a number of 5000 digits": predict_with(text='{"format": ' + "9" * 5000 + "}"),
    "metadata is a number": predict_with(text="1"),
    "metadata is no JSON": predict_with(text="{"),
    "checkpoint header longer than the file": lambda inputs: [
        *predict()(inputs),
        *("--checkpoint", inputs.text("c.safetensors", b"\xff" * 7 + b"\x7f" + b"{}")),
    ],
    "checkpoint is a folder": lambda inputs: [*predict()(inputs), "--checkpoint", inputs.folder],
    "checkpoint name of 10 kB": predict("--checkpoint", LONG_NAME),
    # Weights of others
    "pickle that asks for 3 GB": imported(
        b"\x80\x02" + hostile.call("builtins", "bytearray", b"J\x00\x00\x00\x7f\x85") + b"."
    ),
    "pickle with a memo of 4 billion": imported(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "pickle with an array of 3 GB": imported(b"\x80\x05\x96\x00\x00\x00\xc0\x00\x00\x00\x00."),
    "pickle with a text of 3 GB": imported(b"\x80\x04\x8d\x00\x00\x00\xc0\x00\x00\x00\x00."),
    "pickle of tuples nested a million deep": imported(b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"Ns."),
    "pickle that ends early": imported(b"\x80\x02}q\x00("),
    "pickle of nothing": imported(b""),
    "pickle that runs code": imported(b"cos\nsystem\n(S'true'\ntR."),
    "pickle of a number": imported(b"\x80\x02K\x01."),
    "module that contains itself": imported(ENDLESS_MODULE),
    "zip bomb": imported(b"\x80\x02" + b"N0" * 2_000_000 + b"N.", squeezed=True),
    "tensor that is larger than its storage": imported(hostile.rebuilt_tensor((10**9,), (0,)), {"0": bytes(16)}),
    "tensor of a negative size": imported(hostile.rebuilt_tensor((-5,), (1,)), {"0": bytes(16)}),
    "tensor of 10^18 elements": imported(hostile.rebuilt_tensor((10**9, 10**9), (10**9, 1)), {"0": bytes(16)}),
    "weights that are no zip": lambda inputs: [
        "import-weights",
        inputs.text("y.pt", b"PK\x03\x04junk"),
        "--out",
        inputs.folder / "s.safetensors",
    ],
    "weights that are a folder": lambda inputs: ["import-weights", inputs.folder, "--out", inputs.folder / "s"],
    "weights of 10 kB": lambda inputs: ["import-weights", LONG_NAME, "--out", inputs.folder / "s"],
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
def test_hostile_input_ends_in_one_sentence_and_an_exit_code(case: str, inputs: Inputs) -> None:
    assert_refused(CASES[case](inputs))
