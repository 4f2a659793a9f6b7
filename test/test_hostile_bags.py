# SPDX-License-Identifier: Apache-2.0
"""Hostile bags, and hostile arguments of commands that read or write bags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hostile_files as hostile
import pytest
from hostile_inputs import LONG_NAME, Inputs, assert_refused

from fusion_mamba_ros.bags.bag_reading import Bag


def made(*arguments: object) -> Callable[[Inputs], list[object]]:
    return lambda inputs: [
        *("make-bag", "--scene", "night", "--seconds", "0.2", "--fps", "10", "--out", inputs.out, *arguments)
    ]


def registered(change: Callable[[dict[str, Any]], None] | str, *arguments: object) -> Callable[[Inputs], list[object]]:
    return lambda inputs: ["register", "--bag", inputs.bag(change), "--out", inputs.folder / "r.yaml", *arguments]


def _no_messages(information: dict[str, Any]) -> None:
    """Count messages on a topic that has none."""
    for entry in information["topics_with_message_count"]:
        if entry["topic_metadata"]["name"] == "/rgb/image_raw":
            entry["topic_metadata"]["name"] = "/gone"


def _count(number: Any) -> Callable[[dict[str, Any]], None]:
    def change(information: dict[str, Any]) -> None:
        information["message_count"] = number
        for entry in information["topics_with_message_count"]:
            entry["message_count"] = number

    return change


CASES: dict[str, Callable[[Inputs], list[object]]] = {
    "bag of topics without a message": registered(_no_messages),
    "bag that counts a billion messages": registered(_count(10**9), "--rgb-topic", "/nothing"),
    "bag that counts texts": registered(_count("x")),
    "bag of negative counts": registered(_count(-5)),
    "bag name of 10 kB": lambda inputs: ["register", "--bag", LONG_NAME],
    "bag offset of 1e300": registered(lambda information: None, "--thermal-offset", "1e300"),
    "bag offset is no number": registered(lambda information: None, "--thermal-offset", "nan"),
    "register of images without content": lambda inputs: [
        *("register", "--rgb", inputs.image(), "--thermal", inputs.text("t.png", hostile.png(64, 48))),
        *("--out", inputs.folder / "r.yaml"),
    ],
    "make-bag that starts at 1e300": made("--start", "1e300"),
    "make-bag that starts at 1e11": made("--start", "1e11"),
    "make-bag that starts at nan": made("--start", "nan"),
    "make-bag that starts before 1970": made("--start", "-1"),
    "make-bag at 1e-300 frames per second": made("--fps", "1e-300"),
    "make-bag at nan frames per second": made("--fps", "nan"),
    "make-bag with an offset of 1e300": made("--thermal-offset", "1e300"),
    "make-bag of infinite seconds": made("--seconds", "inf"),
    "make-bag with a negative seed": made("--seed", "-1"),
    "make-bag to 10 kB": made("--out", LONG_NAME),
    "make-bag of an empty folder": lambda inputs: [
        "make-bag",
        "--rgb",
        inputs.folder,
        "--thermal",
        inputs.folder,
        "--out",
        inputs.out,
    ],
    "make-bag of names of 10 kB": lambda inputs: [
        "make-bag",
        "--rgb",
        LONG_NAME,
        "--thermal",
        LONG_NAME,
        "--out",
        inputs.out,
    ],
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
def test_hostile_input_ends_in_one_sentence_and_an_exit_code(case: str, inputs: Inputs) -> None:
    assert_refused(CASES[case](inputs))


@pytest.mark.parametrize("metadata", [hostile.nested(5000), "[]", ""], ids=["nested 5000 deep", "a list", "nothing"])
def test_a_bag_with_useless_metadata_is_read_without_it(metadata: str, inputs: Inputs) -> None:
    with Bag(inputs.good_bag) as intact, Bag(inputs.bag(metadata)) as bag:
        assert bag.topics == intact.topics
        assert len(list(bag.messages())) == len(list(intact.messages()))
        assert any("is damaged" in warning.sentence for warning in bag.warnings)
