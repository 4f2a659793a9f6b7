# SPDX-License-Identifier: Apache-2.0
"""Names of the earlier release in ``streams`` still work, with a warning."""

from __future__ import annotations

import importlib
from dataclasses import replace

import pytest

from fusion_mamba_ros.streams import frames, message_decoding, pairing
from fusion_mamba_ros.streams.frames import Camera, Frame
from fusion_mamba_ros.streams.frozen_image import FrozenImage


@pytest.mark.parametrize("module", [frames, pairing])
def test_side_is_the_old_name_of_camera(module: object) -> None:
    with pytest.warns(DeprecationWarning, match="Side is deprecated: use Camera"):
        assert module.Side is Camera  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="has no attribute 'Sides'"):
        module.Sides  # type: ignore[attr-defined]  # noqa: B018


def test_a_frame_takes_and_gives_side_as_the_old_name_of_camera() -> None:
    with pytest.warns(DeprecationWarning, match=r"Frame\(side=\.\.\.\) is deprecated: use camera"):
        frame = Frame(side=Camera.THERMAL, stamp_ns=1, arrival_ns=2)  # type: ignore[call-arg]
    assert frame.camera is Camera.THERMAL
    with pytest.warns(DeprecationWarning, match=r"Frame\.side is deprecated: use Frame\.camera"):
        assert frame.side is Camera.THERMAL  # type: ignore[attr-defined]
    with pytest.warns(DeprecationWarning, match="use camera"):
        assert replace(frame, side=Camera.RGB).camera is Camera.RGB  # type: ignore[call-arg]


def test_picture_of_is_the_old_name_of_image_of() -> None:
    with pytest.warns(DeprecationWarning, match="picture_of is deprecated: use image_of"):
        assert message_decoding.picture_of is message_decoding.image_of


def test_the_old_module_of_the_frozen_image_gives_the_same_class() -> None:
    with pytest.warns(DeprecationWarning, match="import FrozenImage from"):
        former = importlib.import_module("fusion_mamba_ros.streams.frozen_picture")
    assert former.FrozenPicture is FrozenImage
