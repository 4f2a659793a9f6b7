# SPDX-License-Identifier: Apache-2.0
"""The mode of a result: the modalities it was computed from. Only this module determines modes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum
from itertools import combinations

_ONLY = "_only"


class Mode(str, Enum):
    """Name of the modalities that a result was computed from.

    `fused` means all modalities of the model, two or more. `NAME_only` means one of them. The mode of any other subset
    joins its names by plus, in the order of the model, for example ``Mode("rgb+depth")``. Equal names give the same
    object, as usual for an enumeration. Iterating over ``Mode`` gives the three modes of an RGB-thermal model.
    """

    FUSED = "fused"
    RGB_ONLY = "rgb_only"
    THERMAL_ONLY = "thermal_only"

    @classmethod
    def _missing_(cls, value: object) -> Mode | None:
        if not isinstance(value, str) or not _is_mode_name(value):
            return None
        mode = str.__new__(cls, value)
        mode._name_ = value.upper()
        mode._value_ = value
        # Use setdefault so that two threads that request the same new name get the same object.
        return cls._value2member_map_.setdefault(value, mode)  # type: ignore[return-value]


def mode_of(present: Collection[str], modalities: Sequence[str]) -> Mode:
    """Return the mode of a result that a model with ``modalities`` computes from the images ``present``.

    Raises ``ValueError`` if the model can use none of the images.
    """
    used = [name for name in modalities if name in present]
    if not used:
        raise ValueError(f"no image for the model: it needs at least one of {', '.join(modalities)}")
    if len(used) == 1:
        return Mode(f"{used[0]}{_ONLY}")
    return Mode.FUSED if len(used) == len(modalities) else Mode("+".join(used))


def modes_of(modalities: Sequence[str]) -> tuple[Mode, ...]:
    """Return all modes of a model with ``modalities``.

    The order is: `fused`, each modality alone, the other subsets.
    """
    sizes = dict.fromkeys((len(modalities), *range(1, len(modalities))))
    return tuple(mode_of(names, modalities) for size in sizes for names in combinations(modalities, size))


def modalities_of(mode: Mode, modalities: Sequence[str]) -> tuple[str, ...]:
    """Return those of a model's ``modalities`` that a result in ``mode`` was computed from, in the model's order.

    Raises ``ValueError`` if the mode names a modality that the model does not have.
    """
    if mode is Mode.FUSED:
        return tuple(modalities)
    named = _names(mode)
    unknown = [name for name in named if name not in modalities]
    if unknown:
        raise ValueError(f"mode {mode.value} needs {', '.join(unknown)}: the model has {', '.join(modalities)}")
    return tuple(name for name in modalities if name in named)


def modalities_in(modes: Sequence[Mode]) -> tuple[str, ...]:
    """Return the modalities that ``modes`` name, in order of first mention.

    If ``modes`` holds only `fused`, or nothing, return RGB and thermal.
    """
    named = dict.fromkeys(name for mode in modes if mode is not Mode.FUSED for name in _names(mode))
    return tuple(named) or _names(Mode.RGB_ONLY) + _names(Mode.THERMAL_ONLY)


def _names(mode: Mode) -> tuple[str, ...]:
    """Return the modalities in the name of a mode other than `fused`."""
    return tuple(mode.value.removesuffix(_ONLY).split("+"))


def _is_mode_name(value: str) -> bool:
    names = value.split("+")
    if len(names) == 1:
        return value.endswith(_ONLY) and value.removesuffix(_ONLY).isidentifier()
    return len(set(names)) == len(names) and all(name.isidentifier() for name in names)
