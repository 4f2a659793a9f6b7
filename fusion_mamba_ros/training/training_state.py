# SPDX-License-Identifier: Apache-2.0
"""State of a training run: one file from which an interrupted run resumes exactly, replaced atomically."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from fusion_mamba_ros.perception.atomic_write import write_atomically
from fusion_mamba_ros.perception.checkpoint_format import with_current_names
from fusion_mamba_ros.training.recipe import TrainingError

FORMAT_VERSION = 1


@dataclass
class TrainingState:
    """State of a run between two optimizer steps.

    ``recipe``: the recipe as a plain mapping.
    ``data``, ``validation``: fingerprints of the training and the validation pairs.
    ``splits``: names of the splits, by `train` and `val`.
    ``val_fraction``: share of the training split that is held out for validation; 0: none.
    ``weights``: name of the file with the start weights; empty: random start.
    ``epoch``, ``batch``: number of complete epochs, and of complete batches in the current epoch.
    ``sums``: sums of the losses of the current epoch so far.
    ``history``: one row per complete epoch, preceded by a row of the start weights (epoch 0) if there are any.
    ``best_epoch``: epoch with the best fitness, counted from 0; -1: the start weights.
    ``epoch_seconds``: time that the current epoch has taken so far.
    ``scaler``: state of the loss scaler (fp16).

    Older files lack ``validation``, ``splits``, ``val_fraction`` and ``weights``. The order of the pairs, the
    augmentation and the learning rate follow from the seed and the position in the run, so they need no state.
    """

    recipe: dict[str, Any]
    data: str
    validation: str = ""
    splits: dict[str, str] = field(default_factory=dict)
    val_fraction: float = 0.0
    weights: str = ""
    epoch: int = 0
    batch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    best_fitness: float = float("-inf")
    average_updates: int = 0
    epoch_seconds: float = 0.0
    model: Mapping[str, Any] = field(default_factory=dict)
    average: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Mapping[str, Any] = field(default_factory=dict)
    scaler: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the state to ``path``.

        Raises `TrainingError` if the file cannot be written, for example on a full disk. The earlier file then stays.
        """
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        buffer = io.BytesIO()
        torch.save({"format": FORMAT_VERSION, **values}, buffer)
        try:
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            remedy = (
                "the earlier state is unchanged, free disk space and continue with --resume"
                if path.exists()
                else "free disk space and start again"
            )
            raise TrainingError(f"training state '{path}' could not be written ({error.strerror}): {remedy}") from error

    @classmethod
    def load(cls, path: Path) -> TrainingState:
        """Return the state in ``path``, without running code from the file.

        Raises `TrainingError` if the file is missing, damaged or of another format version.
        """
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
            version = values.pop("format")
            if version != FORMAT_VERSION:
                raise TrainingError(
                    f"training state '{path}' has format {version}: this version reads {FORMAT_VERSION}"
                )
            # States carry no version of the names: old ones are recognised.
            values |= {name: with_current_names(values[name], version=2) for name in ("model", "average")}
            known = {entry.name for entry in fields(cls)}
            # An older file also holds `seconds`, the time of all epochs so far, which is ignored.
            return cls(**{name: value for name, value in values.items() if name in known})
        except FileNotFoundError as error:
            raise TrainingError(
                f"there is no run to resume, '{path}' does not exist: start without --resume"
            ) from error
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
            raise TrainingError(f"training state '{path}' is damaged: start again in another folder") from error


def fingerprint(names: Sequence[str], class_names: Sequence[str], ratios: Mapping[str, float] | None = None) -> str:
    """Return a short text that changes when the pairs, the classes or the ratios of the sources of a dataset change."""
    digest = hashlib.sha256("\n".join((*class_names, "", *names)).encode()).hexdigest()[:16]
    shares = "".join(f", {name} with ratio {ratio:g}" for name, ratio in (ratios or {}).items())
    return f"{len(names)} pairs {digest}{shares}"
