# SPDX-License-Identifier: Apache-2.0
"""Paired RGB-thermal datasets and their augmentation. No ROS."""

from .augmentation import Augmentation
from .augmentation_config import AugmentationConfig
from .open_dataset import open_dataset
from .paired_dataset import PairedDataset
from .prepared_dataset import PreparedDataset
from .problems import DatasetError, Problem, ProblemKind, UnreadableImageError
from .sample import PairedSample

__all__ = [
    "Augmentation",
    "AugmentationConfig",
    "DatasetError",
    "PairedDataset",
    "PairedSample",
    "PreparedDataset",
    "Problem",
    "ProblemKind",
    "UnreadableImageError",
    "open_dataset",
]
