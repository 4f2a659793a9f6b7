# SPDX-License-Identifier: Apache-2.0
"""Parameters of several camera pairs: common values, own values, and how bad ones are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy")

from detector_graph import isolated_context
from parameter_node import Server
from rclpy.context import Context

from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError
from fusion_mamba_ros.ros.detector.unused_overrides import warn_of_unused_parameters


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    with isolated_context() as context:
        yield context


def test_a_camera_pair_has_the_common_values_unless_it_has_its_own(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "pairs.yaml"
    path.write_text(
        "/parameters: {ros__parameters: {pairs: [front, rear], score_threshold: 0.3, "
        "rear: {score_threshold: 0.6, rectify: off, "
        "registration: {homography: [1.0, 0.0, 0.1, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]}}}}"
    )
    server = Server(context, file=path, configured=True)
    front, rear = server.server.pairs["front"], server.server.pairs["rear"]
    assert front == server.server.current
    assert (front.score_threshold, rear.score_threshold) == (0.3, 0.6)
    assert (front.rectify, rear.rectify) == ("auto", "off")
    assert rear.registration_homography is not None and front.registration_homography is None
    assert server.set(score_threshold=0.4, rear__nms_threshold=0.7) == (True, "")
    front, rear = server.server.pairs["front"], server.server.pairs["rear"]
    assert (front.score_threshold, rear.score_threshold) == (0.4, 0.6)
    assert (front.nms_threshold, rear.nms_threshold) == (0.5, 0.7)
    assert len(server.changes) == 1
    server.node.destroy_node()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rear__score_threshold": 3.0}, "rear.score_threshold out of range"),
        ({"rear__thermal__range_min": 9e4}, "rear.thermal.range_min out of range"),
        ({"thermal__range_min": 200.0}, "camera pair rear: parameter thermal.range_min is 200"),
        ({"rear__image_transport": "compressed"}, "may change only while the node is unconfigured"),
        ({"rear__score_threshold": None}, "parameter rear.score_threshold cannot be unset"),
        ({"pairs": ["front"]}, "parameter pairs can be given only at the start of the node"),
    ],
)
def test_a_bad_value_of_a_camera_pair_is_refused_with_a_sentence(
    context: Context, change: dict[str, Any], words: str
) -> None:
    start = {"pairs": ["front", "rear"], "rear.thermal.range_max": 100.0}
    server = Server(context, start, configured="range_min" not in str(change))
    before = dict(server.server.pairs)
    accepted, reason = server.set(**change)
    assert not accepted and words in reason, reason
    assert server.server.pairs == before
    server.node.destroy_node()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["rgb"], "the name rgb, which is"),
        (["front", "front"], "expected each name once"),
        (["two words"], "'two words': expected letters"),
        (["1st"], "'1st': expected letters"),
        (["a__b"], "'a__b': expected letters"),
        ([f"p{i}" for i in range(17)], "17 names: expected at most 16"),
    ],
)
def test_bad_names_of_camera_pairs_are_refused_with_a_sentence(context: Context, names: list[str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        Server(context, {"pairs": names})


def test_a_bad_value_of_a_camera_pair_at_the_start_is_refused_with_a_sentence(context: Context) -> None:
    with pytest.raises(ParameterError, match=r"parameter rear\.score_threshold is 3\.0: expected 0 to 1"):
        Server(context, {"pairs": ["rear"], "rear.score_threshold": 3.0})
    with pytest.raises(ParameterError, match=r"parameter rear\.rectify is 'yes': expected one of auto, off"):
        Server(context, {"pairs": ["rear"], "rear.rectify": "yes"})


def test_an_empty_list_of_a_camera_pair_replaces_the_common_one(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "pairs.yaml"
    path.write_text(
        "/parameters: {ros__parameters: {pairs: [front, rear], classes: [person], "
        "registration: {homography: [1.0, 0.0, 0.1, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]}, "
        "rear: {classes: [], registration: {homography: []}}}}"
    )
    server = Server(context, file=path)
    front, rear = server.server.pairs["front"], server.server.pairs["rear"]
    assert (front.classes, rear.classes) == (("person",), ())
    assert front.registration_homography is not None and rear.registration_homography is None
    assert server.node.get_parameter("front.classes").value is None
    assert server.set(front__classes=["car"], rear__classes=["bus"]) == (True, "")
    assert [pair.classes for pair in server.server.pairs.values()] == [("car",), ("bus",)]
    server.node.destroy_node()


def test_a_parameter_that_a_camera_pair_cannot_have_is_named_with_its_remedy(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(context, {"pairs": ["front"], "front.threads": 2, "left.tiles": "2x2", "front.tracing": True})
    logger, warnings = server.node.get_logger(), list[str]()
    monkeypatch.setattr(logger, "warning", warnings.append)
    monkeypatch.setattr(server.node, "get_logger", lambda: logger)
    warn_of_unused_parameters(server.node, server.server.names)
    assert [text.rpartition(" has no effect: ")[2] for text in warnings] == [
        "all camera pairs share it, set threads",
        "did you mean front.tracking?",
        "no camera pair has the name left, add it to pairs",
    ]
    server.node.destroy_node()


def test_a_dump_of_a_node_with_camera_pairs_loads(context: Context, tmp_path: Path) -> None:
    first = Server(context, {"pairs": ["front"], "front.nms_threshold": 0.25})
    path = tmp_path / "dump.yaml"
    values = {"pairs": ["front"], "front": {"nms_threshold": 0.25, "score_threshold": None, "classes": None}}
    path.write_text(yaml.dump({"/parameters": {"ros__parameters": values}}))
    second = Server(context, file=path)
    assert second.server.pairs == first.server.pairs
    first.node.destroy_node()
    second.node.destroy_node()
