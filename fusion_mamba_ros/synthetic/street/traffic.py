# SPDX-License-Identifier: Apache-2.0
"""Actors of a street: people, bicycles and cars, with their positions over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fusion_mamba_ros.synthetic.street.backdrop import Backdrop
from fusion_mamba_ros.synthetic.street.bicycle import Bicycle
from fusion_mamba_ros.synthetic.street.camera import StreetCamera
from fusion_mamba_ros.synthetic.street.canvas import Sprite
from fusion_mamba_ros.synthetic.street.car import Car
from fusion_mamba_ros.synthetic.street.ground import HOUSE_SIDE, KERB_SIDE
from fusion_mamba_ros.synthetic.street.person import Person

PERSON, BICYCLE, CAR = 0, 1, 2
STRIDE_METRES = 1.45
NEAREST, FARTHEST = 3.2, 70.0


@dataclass(frozen=True)
class Place:
    """Position of an actor.

    ``x``, ``z`` are the ground point in metres, ``heading`` is in radians, ``gone`` is the distance covered so far in
    metres (nan for an actor that stands still). ``passage`` counts how often the actor has entered the street anew.
    """

    x: float
    z: float
    heading: float
    gone: float = float("nan")
    passage: int = 0


@dataclass(frozen=True)
class Actor:
    """One labelled object: its class, its position as a function of the time in seconds, and its draw function."""

    label: int
    place: Callable[[float], Place]
    draw: Callable[[StreetCamera, Place], Sprite]


def stroll(x0: float, z0: float, x1: float, z1: float, speed: float, start: float) -> Callable[[float], Place]:
    """Return a walk back and forth between two ground points at ``speed`` m/s, ``start`` metres along it at time 0."""
    length = float(np.hypot(x1 - x0, z1 - z0))
    heading = float(np.arctan2(z1 - z0, x1 - x0))

    def place(seconds: float) -> Place:
        gone = start + speed * seconds
        lap = gone % (2 * length)
        share = lap / length if lap < length else 2 - lap / length
        turn = 0.0 if lap < length else np.pi
        return Place(x0 + (x1 - x0) * share, z0 + (z1 - z0) * share, heading + turn, gone)

    return place


def drive(x: float, speed: float, start: float, *, towards: bool) -> Callable[[float], Place]:
    """Return a drive along the lane at ``x``; an actor that leaves the street enters it again at the other end.

    ``speed`` is in m/s and ``start`` in metres. ``towards`` means towards the camera.
    """

    def place(seconds: float) -> Place:
        gone = start + speed * seconds
        passage, lap = divmod(gone, FARTHEST + 12)
        z = FARTHEST - lap if towards else lap - 6
        return Place(x, z, -np.pi / 2 if towards else np.pi / 2, gone, int(passage))

    return place


def stand(x: float, z: float, heading: float) -> Callable[[float], Place]:
    """Return a position that does not change."""
    return lambda seconds: Place(x, z, heading)


def populate(street: Backdrop, rng: np.random.Generator) -> list[Actor]:
    """Return random actors for a street."""
    actors = [_pedestrian(street, rng) for _ in range(rng.integers(2, 8))]
    actors += [_moving_car(street, rng, lane) for lane in rng.permutation([-1.0, 1.0])[: rng.integers(0, 3)]]
    for side in (-1.0, 1.0):
        actors += _parked_cars(street, rng, side)
    for _ in range(int(rng.integers(0, 3))):
        actors += _cyclist(street, rng)
    if rng.random() < 0.5:
        actors.append(_parked_bicycle(street, rng))
    return actors


def _pedestrian(street: Backdrop, rng: np.random.Generator) -> Actor:
    person = Person.random(rng, street.climate.air)
    side = float(rng.choice([-1.0, 1.0]))
    kind = rng.random()
    speed = float(rng.uniform(0.8, 1.7))
    if kind < 0.25:
        z = float(rng.uniform(7, 22))
        edge = HOUSE_SIDE - 0.8
        place = stroll(
            -edge,
            z,
            edge,
            z + float(rng.normal(0, 1)),
            speed,
            float(rng.uniform(0, 30)),
        )
    elif kind < 0.8:
        x = side * float(rng.uniform(KERB_SIDE + 0.3, HOUSE_SIDE - 0.8))
        place = stroll(
            x,
            4.0,
            x + float(rng.normal(0, 0.4)),
            34.0,
            speed,
            float(rng.uniform(0, 60)),
        )
    else:
        x = side * float(rng.uniform(KERB_SIDE + 0.3, HOUSE_SIDE - 0.8))
        place = stand(x, float(rng.uniform(6, 25)), float(rng.uniform(0, 2 * np.pi)))

    def draw(camera: StreetCamera, at: Place) -> Sprite:
        return person.draw(camera, at.x, at.z, at.heading, 2 * np.pi * at.gone / STRIDE_METRES)

    return Actor(PERSON, place, draw)


def _car(
    street: Backdrop,
    rng: np.random.Generator,
    place: Callable[[float], Place],
    *,
    warm: bool,
    lamps: bool,
) -> Actor:
    ambient = street.climate.road - 0.4 if not warm else street.climate.air
    car = Car.random(rng, ambient, street.climate.sky, warm=warm, lamps=lamps, sun=street.climate.sun)
    return Actor(CAR, place, lambda camera, at: car.draw(camera, at.x, at.z, at.heading))


def _moving_car(street: Backdrop, rng: np.random.Generator, lane: float) -> Actor:
    speed, start = float(rng.uniform(5, 11)), float(rng.uniform(0, 80))
    lamps = street.climate.night or rng.random() < 0.3
    return _car(
        street,
        rng,
        drive(lane * 2.0, speed, start, towards=lane < 0),
        warm=True,
        lamps=bool(lamps),
    )


def _parked_cars(street: Backdrop, rng: np.random.Generator, side: float) -> list[Actor]:
    """Return cars along the kerb.

    At night a cold car is parked only near a lamp, because no camera would show it elsewhere.
    """
    actors = []
    heading = np.pi / 2 if side > 0 else -np.pi / 2
    for z in np.arange(rng.uniform(8, 18), 45, 5.8):
        if rng.random() < 0.62:
            continue
        near_lamp = any(abs(z - lamp_z) < 7 for _, lamp_z in street.lamps)
        warm = bool(rng.random() < 0.4) or (street.climate.night and not near_lamp)
        place = stand(side * (KERB_SIDE - 0.95), float(z), heading + float(rng.normal(0, 0.02)))
        actors.append(_car(street, rng, place, warm=warm, lamps=False))
    return actors


def _cyclist(street: Backdrop, rng: np.random.Generator) -> list[Actor]:
    person = Person.random(rng, street.climate.air)
    bicycle = Bicycle.random(
        rng,
        street.climate.air,
        ridden=True,
        lamp=street.climate.night and bool(rng.random() < 0.7),
    )
    side = float(rng.choice([-1.0, 1.0]))
    if rng.random() < 0.35:
        z, edge = float(rng.uniform(8, 18)), HOUSE_SIDE + 4
        place = stroll(-edge, z, edge, z, float(rng.uniform(3, 5)), float(rng.uniform(0, 40)))
    else:
        place = drive(
            side * 2.9,
            float(rng.uniform(3, 6)),
            float(rng.uniform(0, 80)),
            towards=side < 0,
        )

    def draw_rider(camera: StreetCamera, at: Place) -> Sprite:
        # Slightly nearer than the bicycle, so that the rider is painted over it.
        return person.draw(
            camera,
            at.x,
            at.z - 0.02,
            at.heading,
            -2 * np.pi * at.gone / 4.5,
            cycling=True,
        )

    return [
        Actor(
            BICYCLE,
            place,
            lambda camera, at: bicycle.draw(camera, at.x, at.z, at.heading),
        ),
        Actor(PERSON, place, draw_rider),
    ]


def _parked_bicycle(street: Backdrop, rng: np.random.Generator) -> Actor:
    bicycle = Bicycle.random(rng, street.climate.air, ridden=False, lamp=False)
    lamp_x, lamp_z = street.lamps[0]
    side = np.sign(lamp_x)
    place = stand(
        float(lamp_x + side * 0.9),
        float(lamp_z + rng.uniform(-2, 2)),
        float(rng.normal(0, 0.6)),
    )
    return Actor(BICYCLE, place, lambda camera, at: bicycle.draw(camera, at.x, at.z, at.heading))
