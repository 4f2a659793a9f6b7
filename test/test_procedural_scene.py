# SPDX-License-Identifier: Apache-2.0
"""Procedural scenes: reproducibility, sizes, boxes and the two cameras."""

from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest

from fusion_mamba_ros.synthetic.procedural_scene import CLASS_NAMES, ProceduralScene
from fusion_mamba_ros.synthetic.street.camera import StreetCamera, in_world
from fusion_mamba_ros.synthetic.street.canvas import (
    CELSIUS_PER_STEP,
    COLDEST_CELSIUS,
    Canvas,
)
from fusion_mamba_ros.synthetic.street.traffic import drive


def same(a: Any, b: Any) -> bool:
    return (
        np.array_equal(a.boxes, b.boxes)
        and np.array_equal(a.labels, b.labels)
        and a.images.keys() == b.images.keys()
        and all(np.array_equal(image, b.images[name]) for name, image in a.images.items())
    )


@pytest.mark.parametrize("night", [True, False])
def test_same_seed_and_frame_give_the_same_pair_in_any_order(night: bool) -> None:
    first, second = ProceduralScene(3, night=night), ProceduralScene(3, night=night)
    forwards = [first.render(i) for i in (0, 7, 40)]
    backwards = [second.render(i) for i in (40, 7, 0)][::-1]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert not same(forwards[0], ProceduralScene(4, night=night).render(0))


def test_sizes_and_types_are_those_asked_for() -> None:
    sample = ProceduralScene(1, rgb_size=(640, 480), thermal_size=(320, 256)).render(5)
    assert sample.images["rgb"].shape == (480, 640, 3) and sample.images["rgb"].dtype == np.uint8
    assert sample.images["thermal"].shape == (256, 320) and sample.images["thermal"].dtype == np.uint8
    assert sample.group == "night" and sample.name == "night_1_000005"


def test_radiometric_thermal_reads_as_kelvin() -> None:
    scene = ProceduralScene(2, thermal_size=(320, 256), radiometric=True)
    celsius = scene.render(0).images["thermal"].astype(float) / 100 - 273.15
    assert scene.render(0).images["thermal"].dtype == np.uint16
    ground = celsius[-40:].mean()
    assert abs(ground - scene.climate.road) < 5
    assert celsius.max() < 75 and celsius.min() > -40


@pytest.mark.parametrize("seed", range(6))
def test_boxes_lie_inside_the_image_and_carry_known_labels(seed: int) -> None:
    scene = ProceduralScene(seed, night=seed % 2 == 0)
    for frame in range(0, 400, 57):
        sample = scene.render(frame)
        x0, y0, x1, y1 = sample.boxes.T
        assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= 640).all() and (y1 <= 480).all()
        assert (x1 - x0 >= 5).all() and (y1 - y0 >= 10).all()
        assert set(sample.labels) <= set(range(len(CLASS_NAMES)))


def test_a_box_is_where_the_images_change_when_its_object_is_removed() -> None:
    scene = ProceduralScene(11, thermal_size=(640, 480))
    scene._thermal_sensor.shift = np.zeros(2)
    checked = 0
    for frame in (0, 60, 120):
        full = scene.render(frame)
        actors = scene.actors
        for index in range(len(actors)):
            scene.actors = [actor for k, actor in enumerate(actors) if k != index]
            patterns, scene._patterns = (
                scene._patterns,
                [p for k, p in enumerate(scene._patterns) if k != index],
            )
            without = scene.render(frame)
            scene.actors, scene._patterns = actors, patterns
            gone = [i for i, box in enumerate(full.boxes) if not (without.boxes == box).all(axis=1).any()]
            if len(gone) != 1:
                continue
            changed = (full.images["rgb"] != without.images["rgb"]).any(axis=2) | (
                full.images["thermal"] != without.images["thermal"]
            )
            columns = np.nonzero(changed)[1]
            x0, y0, x1, y1 = full.boxes[gone[0]]
            lamps_or_blur_px = 60 if (scene.actors[index].label != 0) else 6
            assert columns.min() >= x0 - lamps_or_blur_px and columns.max() <= x1 + lamps_or_blur_px
            assert changed[int(y0) : int(y1), int(x0) : int(x1)].any()
            checked += 1
    assert checked >= 3


def test_people_at_night_stand_out_in_thermal_more_than_in_rgb() -> None:
    contrast: dict[str, list[float]] = {"rgb": [], "thermal": []}
    for seed in range(6):
        sample = ProceduralScene(seed, thermal_size=(640, 480)).render(30)
        grey = cv2.cvtColor(sample.images["rgb"], cv2.COLOR_RGB2GRAY)
        for box, label in zip(sample.boxes.astype(int), sample.labels, strict=True):
            x0, y0, x1, y1 = box
            if CLASS_NAMES[label] != "person" or y1 - y0 < 40 or x0 < 20 or x1 > 620:
                continue
            middle = np.s_[
                (3 * y0 + y1) // 4 : (y0 + y1) // 2,
                (2 * x0 + x1) // 3 : (x0 + 2 * x1) // 3,
            ]
            beside = np.s_[(3 * y0 + y1) // 4 : (y0 + y1) // 2, x0 - 15 : x0 - 3]
            contrast["rgb"].append(abs(float(grey[middle].mean()) - float(grey[beside].mean())))
            contrast["thermal"].append(
                abs(float(sample.images["thermal"][middle].mean()) - float(sample.images["thermal"][beside].mean()))
            )
    assert len(contrast["rgb"]) >= 5
    assert np.median(contrast["thermal"]) > 3 * np.median(contrast["rgb"])


def test_some_objects_move() -> None:
    scene = ProceduralScene(5)
    assert not np.array_equal(scene.render(0).boxes, scene.render(30).boxes)


def test_a_frame_rate_of_zero_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="frames_per_second is 0"):
        ProceduralScene(0, frames_per_second=0)


def test_camera_sees_a_metre_as_focal_length_over_depth() -> None:
    camera = StreetCamera(focal_px=500, height=1.5, side=0.5, horizon_px=200)
    pixels = camera.project(np.array([[0.5, 0.0, 10.0], [1.5, 1.0, 10.0]]))
    np.testing.assert_allclose(pixels, [[320, 200 + 500 * 1.5 / 10], [320 + 50, 200 + 500 * 0.5 / 10]])


def test_heading_turns_forward_and_left() -> None:
    away = in_world(np.array([[2.0, 1.0, 0.5]]), x=10, z=20, heading=np.pi / 2)
    np.testing.assert_allclose(away, [[9.0, 0.5, 22.0]])


def test_canvas_keeps_temperature_and_coverage_beside_colour() -> None:
    canvas = Canvas(np.array([[10.0, 20.0], [30.0, 40.0]]), ((1, 2, 3), 0.0))
    canvas.polygon(
        np.array([[10.0, 20.0], [30.0, 20.0], [30.0, 40.0], [10.0, 40.0]]),
        (200, 100, 50),
        30.0,
    )
    sprite = canvas.sprite()
    middle = sprite.surface[30 - sprite.top, 20 - sprite.left]
    assert tuple(middle[:3]) == (200, 100, 50)
    assert middle[3] * CELSIUS_PER_STEP + COLDEST_CELSIUS == pytest.approx(30.0, abs=CELSIUS_PER_STEP)
    assert sprite.coverage[30 - sprite.top, 20 - sprite.left] == 255 and sprite.coverage[0, 0] == 0


def test_an_object_keeps_its_identity_until_it_enters_the_street_anew() -> None:
    scene = ProceduralScene(3, frames_per_second=2.0, rgb_size=(320, 240), thermal_size=(160, 128))
    frames = [scene.render(number) for number in range(6)]
    labels: dict[int, int] = {}
    for frame in frames:
        assert len(set(frame.identities.tolist())) == len(frame.identities) == len(frame.boxes)
        for identity, label in zip(frame.identities.tolist(), frame.labels.tolist(), strict=True):
            assert labels.setdefault(identity, label) == label
    assert set(frames[0].identities) & set(frames[-1].identities)
    place = drive(0.0, 10.0, 0.0, towards=True)
    passages = [place(seconds).passage for seconds in range(20)]
    depths = [place(seconds).z for seconds in range(20)]
    # It comes nearer within a passage, and jumps back to the far end where the next one begins.
    assert [b - a for a, b in pairwise(passages)] == [int(b > a) for a, b in pairwise(depths)]
    assert passages[-1] == 2
