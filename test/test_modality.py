# SPDX-License-Identifier: Apache-2.0
"""The registry of modalities, and the sample that it describes."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_mamba_ros.datasets import PairedSample, Sample
from fusion_mamba_ros.perception.modality import Modality, linear_levels, modality_named, register_modality
from fusion_mamba_ros.perception.registration import homographies_from
from fusion_mamba_ros.perception.thermal_scaling import ThermalScaling

SCALING = ThermalScaling()
RGB, THERMAL = np.zeros((4, 6, 3), np.uint8), np.ones((2, 3), np.uint16)


@pytest.mark.parametrize("name", ["rgb thermal", "", "fused", "depth_only"])
def test_a_name_that_modes_could_not_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="modality name is"):
        Modality(name, to_levels=linear_levels("depth", 0, 1))


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="'rgb' is registered already"):
        register_modality(Modality("rgb", to_levels=linear_levels("rgb", 0, 1)))
    with pytest.raises(ValueError, match="'sonar' is not known: use rgb, thermal"):
        modality_named("sonar")


def test_linear_levels_span_the_range_and_leave_eight_bits_alone() -> None:
    to_levels = linear_levels("depth", 1000, 5000)
    counts = np.array([[0, 1000, 3000, 5000, 65535]], np.uint16)
    assert to_levels(counts, SCALING).tolist() == [[0, 0, 128, 255, 255]]
    assert to_levels(np.array([[np.nan, 2000]], np.float32), SCALING).tolist() == [[255, 64]]
    levels = np.array([[1, 2]], np.uint8)
    assert to_levels(levels, SCALING) is levels
    with pytest.raises(ValueError, match=r"depth image has shape \(2, 2, 3\)"):
        to_levels(np.zeros((2, 2, 3), np.uint8), SCALING)


def test_a_rule_that_returns_no_levels_is_refused_by_name() -> None:
    broken = Modality("depth", to_levels=lambda image, scaling: image)
    with pytest.raises(ValueError, match="to_levels of modality depth returned uint16"):
        broken.levels(np.zeros((2, 2), np.uint16), SCALING)


def test_reference_takes_no_homography() -> None:
    with pytest.raises(ValueError, match="a homography is given for rgb"):
        homographies_from({"rgb": np.eye(3)})
    assert list(homographies_from(np.eye(3).ravel().tolist())) == ["thermal"]


def test_sample_keeps_the_order_of_the_registry_and_knows_its_reference() -> None:
    sample = Sample("a", {"thermal": THERMAL, "rgb": RGB})
    assert list(sample.images) == ["rgb", "thermal"] and sample.reference == "rgb" and sample.size == (6, 4)
    lone = Sample("a", {"thermal": THERMAL})
    assert lone.reference == "thermal" and lone.size == (3, 2)
    with pytest.raises(ValueError, match="'a' has no image"):
        Sample("a", {})


def test_names_of_the_earlier_release_still_work() -> None:
    with pytest.warns(DeprecationWarning, match="PairedSample is deprecated"):
        sample = PairedSample("a", RGB, THERMAL, homography=np.eye(3))
    assert isinstance(sample, Sample)
    with pytest.warns(DeprecationWarning, match=r"Sample\.rgb is deprecated"):
        assert sample.rgb is RGB
    with pytest.warns(DeprecationWarning, match=r"Sample\.thermal is deprecated"):
        assert sample.thermal is THERMAL
    with pytest.warns(DeprecationWarning, match=r"Sample\.homography is deprecated"):
        assert sample.homography is sample.homographies["thermal"]
