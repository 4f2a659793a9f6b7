# SPDX-License-Identifier: Apache-2.0
"""Hostile recipes and training runs."""

from __future__ import annotations

from collections.abc import Callable

import hostile_files as hostile
import pytest
from hostile_inputs import LONG_NAME, Inputs, assert_refused


def train(*arguments: object, recipe: str | bytes | None = None) -> Callable[[Inputs], list[object]]:
    def build(inputs: Inputs) -> list[object]:
        config = "nano" if recipe is None else inputs.text("recipe.yaml", recipe)
        return ["train", "--data", inputs.dataset(), "--out", inputs.out, "--config", config, *arguments]

    return build


CASES: dict[str, Callable[[Inputs], list[object]]] = {
    "recipe nested 5000 deep": train(recipe=hostile.nested(5000)),
    "recipe of aliases": train(recipe=hostile.alias_bomb()),
    "recipe is a list": train(recipe="[1]"),
    "recipe with a date as field": train(recipe="2001-01-01: 5"),
    "recipe with a model that is a list": train(recipe="model: [1]"),
    "recipe with an augmentation that is a number": train(recipe="augmentation: 5"),
    "recipe with a canvas of a million": train(recipe="input_size: [32000000, 32000000]"),
    "recipe with a billion modules": train("--set", "model.fusion_mamba.dssf_count=1000000000"),
    "recipe with an infinite rate": train("--set", "learning_rate=.inf"),
    "recipe with a field in a field": train("--set", "epochs.a=1"),
    "setting nested 5000 deep": train("--set", "epochs=" + hostile.nested(5000)),
    "setting without a value": train("--set", "epochs"),
    "recipe name of 10 kB": lambda inputs: [
        "train",
        "--data",
        inputs.dataset(),
        "--out",
        inputs.out,
        "--config",
        LONG_NAME,
    ],
    "training to 10 kB": lambda inputs: ["train", "--data", inputs.dataset(), "--out", LONG_NAME, "--config", "nano"],
    "training from a hostile checkpoint": lambda inputs: [
        *train("--weights", inputs.checkpoint(hostile.with_fusion_mamba(dssf_count=10**9)))(inputs)
    ],
    "training goes on from a text": lambda inputs: [
        *("train", "--resume", "--data", inputs.dataset(), "--out", inputs.text("out/state.pt", "x").parent)
    ],
    "training goes on from a hostile pickle": lambda inputs: [
        *("train", "--resume", "--data", inputs.dataset()),
        *("--out", inputs.text("out/state.pt", b"\x80\x02Nr\xff\xff\xff\x7f.").parent),
    ],
}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
def test_hostile_input_ends_in_one_sentence_and_an_exit_code(case: str, inputs: Inputs) -> None:
    assert_refused(CASES[case](inputs))
