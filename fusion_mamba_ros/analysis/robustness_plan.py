# SPDX-License-Identifier: Apache-2.0
"""Plan a robustness study: which factors at which levels, alone and in pairs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fusion_mamba_ros.analysis.degradations import FACTORS, Factor, factor_named, with_levels

_PAIR_LEVELS = 3


@dataclass(frozen=True)
class Condition:
    """Levels above 0 of one or two factors at once; without any, the clean images."""

    steps: tuple[tuple[Factor, float], ...] = ()

    @classmethod
    def of(cls, *steps: tuple[Factor, float]) -> Condition:
        """Return the condition without the steps of level 0, in the order of the registry."""
        kept = [(factor, float(level)) for factor, level in steps if level]
        order = list(FACTORS)
        return cls(tuple(sorted(kept, key=lambda step: order.index(step[0].name))))

    @property
    def name(self) -> str:
        """Name for files and tables, for example `clean` or `misalignment=10+darkness=2`."""
        return "+".join(f"{factor.name}={level:g}" for factor, level in self.steps) or "clean"


@dataclass(frozen=True)
class RobustnessPlan:
    """The ``factors`` of a study, each alone, and ``pairs`` of factors at once."""

    factors: tuple[Factor, ...]
    pairs: tuple[tuple[Factor, Factor], ...] = ()

    @classmethod
    def choose(
        cls, only: Sequence[str] = (), combine: Sequence[str] = (), levels: Sequence[str] = ()
    ) -> RobustnessPlan:
        """Return the plan of the command's options.

        ``only``: names of factors; empty for all. ``combine``: for example `darkness+misalignment`. ``levels``: for
        example `darkness=2,4`, in place of the factor's own. Raises ``ValueError`` with one sentence.
        """
        changed = dict(_levels_of(text) for text in levels)
        pairs = [_pair_of(text) for text in combine]
        names = list(dict.fromkeys(only)) or list(FACTORS)
        used = {*names, *(name for pair in pairs for name in pair)}
        unused = [name for name in changed if name not in used]
        if unused:
            raise ValueError(f"--levels names {', '.join(unused)}, which is not measured: leave it out")

        def factor(name: str) -> Factor:
            return changed.get(name) or factor_named(name)

        return cls(
            tuple(sorted((factor(name) for name in names), key=lambda item: list(FACTORS).index(item.name))),
            tuple((factor(first), factor(second)) for first, second in pairs),
        )

    def of_modalities(self, modalities: Collection[str]) -> RobustnessPlan:
        """Return the part of the plan whose factors change one of ``modalities``."""
        return RobustnessPlan(
            tuple(factor for factor in self.factors if factor.modality in modalities),
            tuple(pair for pair in self.pairs if all(factor.modality in modalities for factor in pair)),
        )

    @property
    def names(self) -> list[str]:
        """Names of the factors, then of the pairs as `first+second`."""
        return [
            *(factor.name for factor in self.factors),
            *(f"{first.name}+{second.name}" for first, second in self.pairs),
        ]

    def conditions(self) -> list[Condition]:
        """Return all conditions, each once, the clean one first."""
        found = [Condition.of()]
        found += [Condition.of((factor, level)) for factor in self.factors for level in factor.levels]
        for first, second in self.pairs:
            for row in pair_levels(first):
                found += [Condition.of((first, row), (second, column)) for column in pair_levels(second)]
        return list({condition.name: condition for condition in found}.values())


def pair_levels(factor: Factor) -> tuple[float, ...]:
    """Return 0 and up to three levels of the factor, the last one among them, for the grid of two factors."""
    count = len(factor.levels)
    kept = min(_PAIR_LEVELS, count)
    return (0.0, *(factor.levels[-(-count * step // kept) - 1] for step in range(1, kept + 1)))


def _levels_of(text: str) -> tuple[str, Factor]:
    name, _, values = text.partition("=")
    try:
        levels = [float(value) for value in values.split(",")]
    except ValueError as error:
        raise ValueError(f"--levels {text!r}: write FACTOR=LEVEL,LEVEL, for example darkness=2,4") from error
    factor = with_levels(factor_named(name), levels)
    if not factor.levels:
        raise ValueError(f"--levels {text!r}: give at least one level above 0")
    return name, factor


def _pair_of(text: str) -> tuple[str, str]:
    names = text.split("+")
    if len(names) != 2 or names[0] == names[1]:
        raise ValueError(f"--combine {text!r}: join two different factors by plus, for example darkness+misalignment")
    first, second = (factor_named(name).name for name in names)
    return first, second
