# SPDX-License-Identifier: Apache-2.0
"""Read the tensors out of a torch file of foreign classes without importing or running any of its code."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Objects of these packages become inert shells that hold their attributes; any other name ends the reading.
_SHELLS = ("torch.nn.modules.", "ultralytics.", "models.", "utils.", "pathlib.", "numpy.", "datetime.")
_PLAIN = {name: getattr(__import__("builtins"), name) for name in ("set", "frozenset", "slice", "complex", "bytearray")}


class UnsafePickleError(ValueError):
    """A file that asks for code which no checkpoint needs; the message is one sentence."""


class Shell:
    """Stands for an object of a foreign class: keeps its attributes, does nothing."""

    def __new__(cls, *arguments: Any, **named: Any) -> Shell:
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.__dict__[str(key)] = value

    def append(self, value: Any) -> None:
        """Ignore an item of a foreign list."""

    def __hash__(self) -> int:
        return id(self)


def read_foreign_checkpoint(path: str | Path) -> Any:
    """Return what a file written by `torch.save` holds, objects of YOLO's and torch.nn's classes as `Shell`.

    Raises `UnsafePickleError` if the file names anything that is not needed for weights, ``ValueError`` if it is no
    such file. Nothing in the file is executed.
    """
    try:
        archive = zipfile.ZipFile(path)
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"'{path}' is no file of torch.save in its present (zip) form") from error
    with archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"'{path}' is no file of torch.save: it holds {len(pickles)} data.pkl, not one")
        folder = pickles[0].rpartition("/")[0]
        with archive.open(pickles[0]) as file:
            try:
                return _Unpickler(file, archive, folder, str(path)).load()
            except UnsafePickleError:
                raise
            except Exception as error:  # a damaged pickle can raise anything
                raise ValueError(f"'{path}' is damaged ({type(error).__name__}: {error})") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str, path: str):
        super().__init__(file)
        self._archive, self._folder, self._path = archive, folder, path
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("builtins", "__builtin__") and name in _PLAIN:
            return _PLAIN[name]
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return _rebuild_tensor if name == "_rebuild_tensor_v2" else _rebuild_parameter
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if (module, name) in (("torch", "Size"), ("torch", "device")):
            return type(name, (Shell,), {})
        if f"{module}.".startswith(_SHELLS) and "." not in name:
            return type(name, (Shell,), {"__module__": module})
        raise UnsafePickleError(
            f"'{self._path}' asks for {module}.{name}, which no weights need: it was not read, and no code in it ran"
        )

    def persistent_load(self, identity: Any) -> Tensor:
        kind, dtype, key, _, count = identity
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise ValueError(f"unknown storage {kind!r}")
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._folder}/data/{key}"))
            self._storages[key] = (
                torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)
            )
        return self._storages[key]


def _rebuild_tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    # Checks the bounds itself.
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data
