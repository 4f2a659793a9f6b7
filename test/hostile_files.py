# SPDX-License-Identifier: Apache-2.0
"""Files that are damaged, or made to exhaust memory, time or the stack."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paired_folders
import torch
from safetensors.torch import save_file

IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
METADATA: dict[str, Any] = {
    "format": 1,
    "model": {"fusion": "add", "classes": 2, "modalities": {"rgb": 3, "thermal": 1}},
    "class_names": ["person", "car"],
    "input_size": [96, 64],
    "thermal": {},
    "homography": IDENTITY,
    "training": {},
    "metrics": {},
}


def nested(depth: int, left: str = "[", right: str = "]") -> str:
    return left * depth + right * depth


def alias_bomb(levels: int = 40) -> str:
    """Return YAML whose aliases expand to 2 to the power of ``levels`` values."""
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, levels)]
    return "\n".join(lines) + "\n"


def entity_bomb(levels: int = 11) -> bytes:
    """Return XML whose entities expand to 10 to the power of ``levels`` characters."""
    entities = "".join(f'<!ENTITY b{n} "{f"&b{n - 1};" * 10}">' for n in range(1, levels + 1))
    name = f"&b{levels};"
    return f'<!DOCTYPE a [<!ENTITY b0 "x">{entities}]><a><object><name>{name}</name></object></a>'.encode()


def checkpoint(path: Path, changes: Mapping[str, Any] | None = None, *, text: str | None = None) -> Path:
    """Write a checkpoint of one tensor whose metadata is changed, or is ``text``."""
    document = {**METADATA, **(changes or {})}
    save_file({"x": torch.zeros(1)}, path, {"fusion_mamba": json.dumps(document) if text is None else text})
    return path


def with_fusion_mamba(**section: Any) -> dict[str, Any]:
    """Return metadata of a model with these fields in the section of the fusion operator."""
    model = {name: value for name, value in METADATA["model"].items() if name != "fusion"}
    return {"model": {**model, "fusion_mamba": section}}


def with_model(**changes: Any) -> dict[str, Any]:
    return {"model": {**METADATA["model"], **changes}}


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *, bits: int = 8, colour: int = 0, rows: int | None = None) -> bytes:
    """Return a PNG of zeros; with ``rows``, one that holds fewer rows than it claims."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = bytes(1 + width * channels * bits // 8)
    squeeze = zlib.compressobj(9)
    data = b"".join(squeeze.compress(row) for _ in range(height if rows is None else rows)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")


def bmp(width: int, height: int, size: int = 1280) -> bytes:
    """Return a run-length coded BMP of ``size`` bytes that claims ``width`` times ``height`` pixels."""
    palette = bytes(4 * 256)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
    head = struct.pack("<2sIHHI", b"BM", size, 0, 0, 14 + len(info) + len(palette)) + info + palette
    return head.ljust(size, b"\x00")


def torch_file(
    path: Path, pickled: bytes, storages: Mapping[str, bytes] | None = None, *, squeezed: bool = False
) -> Path:
    """Write the zip archive of `torch.save` around any pickle."""
    method = zipfile.ZIP_DEFLATED if squeezed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("model/data.pkl", pickled)
        for key, data in (storages or {}).items():
            archive.writestr(f"model/data/{key}", data)
    return path


def call(module: str, name: str, arguments: bytes) -> bytes:
    """Return pickle opcodes that call ``module.name`` with the tuple that ``arguments`` push."""
    return f"c{module}\n{name}\n".encode() + arguments + b"R"


def rebuilt_tensor(size: tuple[int, ...], stride: tuple[int, ...], count: int = 4) -> bytes:
    """Return a pickle of one tensor over a storage '0' of ``count`` float32 numbers."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.float32, "0", "cpu", count) if isinstance(value, Storage) else None

    class Rebuilt:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), 0, size, stride, False, {})

    file = io.BytesIO()
    Pickler(file, protocol=2).dump({"model": {"w": Rebuilt()}})
    return file.getvalue().replace(b"ctorch\nfloat32\n", b"ctorch\nFloatStorage\n")


def coco(root: Path, document: Any) -> Path:
    """Write a COCO dataset of one pair with the annotation ``document`` (text, or values for JSON)."""
    paired_folders.write_pair(root / "a.png", root / "b.png")
    path = root / "annotations" / "train.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return root


COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "thermal_file_name": "b.png"}],
    "categories": [{"id": 1, "name": "car"}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [4, 4, 20, 20]}],
}


def results(path: Path, **changes: Any) -> Path:
    """Write a detections file of one image, with arrays changed (None: left out)."""
    arrays: dict[str, Any] = {
        "class_names": np.array(["car"]),
        "mode": np.array("fused"),
        "names": np.array(["a"]),
        "groups": np.array([""]),
        "truth_counts": np.array([1]),
        "truth_boxes": np.array([[1, 1, 9, 9]], np.float32),
        "truth_labels": np.array([0]),
        "counts": np.array([1]),
        "boxes": np.array([[1, 1, 9, 9]], np.float32),
        "scores": np.array([0.5], np.float32),
        "labels": np.array([0]),
    }
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def npz_of_huge_array(path: Path) -> Path:
    """Write a detections file whose first array claims a terabyte."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472,), }"
    header = header.ljust(117) + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("boxes.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    return path


def text_file(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def not_utf8(folder: Path, suffix: str) -> Path:
    """Return a path in ``folder`` whose name is not UTF-8."""
    return folder / os.fsdecode(b"caf\xe9" + suffix.encode())
