# SPDX-License-Identifier: Apache-2.0
"""Find the checkpoint that the package ships."""

from __future__ import annotations

from pathlib import Path

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointError
from fusion_mamba_ros.perception.engine_loading import AUTO, choose_engine, why_unavailable

NAME = "fusion_mamba_nano.safetensors"
EXPORTED_NAME = "fusion_mamba_nano.onnx"
_PACKAGE = Path(__file__).absolute().parents[1]


def default_checkpoint(package: Path = _PACKAGE, *, engine: str = AUTO) -> Path:
    """Return the checkpoint that is used if none is named. Raises `CheckpointError` if it is absent.

    If PyTorch is not installed, return the exported model of the same weights, provided that its engine is installed.
    If ``engine`` names one that runs the exported model, return that model.

    ``package`` is the folder of the Python package. In the source tree the weights are beside it, in ``weights/``.
    After an installation by colcon or pip they are in ``share/fusion_mamba_ros/weights`` of the installation prefix.
    """
    shared = (prefix / "share" / package.name / "weights" for prefix in package.parents)
    for folder in (package.parent / "weights", *shared):
        shipped = [path for path in (folder / NAME, folder / EXPORTED_NAME) if path.is_file()]
        if shipped:
            kinds = {path: choose_engine(path) for path in shipped}
            named = [path for path in shipped if kinds[path].name == engine]
            usable = [path for path in shipped if why_unavailable(kinds[path]) is None]
            return (named or usable or shipped)[0]
    raise CheckpointError(
        f"no checkpoint is named, and this copy of {package.name} came without weights/{NAME}: name one"
    )
