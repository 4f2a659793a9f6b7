# SPDX-License-Identifier: Apache-2.0
"""The mode of a result is named by what was present."""

from __future__ import annotations

import copy
import pickle

import pytest

from fusion_mamba_ros.perception.mode import Mode, modalities_in, modalities_of, mode_of, modes_of

THREE = ("rgb", "thermal", "depth")


@pytest.mark.parametrize(
    ("present", "modalities", "name"),
    [
        (["thermal", "rgb"], ("rgb", "thermal"), "fused"),
        (["rgb"], ("rgb", "thermal"), "rgb_only"),
        (["thermal"], ("thermal",), "thermal_only"),
        (["thermal", "rgb"], ("thermal",), "thermal_only"),
        (["depth"], THREE, "depth_only"),
        (["depth", "rgb"], THREE, "rgb+depth"),
        (["depth", "thermal", "rgb"], THREE, "fused"),
    ],
)
def test_mode_is_named_by_what_was_present(present: list[str], modalities: tuple[str, ...], name: str) -> None:
    assert mode_of(present, modalities) is Mode(name)


def test_nothing_that_the_model_can_use_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one of rgb, thermal"):
        mode_of(["depth"], ("rgb", "thermal"))


@pytest.mark.parametrize("modalities", [("rgb",), ("rgb", "thermal"), THREE, (*THREE, "radar")])
def test_modes_are_all_subsets_once_and_lead_back_to_their_modalities(modalities: tuple[str, ...]) -> None:
    modes = modes_of(modalities)
    assert len(set(modes)) == len(modes) == 2 ** len(modalities) - 1
    for mode in modes:
        assert mode_of(modalities_of(mode, modalities), modalities) is mode
    assert modes[0] is (Mode.FUSED if len(modalities) > 1 else Mode.RGB_ONLY)
    assert modalities_in(modes) == modalities


def test_a_new_mode_is_one_object_and_leaves_the_three_of_an_rgb_thermal_model_alone() -> None:
    mode = Mode("rgb+depth")
    assert Mode("rgb+depth") is mode and mode.value == "rgb+depth"
    assert pickle.loads(pickle.dumps(mode)) is copy.deepcopy(mode) is mode
    assert list(Mode) == [Mode.FUSED, Mode.RGB_ONLY, Mode.THERMAL_ONLY]


@pytest.mark.parametrize("name", ["none", "", "rgb+", "rgb+rgb", "_only", "rgb thermal", "rgb-depth_only"])
def test_what_is_no_mode_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not a valid Mode"):
        Mode(name)
