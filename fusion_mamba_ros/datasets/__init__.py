# SPDX-License-Identifier: Apache-2.0
"""Read and augment multimodal image datasets (RGB-thermal pairs). Does not import ROS."""

from fusion_mamba_ros.datasets.augmentation import Augmentation
from fusion_mamba_ros.datasets.augmentation_config import AugmentationConfig
from fusion_mamba_ros.datasets.open_dataset import open_dataset
from fusion_mamba_ros.datasets.paired_dataset import PairedDataset
from fusion_mamba_ros.datasets.prepared_dataset import PreparedDataset
from fusion_mamba_ros.datasets.problems import DatasetError, Problem, ProblemKind, UnreadableImageError
from fusion_mamba_ros.datasets.sample import PairedSample, Sample

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
