# SPDX-License-Identifier: Apache-2.0
"""Pickles that would need far more memory or stack than their size are refused before they are loaded."""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import hostile_files
import pytest
import torch

from fusion_mamba_ros.training.import_weights import read_foreign_weights
from fusion_mamba_ros.training.pickle_bounds import check_pickle
from fusion_mamba_ros.training.restricted_unpickler import read_foreign_checkpoint

HOSTILE = {
    "bytearray of 2 GB": b"\x80\x02" + hostile_files.call("builtins", "bytearray", b"J\x00\x00\x00\x7f\x85") + b".",
    "memo of 2 billion": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "text memo number": b"Np2000000000\n.",
    "array of 3 GB": b"\x80\x05\x96\x00\x00\x00\xc0\x00\x00\x00\x00.",
    "text of 3 GB": b"\x80\x04\x8d\x00\x00\x00\xc0\x00\x00\x00\x00.",
    "long of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "frame of 3 GB": b"\x80\x04\x95\x00\x00\x00\xc0\x00\x00\x00\x00N.",
    "tuples a million deep as a key": b"\x80\x02}" + b")" + b"\x85" * 1_000_000 + b"Ns.",
    "tuples a million deep in pairs": b"\x80\x02}" + b")" + b"N\x86" * 1_000_000 + b"Ns.",
    "tuples a million deep by the memo": b"\x80\x04)" + b"\x94h\x00\x86h\x00\x86" * 300_000 + b".",
    "tensor without strides": hostile_files.rebuilt_tensor((10**9,), (0,)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_few_bytes_take_no_gigabytes(kind: str, tmp_path: Path) -> None:
    path = hostile_files.torch_file(tmp_path / "y.pt", HOSTILE[kind], {"0": bytes(16)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"y\.pt"):
        read_foreign_checkpoint(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_memory_is_refused_before_it_is_asked_for(tmp_path: Path) -> None:
    """The process has little address space, so that even reserving the memory would raise ``MemoryError``."""
    paths = [
        hostile_files.torch_file(tmp_path / f"{number}.pt", HOSTILE[kind])
        for number, kind in enumerate(("bytearray of 2 GB", "memo of 2 billion", "array of 3 GB", "text memo number"))
    ]
    code = (
        "import resource, sys\n"
        "from fusion_mamba_ros.training.restricted_unpickler import read_foreign_checkpoint\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + 500_000_000,) * 2)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        read_foreign_checkpoint(path)\n"
        "    except ValueError as error:\n"
        "        assert 'Memory' not in str(error), error\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_a_zip_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    path = hostile_files.torch_file(tmp_path / "y.pt", b"\x80\x02" + b"N0" * 1_000_000 + b"N.", squeezed=True)
    assert path.stat().st_size < 20_000
    with pytest.raises(ValueError, match="compressed or larger than the file"):
        read_foreign_checkpoint(path)


def test_one_storage_under_a_thousand_names_cannot_become_a_thousand_tensors(tmp_path: Path) -> None:
    storage = torch.zeros(1000)
    path = tmp_path / "y.pt"
    torch.save({"model": {f"w{number}": storage.view(10, 100)[:] for number in range(1000)}}, path)
    with pytest.raises(ValueError, match=r"larger than its storage"):
        read_foreign_checkpoint(path)


def test_modules_that_double_without_end_are_refused(tmp_path: Path) -> None:
    """Thirty modules, each of which holds the previous one twice: 2^30 modules if they were expanded."""
    pickled = b"\x80\x02"
    new = b"cultralytics.nn.tasks\nDetectionModel\n)\x81"
    pickled += new + b"q\x000"
    for level in range(1, 31):
        before = b"h" + bytes([level - 1])
        children = b"}(X\x01\x00\x00\x000" + before + b"X\x01\x00\x00\x001" + before + b"u"
        pickled += new + b"}X\x08\x00\x00\x00_modules" + children + b"sbq" + bytes([level]) + b"0"
    path = hostile_files.torch_file(tmp_path / "y.pt", pickled + b"h\x1e.")
    with pytest.raises(ValueError, match="contain each other without end"):
        read_foreign_weights(path)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_ordinary_pickles_pass(protocol: int) -> None:
    shared = ("a", 1)
    deep: Any = []
    for _ in range(100):
        deep = [deep, {"k": deep}, shared]
    values = [
        {f"n{number}": number for number in range(5000)},
        OrderedDict(a=(1, 2.5, None), b={1, 2}, c=frozenset({3}), d=b"x" * 1000),
        list(range(3000)),
        10**50,
        [shared] * 10,
        deep[0][0][0],
        torch.Size([1, 2]),
    ]
    check_pickle(pickle.dumps(values[:5], protocol))
    check_pickle(pickle.dumps(values, protocol))


def test_what_torch_saves_passes(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"model": {f"w{number}": torch.zeros(10) for number in range(500)}, "epoch": 3}, path)
    with zipfile.ZipFile(path) as archive:
        check_pickle(archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl"))))
