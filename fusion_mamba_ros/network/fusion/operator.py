# SPDX-License-Identifier: Apache-2.0
"""The interface of a fusion operator."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

_Operator = TypeVar("_Operator", bound="FusionOperator")


@dataclass(frozen=True)
class FusionOperator(abc.ABC):
    """Settings of a fusion operator, with a method that builds its module.

    A subclass is a frozen dataclass. Its fields are the settings in the section with the operator's name in a model
    configuration. ``__post_init__`` checks them and raises ``ValueError`` with a one-sentence message.
    """

    @abc.abstractmethod
    def build(self, channels: int, modalities: int, stride: int) -> nn.Module:
        """Return the module for the pyramid level of ``stride``.

        The module takes one map (B, ``channels``, H, W) for each of the ``modalities`` (at least 2). It returns a tuple
        with the maps for the next backbone sections, and the fused map (B, ``channels``, H, W) for the neck.
        """

    @classmethod
    def from_dict(cls: type[_Operator], name: str, values: Any) -> _Operator:
        """Return the settings in the section ``name``; absent fields keep their default."""
        if not isinstance(values, Mapping):
            raise ValueError(f"{name} is {values!r}: write the section as a mapping of fields")
        known = [entry.name for entry in dataclasses.fields(cls)]
        for field in values:
            if field not in known:
                remedy = f"use {', '.join(known)}" if known else "leave it out, the operator has no settings"
                raise ValueError(f"the section {name} has no field {field!r}: {remedy}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain scalars for JSON and YAML."""
        return {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
