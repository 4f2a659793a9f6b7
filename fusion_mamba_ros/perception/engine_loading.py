# SPDX-License-Identifier: Apache-2.0
"""Choose and load the engine for a checkpoint or an exported model."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointMetadata, StoredDocument
from fusion_mamba_ros.perception.engine import Engine, EngineOptions

TORCH = "torch"
"""Name of the engine that runs `.safetensors` checkpoints."""
AUTO = "auto"
"""Choose the engine by the suffix of the file."""

LoadedEngine = tuple[Engine, CheckpointMetadata]
LoadEngine = Callable[[Path, EngineOptions], LoadedEngine]


class EngineError(ValueError):
    """Raised if an engine is unknown, is not installed or cannot run a file. The message is one sentence."""


@dataclass(frozen=True)
class EngineKind:
    """An entry of the engine registry.

    * ``name``: value of the parameter `engine` and of the option `--engine`.
    * ``module``: module with a function ``load_engine(path, options)`` that returns the engine and the metadata of the
      file. It is imported only when the engine is used, and may raise ``ImportError`` then.
    * ``metadata_module``: module with a function ``read_document(path)`` that returns the `StoredDocument` of a file.
      It works although ``packages`` are missing.
    * ``suffixes``: suffixes of the files that the engine runs.
    * ``title``: name in messages.
    * ``packages``: packages that ``module`` imports, by import name.
    * ``remedy``: what to do if one of the packages is missing.
    """

    name: str
    module: str
    metadata_module: str
    suffixes: tuple[str, ...]
    title: str
    packages: tuple[str, ...]
    remedy: str


_engines: dict[str, EngineKind] = {}


def register_engine(kind: EngineKind) -> EngineKind:
    """Add ``kind`` to the registry and return it.

    The first registered engine of a suffix is the one that `auto` chooses. Raises ``ValueError`` if the name is taken.
    """
    if kind.name == AUTO or kind.name in _engines:
        raise ValueError(f"engine {kind.name!r} is registered already: choose another name")
    _engines[kind.name] = kind
    return kind


def unregister_engine(name: str) -> None:
    """Remove an engine from the registry. Unknown names are ignored."""
    _engines.pop(name, None)


def known_engines() -> tuple[EngineKind, ...]:
    """Return all registered engines in order of registration."""
    return tuple(_engines.values())


def engine_names() -> tuple[str, ...]:
    """Return the values of the parameter `engine`: `auto`, then the registered names."""
    return (AUTO, *_engines)


def choose_engine(path: str | os.PathLike[str], name: str = AUTO) -> EngineKind:
    """Return the engine ``name`` for the file ``path``. `auto` chooses by the suffix of the file.

    A file of unknown suffix is taken for a `.safetensors` checkpoint. Raises `EngineError` if the engine is unknown or
    does not run such files.
    """
    suffix = Path(path).suffix.lower()
    owners = [kind for kind in _engines.values() if suffix in kind.suffixes] or [_engines[TORCH]]
    if name == AUTO:
        return owners[0]
    if name not in _engines:
        raise EngineError(f"engine '{name}' is unknown: expected one of {', '.join(engine_names())}")
    kind = _engines[name]
    if kind not in owners:
        raise EngineError(
            f"engine '{name}' runs {' and '.join(kind.suffixes)} files, not '{path}': "
            "name such a file, or use engine 'auto'"
        )
    return kind


def load_engine(path: str | os.PathLike[str], name: str = AUTO, options: EngineOptions | None = None) -> LoadedEngine:
    """Load a checkpoint or an exported model. Return its engine and its metadata.

    Raises `EngineError` if the engine is unknown, not installed or unfit for the file, `CheckpointError` if the file
    is unusable, and ``ValueError`` if the device or precision is not available. Each message is one sentence.
    """
    kind = choose_engine(path, name)
    try:
        load: LoadEngine = importlib.import_module(kind.module).load_engine
    except ImportError as error:
        reason = why_unavailable(kind) or f"cannot be imported ({error})"
        raise EngineError(f"'{path}' needs {kind.title}, which {reason}: {kind.remedy}") from error
    return load(Path(path), options or EngineOptions())


def read_model_document(path: str | os.PathLike[str]) -> StoredDocument:
    """Return the metadata of a checkpoint or of an exported model, without its engine.

    Raises `CheckpointError` if the file is unusable.
    """
    kind = choose_engine(path)
    read: Callable[[Path], StoredDocument] = importlib.import_module(kind.metadata_module).read_document
    return read(Path(path))


def why_unavailable(kind: EngineKind) -> str | None:
    """Return why an engine cannot be used, as the end of a sentence, or None if its packages are installed."""
    missing = [name for name in kind.packages if not _is_installed(name)]
    return f"is not installed (no {' and no '.join(missing)})" if missing else None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


register_engine(
    EngineKind(
        TORCH,
        module="fusion_mamba_ros.perception.torch_engine",
        metadata_module="fusion_mamba_ros.perception.checkpoint_metadata",
        suffixes=(".safetensors",),
        title="PyTorch",
        packages=("torch",),
        remedy="install it with 'pip install torch', or name an exported model (.onnx)",
    )
)
register_engine(
    EngineKind(
        "onnxruntime",
        module="fusion_mamba_ros.deployment.onnxruntime_engine",
        metadata_module="fusion_mamba_ros.deployment.onnx_metadata",
        suffixes=(".onnx",),
        title="ONNX Runtime",
        packages=("onnxruntime",),
        remedy="install it with 'pip install onnxruntime', or name a .safetensors checkpoint",
    )
)
