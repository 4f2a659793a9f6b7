# SPDX-License-Identifier: Apache-2.0
"""What a run needs to go on exactly where it stopped, in one file that is replaced whole or not at all."""

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
from fusion_mamba_ros.training.recipe import TrainingError

FORMAT_VERSION = 1


@dataclass
class TrainingState:
    """A run between two optimizer steps.

    ``batch`` batches of ``epoch`` are done; ``sums`` holds their losses so far; ``history`` one row for each epoch that
    is complete, and before them one of the start weights, epoch 0; ``best_epoch`` counts from 0, -1 is that of the
    start weights. ``data`` and ``validation`` are the fingerprints of the training and the validation pairs, ``splits``
    the names of their splits, for `train` and `val`, ``val_fraction`` the share of the training split that is validated
    on instead, ``weights`` the file that the run started from, if from any (older files lack these four). The order of
    pairs, the augmentation and the learning rate follow from seed and position and need no state. ``scaler`` is the
    loss scaler's, of fp16. ``epoch_seconds`` is the time that the epoch has taken so far.
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
        """Write the state; raises `TrainingError` with the earlier file untouched, for example on a full disk."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        buffer = io.BytesIO()
        torch.save({"format": FORMAT_VERSION, **values}, buffer)
        try:
            write_atomically(path, buffer.getvalue())
        except OSError as error:
            remedy = (
                "the one before it is untouched, make room and continue with --resume"
                if path.exists()
                else "make room and start again"
            )
            raise TrainingError(f"training state '{path}' could not be written ({error.strerror}): {remedy}") from error

    @classmethod
    def load(cls, path: Path) -> TrainingState:
        """Return the state in ``path``; runs no code from the file."""
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
            version = values.pop("format")
            if version != FORMAT_VERSION:
                raise TrainingError(
                    f"training state '{path}' has format {version}: this version reads {FORMAT_VERSION}"
                )
            known = {entry.name for entry in fields(cls)}
            # An older file holds `seconds`, of all epochs so far.
            return cls(**{name: value for name, value in values.items() if name in known})
        except FileNotFoundError as error:
            raise TrainingError(
                f"there is no run to resume, '{path}' does not exist: start without --resume"
            ) from error
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
            raise TrainingError(f"training state '{path}' is damaged: start again in another folder") from error


def fingerprint(names: Sequence[str], class_names: Sequence[str]) -> str:
    """Return a short text that changes with the pairs or the classes of a data set."""
    digest = hashlib.sha256("\n".join((*class_names, "", *names)).encode()).hexdigest()[:16]
    return f"{len(names)} pairs {digest}"
