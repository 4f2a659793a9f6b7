# SPDX-License-Identifier: Apache-2.0
"""Thresholds of a predictor change while it runs."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from bright_rectangle import METADATA, filled_image, rgb_image, stand_in

from fusion_mamba_ros.perception.predictor import Predictor


@pytest.fixture
def predictor() -> Predictor:
    return Predictor.from_model(stand_in(), METADATA, device="cpu")


def test_thresholds_and_class_filter_change_while_running(predictor: Predictor) -> None:
    box = (100, 100, 200, 200)
    pair = {"rgb": rgb_image(box=box), "thermal": filled_image(640, 480, (300, 300, 400, 400))}
    assert len(predictor.predict(pair)) == 2
    predictor.change(classes=("car",))
    assert predictor.predict(pair).labels.tolist() == [1]
    predictor.change(classes=None, score_threshold=0.95)
    assert len(predictor.predict(pair)) == 0
    predictor.change(score_threshold=0.5, max_detections=1)
    assert len(predictor.predict(pair)) == 1


@pytest.mark.parametrize(
    "values,message",
    [
        ({"score_threshold": 1.5}, "score_threshold is 1.5"),
        ({"nms_threshold": -0.1}, "nms_threshold is -0.1"),
        ({"max_detections": 0}, "max_detections is 0"),
        ({"classes": ("dog",)}, "unknown class dog: the checkpoint knows person, car"),
        ({"score_threshold": float("nan")}, "score_threshold is nan"),
    ],
)
def test_refused_threshold_changes_nothing(predictor: Predictor, values: dict[str, Any], message: str) -> None:
    before = predictor.thresholds
    with pytest.raises(ValueError, match=message):
        predictor.change(**values)
    assert predictor.thresholds == before


def test_thresholds_may_change_in_another_thread_during_prediction(predictor: Predictor) -> None:
    pair = {"rgb": rgb_image(box=(100, 100, 200, 200)), "thermal": filled_image(640, 480, (300, 300, 400, 400))}
    predictor.change(classes=("car",), score_threshold=0.5)
    stop = threading.Event()

    def flip() -> None:
        while not stop.wait(0.0002):
            predictor.change(classes=("person",), score_threshold=0.95)
            predictor.change(classes=("car",), score_threshold=0.5)

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        results = [predictor.predict(pair).labels.tolist() for _ in range(100)]
    finally:
        stop.set()
        thread.join()
    # A mixture of the two settings would let a person through.
    assert all(labels in ([], [1]) for labels in results)
