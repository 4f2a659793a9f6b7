# SPDX-License-Identifier: Apache-2.0
"""The training and validation pairs of a run; a resumed run gets the same pairs as before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusion_mamba_ros.datasets import PairedDataset, open_dataset
from fusion_mamba_ros.datasets.hold_out import hold_out
from fusion_mamba_ros.datasets.unknown_classes import count_unknown_boxes
from fusion_mamba_ros.training.recipe import TrainingError
from fusion_mamba_ros.training.source_summary import source_counts
from fusion_mamba_ros.training.training_state import TrainingState, fingerprint

_CLASSES_SHOWN = 5


@dataclass(frozen=True)
class SplitChoice:
    """The splits to use; None stands for the splits of the resumed run, or for `train` and `val` in a new run.

    ``val_fraction``: share of the training split that is held out for validation.
    """

    train: str | None = None
    val: str | None = None
    val_fraction: float | None = None


@dataclass(frozen=True)
class TrainingData:
    """Training and validation pairs of a run.

    ``splits``: names of the splits, by `train` and `val`.
    ``val_fraction``: share of the training split that is held out for validation; 0: none.
    """

    training: PairedDataset
    validating: PairedDataset
    splits: dict[str, str]
    val_fraction: float

    @property
    def fingerprint(self) -> str:
        """Text that changes when the validation pairs or the classes change."""
        return fingerprint(self.validating.names, self.validating.class_names)

    def warnings(self) -> list[str]:
        """Return one sentence for each reason why the validation figures are too optimistic or boxes are not used."""
        found = []
        shared = len(set(self.training.names) & set(self.validating.names))
        if shared:
            found.append(
                f"{shared} of the {len(self.validating)} validation pairs are trained on as well: "
                "their figures do not say how well the model does on other images"
            )
        if self.splits["val"] == "test":
            found.append(
                "the run is validated on its test split: the best epoch is chosen on the images that a result would be "
                "reported on; --val-fraction 0.1 validates on training pairs held out instead"
            )
        for split, dataset in (("train", self.training), ("val", self.validating)):
            unknown = count_unknown_boxes(dataset)
            if unknown:
                names = ", ".join(f"{name} {count}" for name, count in list(unknown.items())[:_CLASSES_SHOWN])
                more = ", ..." if len(unknown) > _CLASSES_SHOWN else ""
                found.append(
                    f"{sum(unknown.values())} boxes of split {self.splits[split]} are left out, their classes are not "
                    f"in the list ({names}{more}): add them to 'classes', or map them with 'rename'"
                )
        return found

    def provenance(self) -> dict[str, Any]:
        """Return the splits and their numbers of pairs, for the metadata of the checkpoint."""
        held_out = {"held_out_fraction": self.val_fraction} if self.val_fraction else {}
        sources = source_counts(self.training)
        joined = {"sources": sources} if len(sources) > 1 else {}
        return {
            "train": {"split": self.splits["train"], "pairs": len(self.training), **joined},
            "val": {"split": self.splits["val"], "pairs": len(self.validating), **held_out},
        }


def open_training_data(path: Path, choice: SplitChoice, state: TrainingState | None) -> TrainingData:
    """Return the data of a run.

    Raises ``DatasetError`` if the dataset cannot be opened. Raises `TrainingError` if the choices contradict each
    other, or if a resumed run would get other validation pairs than before.
    """
    fraction = _fraction(choice, state)
    splits = _splits(choice, state, fraction)
    training = open_dataset(path, splits["train"])
    if fraction:
        training, validating = hold_out(training, fraction)
    else:
        validating = open_dataset(path, splits["val"], classes=training.class_names)
    data = TrainingData(training, validating, splits, fraction)
    if state is not None and state.validation not in ("", data.fingerprint):
        raise TrainingError(
            f"the run was validated on {state.validation}, the data now are {data.fingerprint}: give the same data"
        )
    return data


def _fraction(choice: SplitChoice, state: TrainingState | None) -> float:
    if choice.val_fraction is not None and choice.val is not None:
        raise TrainingError("--val-fraction holds training pairs out to validate on: leave out --val-split")
    if state is None:
        return choice.val_fraction or 0.0
    if choice.val_fraction is not None and choice.val_fraction != state.val_fraction:
        started = f"with --val-fraction {state.val_fraction:g}" if state.val_fraction else "without --val-fraction"
        raise TrainingError(f"the run was started {started}: leave out --val-fraction {choice.val_fraction:g}")
    return state.val_fraction


def _splits(choice: SplitChoice, state: TrainingState | None, fraction: float) -> dict[str, str]:
    before = state.splits if state is not None else {}
    splits = {}
    for name, asked in (("train", choice.train), ("val", choice.val)):
        splits[name] = asked or before.get(name, name)
        if name in before and splits[name] != before[name]:
            raise TrainingError(
                f"the run was started with --{name}-split {before[name]}: leave out --{name}-split {asked}"
            )
    return {**splits, "val": splits["train"]} if fraction else splits
