# SPDX-License-Identifier: Apache-2.0
"""The engine of exported models: equal to PyTorch on real pairs; damaged and foreign files in one sentence."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from operator_library import compiled_library

from fusion_mamba_ros.datasets import open_dataset
from fusion_mamba_ros.deployment import onnxruntime_engine
from fusion_mamba_ros.deployment.exported_model import EXPORT_KEY, parse_export_record
from fusion_mamba_ros.deployment.onnx_metadata import read_properties
from fusion_mamba_ros.deployment.onnxruntime_engine import load_engine
from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.checkpoint_metadata import METADATA_KEY, CheckpointError
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.perception.engine import EngineOptions
from fusion_mamba_ros.perception.engine_loading import EngineError, LoadedEngine
from fusion_mamba_ros.perception.image_preparation import ImagePreparation
from fusion_mamba_ros.perception.preprocessing import to_batch
from fusion_mamba_ros.perception.registration import homographies_from
from fusion_mamba_ros.perception.torch_engine import TorchEngine
from fusion_mamba_ros.perception.torch_engine import load_engine as load_torch_engine

if TYPE_CHECKING:
    from onnx import ModelProto

onnx = pytest.importorskip("onnx")

CHECKPOINT = default_checkpoint()
MODEL = CHECKPOINT.with_suffix(".onnx")
OPTIONS = EngineOptions(threads=1)
MODALITIES = ({"rgb", "thermal"}, {"rgb"}, {"thermal"})


@pytest.fixture(scope="module", autouse=True)
def library() -> Path:
    return compiled_library()


@pytest.fixture(scope="module")
def loaded() -> LoadedEngine:
    return load_engine(MODEL, OPTIONS)


@pytest.fixture(scope="module")
def torch_engine() -> TorchEngine:
    return load_torch_engine(CHECKPOINT, OPTIONS)[0]


def test_the_shipped_model_was_exported_from_the_shipped_weights(loaded: LoadedEngine) -> None:
    record = parse_export_record(read_properties(MODEL)[EXPORT_KEY], "the shipped model")
    assert record.source_sha256 == hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest(), (
        "run the command in weights/README.md"
    )
    assert loaded[1] == load_torch_engine(CHECKPOINT, OPTIONS)[1]


def real_pairs(count: int) -> list[dict[str, np.ndarray]]:
    data = os.environ.get("FUSION_MAMBA_DATA")
    if data is None:
        random = np.random.default_rng(0)
        return [
            {
                "rgb": random.integers(0, 256, (480, 640, 3), np.uint8),
                "thermal": random.integers(0, 256, (480, 640), np.uint8),
            }
            for _ in range(count)
        ]
    dataset = open_dataset(Path(data) / "msrs", "val")
    return [dict(dataset[index].images) for index in range(0, 20 * count, 20)]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("present", MODALITIES, ids=lambda names: "+".join(sorted(names)))
def test_it_equals_pytorch_with_every_set_of_cameras(
    loaded: LoadedEngine, torch_engine: TorchEngine, present: set[str], batch: int
) -> None:
    engine, metadata = loaded
    preparation = ImagePreparation(engine.modalities, metadata.input_size, metadata.thermal, stream=False)
    homographies = homographies_from(metadata.homographies)
    pairs = [{name: image for name, image in pair.items() if name in present} for pair in real_pairs(batch)]
    images = to_batch([preparation.prepare(pair, homographies, None) for pair in pairs])
    expected, found = torch_engine.run(images), engine.run(images)
    assert found.problem is None
    assert found.rows.shape == expected.rows.shape
    assert np.abs(found.rows - expected.rows)[..., :4].max() <= 1e-2
    assert np.abs(found.rows - expected.rows)[..., 4:].max() <= 1e-4


def test_it_applies_the_calibration_to_the_scores(loaded: LoadedEngine) -> None:
    engine, metadata = loaded
    width, height = metadata.input_size
    images = {name: np.full((1, channels, height, width), 99, np.uint8) for name, channels in engine.modalities.items()}
    calibration = Calibration((2.0,) * len(metadata.class_names), 0.3)
    raw, calibrated = engine.run(images).rows, engine.run(images, calibration).rows
    np.testing.assert_array_equal(calibrated, calibration.calibrate(raw))
    assert not np.array_equal(raw, calibrated)


def changed(path: Path, change: Callable[[ModelProto], object]) -> Path:
    """Write the shipped model with a change to ``path``."""
    model = onnx.load(MODEL)
    change(model)
    onnx.save(model, path)
    return path


def with_property(key: str, value: str | Callable[[str], str]) -> Callable[[ModelProto], None]:
    def change(model: ModelProto) -> None:
        for entry in model.metadata_props:
            if entry.key == key:
                entry.value = value(entry.value) if callable(value) else value

    return change


def without_properties(model: ModelProto) -> None:
    del model.metadata_props[:]


def newer(text: str) -> str:
    return json.dumps({**json.loads(text), "format": 99})


def with_another_scan(text: str) -> str:
    return json.dumps({**json.loads(text), "scan": "magic"})


def larger_input(text: str) -> str:
    return json.dumps({**json.loads(text), "input_size": [640, 512]})


def of_unknown_operator(model: ModelProto) -> None:
    model.graph.node[-1].op_type = "Nonsense"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_properties, "carries no 'fusion_mamba' metadata: it was not written by this package"),
        (with_property(METADATA_KEY, newer), r"has format 99, this package reads formats up to \d+: update"),
        (with_property(EXPORT_KEY, newer), "has export format 99, this package reads formats up to 1: update"),
        (with_property(EXPORT_KEY, "[" * 100_000), "unusable export record"),
        (with_property(EXPORT_KEY, with_another_scan), r"unusable export record \(scan is 'magic'\)"),
        (with_property(METADATA_KEY, "[" * 5_000_000), "5000000 characters of metadata: at most"),
        (with_property(METADATA_KEY, larger_input), "of other types or shapes than its metadata describe"),
        (of_unknown_operator, r"damaged, or not for ONNX Runtime .*Nonsense.*: export the checkpoint again"),
    ],
)
def test_foreign_and_newer_files_are_one_sentence(tmp_path: Path, change: Callable[..., Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as raised:
        load_engine(changed(tmp_path / "model.onnx", change), OPTIONS)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700


@pytest.mark.parametrize("length", [0, 1, 1000, 6_000_000, -1])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"is not a complete ONNX file|carries no"):
        load_engine(path, OPTIONS)


def test_random_damage_ends_in_a_result_or_one_sentence(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4), "little")
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    content = bytearray(MODEL.read_bytes())
    path = tmp_path / "model.onnx"
    for _ in range(4):
        damaged = bytearray(content)
        # The structure is at both ends; most of the middle is weights.
        for position in [*random.integers(0, 60_000, 8), *random.integers(len(content) - 60_000, len(content), 8)]:
            damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        message = ""
        try:
            load_engine(path, OPTIONS)
        except CheckpointError as error:
            message = str(error)
        assert "\n" not in message


def test_other_content_is_no_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(CHECKPOINT, path)
    with pytest.raises(CheckpointError, match="is not a complete ONNX file"):
        load_engine(path, OPTIONS)
    with pytest.raises(CheckpointError, match="does not exist"):
        load_engine(tmp_path / "absent.onnx", OPTIONS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "was not compiled: run `python -m"),
        (b"no library", r"does not load \(.*\): run `python -m"),
        ("another machine", r"does not load \(.*\): run `python -m"),
    ],
)
def test_a_missing_or_unfit_operator_library_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Path, content: bytes | str | None, message: str
) -> None:
    path = tmp_path / library.name
    if content == "another machine":
        header = bytearray(library.read_bytes())
        header[18:20] = (0xF3).to_bytes(2, "little")  # e_machine of ELF: RISC-V
        path.write_bytes(header)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    monkeypatch.setattr(onnxruntime_engine, "OPERATOR_LIBRARY", path)
    with pytest.raises(EngineError, match=message):
        load_engine(MODEL, OPTIONS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (EngineOptions(device="cuda"), "device 'cuda' is not supported by engine 'onnxruntime': use 'auto' or 'cpu'"),
        (EngineOptions(precision="bf16"), "precision 'bf16' is not that of model '.*', which holds fp32: use 'auto'"),
    ],
)
def test_settings_that_it_cannot_honour_are_refused(options: EngineOptions, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_engine(MODEL, options)


def test_output_that_is_not_finite_is_a_problem(tmp_path: Path) -> None:
    def poison(model: ModelProto) -> None:
        bias = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 1)
        values = onnx.numpy_helper.to_array(bias).copy()
        values[:] = np.nan
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))

    engine, metadata = load_engine(changed(tmp_path / "model.onnx", poison), OPTIONS)
    width, height = metadata.input_size
    images = {name: np.zeros((1, channels, height, width), np.uint8) for name, channels in engine.modalities.items()}
    assert "not finite (NaN or infinity)" in (engine.run(images).problem or "")


def test_neither_loading_nor_running_imports_torch() -> None:
    import subprocess
    import sys

    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; import numpy as np\n"
        "from fusion_mamba_ros.deployment.onnxruntime_engine import load_engine\n"
        "from fusion_mamba_ros.perception.engine import EngineOptions\n"
        f"engine, metadata = load_engine(Path({str(MODEL)!r}), EngineOptions(threads=1))\n"
        "w, h = metadata.input_size\n"
        "print(engine.run({n: np.zeros((1, c, h, w), np.uint8) for n, c in engine.modalities.items()}).rows.shape)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("(1, ")


def test_torch_threads_are_not_touched(loaded: LoadedEngine) -> None:
    before = torch.get_num_threads()
    load_engine(MODEL, EngineOptions(threads=1))
    assert torch.get_num_threads() == before
