# SPDX-License-Identifier: Apache-2.0
"""The parameters of each camera pair: `PAIR.NAME`, with the value of `NAME` as the default."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fusion_mamba_ros.ros.detector.parameter_spec import ParameterError, ParameterSpec, is_unset
from fusion_mamba_ros.ros.detector.parameter_table import SPECS
from fusion_mamba_ros.ros.detector.parameters import DetectorParameters
from fusion_mamba_ros.streams.message_text import quoted

PAIRS = "pairs"
MOST_PAIRS = 16
# Parameters of the model and of the process, which a pair cannot have of its own.
_SHARED = {"checkpoint", "engine", "device", "precision", "threads", PAIRS}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")


def pair_names_of(values: Sequence[Any]) -> tuple[str, ...]:
    """Return the checked names of camera pairs. Raises :class:`ParameterError`."""
    # [""] also means none: not every ROS tool can express an empty list.
    names = tuple(name for name in values if name != "")
    taken = {spec.name.partition(".")[0] for spec in SPECS}
    for name in names:
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise ParameterError(
                f"parameter {PAIRS} has the name {quoted(str(name))}: expected letters, digits and _, a letter first"
            )
        if name in taken:
            raise ParameterError(
                f"parameter {PAIRS} has the name {name}, which is a parameter of the node: rename the pair"
            )
    if len(set(names)) < len(names):
        raise ParameterError(f"parameter {PAIRS} is {list(names)}: expected each name once")
    if len(names) > MOST_PAIRS:
        raise ParameterError(f"parameter {PAIRS} has {len(names)} names: expected at most {MOST_PAIRS}")
    return names


def pair_specs(pair: str) -> tuple[ParameterSpec, ...]:
    """Return the specifications of the parameters that ``pair`` may have of its own, in the order of the table."""
    return tuple(
        replace(spec, name=f"{pair}.{spec.name}", description=f"{spec.description} Unset: as {spec.name}.")
        for spec in SPECS
        if spec.name not in _SHARED
    )


def parameters_of_pair(pair: str, values: Mapping[str, Any]) -> DetectorParameters:
    """Return the parameters of ``pair`` from ROS names and values. Raises :class:`ParameterError`."""
    own = dict(values)
    for spec in pair_specs(pair):
        if not is_unset(value := values.get(spec.name)):
            own[spec.name.removeprefix(f"{pair}.")] = spec.value_of(value)
    try:
        return DetectorParameters.from_values(own)
    except ParameterError as error:
        raise ParameterError(f"camera pair {pair}: {error}") from error
