# SPDX-License-Identifier: Apache-2.0
"""The plan of an ablation: a base, variants of it, seeds and budgets, read from a YAML file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusion_mamba_ros.perception.documents import DocumentError, parse_yaml
from fusion_mamba_ros.training.recipe import RECIPES, Recipe, TrainingError

BUDGETS = ("epochs", "time")
_FIELDS = ("recipe", "set", "start", "epochs", "seeds", "budgets", "time_reference", "base", "variants", "factors")
_SETTINGS_OF_A_CELL = ("epochs", "seed", "validate_every", "patience", "sample_predictions")


@dataclass(frozen=True)
class StartSettings:
    """The training run, one for each seed, whose last weights start all cells of that seed."""

    epochs: int
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class GridPlan:
    """One training run for each variant, seed and budget.

    ``recipe``: name or path of the recipe. ``common``: recipe fields that all runs change. ``variants``: recipe fields
    that each variant changes, by its name; ``base`` is one of the names. ``start``: None if all cells of a seed start
    from the same random weights of the base.
    ``budgets``: `epochs` trains all variants for ``epochs``; `time` trains each variant for about the time that
    ``epochs`` of the variant ``time_reference`` take.
    Raises `TrainingError` with a one-sentence message if a value is invalid.
    """

    recipe: str
    epochs: int
    seeds: tuple[int, ...]
    variants: dict[str, dict[str, Any]]
    base: str
    common: dict[str, Any] = field(default_factory=dict)
    start: StartSettings | None = None
    budgets: tuple[str, ...] = ("epochs",)
    time_reference: str = ""

    def __post_init__(self) -> None:
        for number, name in ((self.epochs, "epochs"), (self.start.epochs if self.start else 1, "start.epochs")):
            if type(number) is not int or number < 1:
                raise TrainingError(f"{name} is {number!r}: give a whole number of at least 1")
        if not self.seeds or any(type(seed) is not int or seed < 0 for seed in self.seeds):
            raise TrainingError(f"seeds is {list(self.seeds)}: list whole numbers of at least 0")
        if len(set(self.seeds)) < len(self.seeds):
            raise TrainingError(f"seeds is {list(self.seeds)}: list each seed once")
        if not self.budgets or set(self.budgets) - set(BUDGETS):
            raise TrainingError(f"budgets is {list(self.budgets)}: list any of {', '.join(BUDGETS)}")
        if "time" in self.budgets and self.time_reference not in self.variants:
            raise TrainingError(
                f"time_reference is {self.time_reference!r}: name the variant whose training "
                f"time is the budget of all variants, one of {', '.join(self.variants)}"
            )
        folders = [folder_name(name) for name in self.variants]
        if len(set(folders)) < len(folders):
            raise TrainingError("two variants would have the same folder: give names that differ in letters or digits")
        for changes in (self.common, *self.variants.values(), self.start.changes if self.start else {}):
            fixed = [name for name in _SETTINGS_OF_A_CELL if name in changes]
            if fixed:
                raise TrainingError(f"the plan sets {fixed[0]} in a recipe: leave it out, the plan decides it")

    @classmethod
    def read(cls, path: Path) -> GridPlan:
        """Return the plan in a YAML file.

        Raises `TrainingError` if the file cannot be read, or if a recipe that follows from it is invalid.
        """
        try:
            values = parse_yaml(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
            raise TrainingError(f"plan '{path}' cannot be read ({reason}): name a YAML file") from error
        except DocumentError as error:
            raise TrainingError(f"plan '{path}' cannot be used: {error}") from error
        try:
            plan = cls._from_values(values, path.parent)
            for name in plan.variants:
                plan.recipe_of(name, seed=0, epochs=1)
            plan.start_recipe(0)
        except ValueError as error:
            raise TrainingError(f"plan '{path}': {error}") from error
        return plan

    @classmethod
    def _from_values(cls, values: Any, folder: Path) -> GridPlan:
        if not isinstance(values, Mapping):
            raise TrainingError(f"it holds {values!r}: write it as a mapping of fields")
        _refuse_unknown("the plan", values, _FIELDS)
        base = _mapping("base", values.get("base"))
        _refuse_unknown("base", base, ("name", "set"))
        base_name, base_set = str(base.get("name", "base")), _mapping("base.set", base.get("set"))
        variants = {base_name: base_set}
        for name, changes in _mapping("variants", values.get("variants")).items():
            # YAML reads a name such as 8 as a number.
            if str(name) == base_name:
                raise TrainingError(f"variant '{name}' has the name of the base: choose another")
            if str(name) in variants:
                raise TrainingError(f"two variants have the name '{name}': choose another for one of them")
            variants[str(name)] = {**base_set, **_mapping(f"variants.{name}", changes)}
        for name, choices in _mapping("factors", values.get("factors")).items():
            if not isinstance(choices, list) or not choices:
                raise TrainingError(f"factors.{name} is {choices!r}: list the values to try")
            for choice in choices:
                variant = f"{str(name).rpartition('.')[2]}={_text(choice)}"
                if variant in variants:
                    raise TrainingError(f"factors.{name}: a variant {variant!r} exists already: leave one out")
                variants[variant] = {**base_set, name: choice}
        start = values.get("start")
        if start is not None:
            start = _mapping("start", start)
            _refuse_unknown("start", start, ("epochs", "set"))
            start = StartSettings(start.get("epochs", 0), _mapping("start.set", start.get("set")))
        recipe = str(values.get("recipe", "nano"))
        shipped = {file.stem for file in RECIPES.glob("*.yaml")}
        return cls(
            recipe if recipe in shipped else str(folder / recipe),
            values.get("epochs", 0),
            tuple(_list("seeds", values.get("seeds", [0]))),
            variants,
            base_name,
            _mapping("set", values.get("set")),
            start,
            tuple(_list("budgets", values.get("budgets", ["epochs"]))),
            str(values.get("time_reference", "")),
        )

    def recipe_of(self, variant: str, seed: int, epochs: int) -> Recipe:
        """Return the recipe of one cell: only its last weights are validated."""
        return self._recipe({**self.common, **self.variants[variant]}, seed, epochs)

    def start_recipe(self, seed: int) -> Recipe:
        """Return the recipe of the run that starts the cells of a seed; without ``start``, the recipe of the base."""
        if self.start is None:
            return self.recipe_of(self.base, seed, 1)
        return self._recipe({**self.common, **self.start.changes}, seed, self.start.epochs)

    def _recipe(self, changes: dict[str, Any], seed: int, epochs: int) -> Recipe:
        fixed = dict(zip(_SETTINGS_OF_A_CELL, (epochs, seed, epochs, 0, 0), strict=True))
        return Recipe.read(self.recipe, {**changes, **fixed})

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values for JSON."""
        return dataclasses.asdict(self)


def folder_name(variant: str) -> str:
    """Return a variant's name as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9._=+-]+", "_", variant)


def _text(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value).lower()


def _refuse_unknown(what: str, values: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    for name in values:
        if name not in known:
            raise TrainingError(f"{what} has no field {name!r}: use {', '.join(known)}")


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TrainingError(f"{name} is {value!r}: write it as a mapping")
    return dict(value)


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TrainingError(f"{name} is {value!r}: write it as a list")
    return value
