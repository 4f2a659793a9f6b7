# SPDX-License-Identifier: Apache-2.0
"""Find the checkpoint that the package ships."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointError

NAME = "fusion_mamba_nano.safetensors"
_PACKAGE = Path(__file__).absolute().parents[1]


def default_checkpoint(package: Path = _PACKAGE) -> Path:
    """Return the checkpoint that is used if none is named. Raises `CheckpointError` if it is absent.

    ``package`` is the folder of the Python package. In the source tree the weights are beside it, in ``weights/``.
    After an installation by colcon or pip they are in ``share/fusion_mamba_ros/weights`` of the installation prefix.
    """
    shared = (prefix / "share" / package.name / "weights" for prefix in package.parents)
    for folder in (package.parent / "weights", *shared):
        if (folder / NAME).is_file():
            return folder / NAME
    raise CheckpointError(
        f"no checkpoint is named, and this copy of {package.name} came without weights/{NAME}: name one"
    )
