# SPDX-License-Identifier: Apache-2.0
"""The contract of a fusion operator."""

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
    """Settings of one way to fuse, and how to build it.

    A subclass is a frozen dataclass. Its fields are the operator's own settings: the section of the operator's name in
    a model configuration. ``__post_init__`` checks them and raises ``ValueError``, one sentence.
    """

    @abc.abstractmethod
    def build(self, channels: int, modalities: int, stride: int) -> nn.Module:
        """Return the module for the pyramid level of ``stride``.

        The module takes as many maps (B, ``channels``, H, W) as there are ``modalities`` (at least 2). It returns the
        tuple of the maps with which the streams go on, and the fused map (B, ``channels``, H, W) for the neck.
        """

    @classmethod
    def from_dict(cls: type[_Operator], name: str, values: Any) -> _Operator:
        """Return the settings of the section ``name``; fields that are absent keep their default."""
        if not isinstance(values, Mapping):
            raise ValueError(f"{name} is {values!r}: write the section as a mapping of fields")
        known = [entry.name for entry in dataclasses.fields(cls)]
        for field in values:
            if field not in known:
                remedy = f"use {', '.join(known)}" if known else "leave it out, the operator has no settings"
                raise ValueError(f"the section {name} has no field {field!r}: {remedy}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return plain scalars, as JSON and YAML hold them."""
        return {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
