# SPDX-License-Identifier: Apache-2.0
"""Read the tensors of a torch file with foreign classes, without importing or running any of its code."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusion_mamba_ros.training.pickle_bounds import check_pickle

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
# Objects of these packages become inert shells that hold their attributes. Any other name stops the reading.
_SHELLS = ("torch.nn.modules.", "ultralytics.", "models.", "utils.", "pathlib.", "numpy.", "datetime.")
# `bytearray` is left out: with a number as argument it allocates that many bytes.
_PLAIN = {name: getattr(__import__("builtins"), name) for name in ("set", "frozenset", "slice", "complex")}


class UnsafePickleError(ValueError):
    """Error for a file that requests code which no checkpoint needs; the message is one sentence."""


class Shell:
    """Placeholder for an object of a foreign class: it keeps the attributes and has no behaviour."""

    def __new__(cls, *arguments: Any, **named: Any) -> Shell:
        """Accept the arguments of any foreign class."""
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
    """Return the content of a file written by `torch.save`, with objects of YOLO and torch.nn classes as `Shell`.

    No code in the file is executed. Raises `UnsafePickleError` if the file names a class or function that weights do
    not need. Raises ``ValueError`` if the file cannot be read, is damaged or was not written by `torch.save`.
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
        try:
            storages = _Storages(archive, folder, Path(path).stat().st_size)
            data = storages.read_entry(pickles[0])
            check_pickle(data)
            return _Unpickler(io.BytesIO(data), storages, str(path)).load()
        except UnsafePickleError:
            raise
        except Exception as error:  # a damaged pickle can raise anything
            raise ValueError(f"'{path}' is damaged ({type(error).__name__}: {str(error)[:200]})") from error


class _Storages:
    """Storages in an archive; each is read once, and the total is limited to the size of the archive."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, archive_bytes: int) -> None:
        self._archive, self._folder = archive, folder
        self._tensors: dict[str, Tensor] = {}
        self._left = archive_bytes
        # A parameter and its moving average each have their own storage, and few tensors share a storage. So the
        # tensors together have no more elements than the archive has bytes.
        self._elements_left = archive_bytes

    def read_entry(self, name: str) -> bytes:
        """Return the bytes of an entry.

        Raises ``ValueError`` if the entry is compressed or larger than the file, as in a zip bomb.
        """
        info = self._archive.getinfo(name)
        self._left -= info.file_size
        if info.compress_type != zipfile.ZIP_STORED or self._left < 0:
            raise ValueError(f"entry {name!r} is compressed or larger than the file: torch.save stores it as it is")
        return self._archive.read(info)

    def load(self, key: str, dtype: torch.dtype, count: int) -> Tensor:
        """Return the storage ``key`` as a flat tensor."""
        if key not in self._tensors:
            data = bytearray(self.read_entry(f"{self._folder}/data/{key}"))
            self._tensors[key] = (
                torch.frombuffer(data, dtype=dtype, count=count) if count else torch.empty(0, dtype=dtype)
            )
        return self._tensors[key]

    def view(self, storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
        """Return a view of ``storage``; `as_strided` checks the bounds.

        Raises ``ValueError`` if the view has more elements than its storage, or all views together have too many.
        """
        tensor = torch.as_strided(storage, tuple(size), tuple(stride), offset)
        self._elements_left -= tensor.numel()
        if tensor.numel() > storage.numel() or self._elements_left < 0:
            raise ValueError(
                f"a tensor of shape {tuple(size)} is larger than its storage of {storage.numel()} elements"
            )
        return tensor


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, storages: _Storages, path: str):
        super().__init__(file)
        self._storages, self._path = storages, path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module in ("builtins", "__builtin__") and name in _PLAIN:
            return _PLAIN[name]
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
            return self._storages.view if name == "_rebuild_tensor_v2" else _rebuild_parameter
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
        return self._storages.load(key, dtype, count)


def _rebuild_parameter(data: Tensor, *_: Any) -> Tensor:
    return data
