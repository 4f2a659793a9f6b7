# SPDX-License-Identifier: Apache-2.0
"""Datasets of images of several modalities (RGB-thermal pairs), and their augmentation. No ROS."""

from .augmentation import Augmentation
from .augmentation_config import AugmentationConfig
from .open_dataset import open_dataset
from .paired_dataset import PairedDataset
from .prepared_dataset import PreparedDataset
from .problems import DatasetError, Problem, ProblemKind, UnreadableImageError
from .sample import PairedSample, Sample

__all__ = [
    "Augmentation",
    "AugmentationConfig",
    "DatasetError",
    "PairedDataset",
    "PairedSample",
    "PreparedDataset",
    "Problem",
    "ProblemKind",
    "Sample",
    "UnreadableImageError",
    "open_dataset",
]
