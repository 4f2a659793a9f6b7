# SPDX-License-Identifier: Apache-2.0
"""Hostile images, videos and arguments of `predict`."""

from __future__ import annotations

from collections.abc import Callable

import hostile_files as hostile
import pytest
from hostile_inputs import LONG_NAME, Inputs, assert_refused, predict


def predict_image(name: str, content: bytes) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("predict", "--rgb", inputs.text(name, content), "--checkpoint", inputs.good, "--out", inputs.out)
    ]


CASES: dict[str, Callable[[Inputs], list[object]]] = {
    # Images and videos
    "BMP of gigapixels": predict_image("x.png", hostile.bmp(30_000, 30_000)),
    "PNG that claims gigapixels": predict_image("x.png", hostile.png(60_000, 60_000, rows=1)),
    "PNG of 100 megapixels": predict_image("x.png", hostile.png(10_000, 10_000)),
    "16-bit PNG of 49 megapixels": predict_image("x.png", hostile.png(7_000, 7_000, bits=16, colour=6)),
    "PNG that lacks rows": predict_image("x.png", hostile.png(64, 64, rows=3)),
    "image is a text": predict_image("x.jpg", b"text"),
    "image name of 10 kB": lambda inputs: ["predict", "--rgb", LONG_NAME, "--checkpoint", inputs.good],
    "video is a text": predict_image("x.mp4", b"text"),
    "video whose name is not UTF-8": lambda inputs: [
        *("predict", "--rgb", hostile.text_file(hostile.not_utf8(inputs.folder, ".mp4"), b"text")),
        *("--checkpoint", inputs.good, "--out", inputs.out),
    ],
    # Arguments of predict
    "output name of 10 kB": predict("--out", LONG_NAME),
    "output in a file": lambda inputs: [*predict()(inputs), "--out", inputs.image("file.png") / "out"],
    "score threshold is no number": predict("--score-threshold", "nan"),
    "NMS threshold of 1e300": predict("--nms-threshold", "1e300"),
    "fewer than no detections": predict("--max-detections", "-1"),
    "a device that is not there": predict("--device", "cuda:99999999999999999999"),
    "an unknown device": predict("--device", "\x1b[31m"),
    "an unknown precision": predict("--precision", "fp1"),
    "an unknown class": predict("--classes", "\n"),
    "thermal range is infinite": predict("--thermal-scaling", "range", "--thermal-range", "inf", "nan"),
    "registration nested 100000 deep": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", hostile.nested(100_000, "{a: ", "}")))(inputs)
    ],
    "registration of aliases": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", hostile.alias_bomb()))(inputs)
    ],
    "registration that holds itself": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", "a: &a {b: *a}"))(inputs)
    ],
    "registration that is no text": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", b"\xff\xfe\x00"))(inputs)
    ],
    "registration of texts": lambda inputs: [
        *predict("--registration", inputs.text("r.yaml", "registration: {homography: [a, b]}"))(inputs)
    ],
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
def test_hostile_input_ends_in_one_sentence_and_an_exit_code(case: str, inputs: Inputs) -> None:
    assert_refused(CASES[case](inputs))
