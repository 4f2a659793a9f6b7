# SPDX-License-Identifier: Apache-2.0
"""The engine that runs an exported `.onnx` model in ONNX Runtime, without PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from fusion_mamba_ros.deployment.exported_model import (
    EXPORT_KEY,
    FINITE_OUTPUT,
    OPERATOR_SCAN,
    ROWS_OUTPUT,
    anchor_count,
    parse_export_record,
)
from fusion_mamba_ros.deployment.onnx_metadata import parse_properties, read_properties
from fusion_mamba_ros.perception.calibration import Calibration
from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointError, CheckpointMetadata
from fusion_mamba_ros.perception.engine import EngineOptions, EngineOutput
from fusion_mamba_ros.perception.engine_loading import EngineError
from fusion_mamba_ros.perception.finite_output import NOT_FINITE

OPERATOR_LIBRARY = Path(__file__).with_name("libfusion_mamba_onnxruntime.so")
"""The shared library with the operator of the selective scan."""
_BUILD_COMMAND = "python -m fusion_mamba_ros.network.selective_scan.build"
_MOST_ERROR_CHARACTERS = 300
# The log level at which ONNX Runtime reports only errors that end a call. They arrive as exceptions too.
_FATAL = 4


def load_engine(path: Path, options: EngineOptions) -> tuple[OnnxRuntimeEngine, CheckpointMetadata]:
    """Load an exported model. Return its engine and its metadata.

    Raises `CheckpointError` if the file is unusable, `EngineError` if the operator library is missing or does not fit
    this machine, and ``ValueError`` if the device or precision is not available.
    """
    if options.device not in ("auto", "cpu"):
        raise ValueError(f"device '{options.device}' is not supported by engine 'onnxruntime': use 'auto' or 'cpu'")
    properties = read_properties(path)
    document = parse_properties(properties, path)
    source = document.source
    record = parse_export_record(properties.get(EXPORT_KEY), source)
    if options.precision not in ("auto", record.precision):
        raise ValueError(
            f"precision '{options.precision}' is not that of {source}, which holds {record.precision}: use 'auto', or "
            "export the checkpoint again"
        )
    modalities, metadata = document.modalities(), document.metadata
    threads = options.threads or len(os.sched_getaffinity(0))
    session = _session(path, threads, scan_operator=record.scan == OPERATOR_SCAN)
    _check_signature(source, session, modalities, metadata)
    return OnnxRuntimeEngine(session, modalities, record.precision), metadata


class OnnxRuntimeEngine:
    """An `Engine` that runs a session of ONNX Runtime on the CPU."""

    name = "onnxruntime"
    version: str = onnxruntime.__version__
    device = "cpu"
    is_reentrant = True

    def __init__(self, session: onnxruntime.InferenceSession, modalities: Mapping[str, int], precision: str) -> None:
        self._session = session
        batch = session.get_inputs()[0].shape[0]
        self._images_of_each_run = batch if isinstance(batch, int) else None
        self.modalities = modalities
        self.precision = precision

    def run(self, images: Mapping[str, npt.NDArray[np.uint8]], calibration: Calibration | None = None) -> EngineOutput:
        """Return the decoded output for a batch of prepared images. See `Engine.run`.

        Raises ``ValueError`` if the model was exported for another number of images.
        """
        count, fixed = len(next(iter(images.values()))), self._images_of_each_run
        if fixed not in (None, count):
            raise ValueError(
                f"the exported model takes {fixed} image(s) of each modality in each run, not {count}: "
                "export the checkpoint with '--batch dynamic'"
            )
        inputs = {name: np.ascontiguousarray(images[name]) for name in self.modalities}
        rows, finite = self._session.run([ROWS_OUTPUT, FINITE_OUTPUT], inputs)
        problem = None
        if not np.isfinite(finite):
            problem = f"{NOT_FINITE}: its activations overflow, or its weights are damaged: export another checkpoint"
        elif calibration is not None:
            rows = calibration.calibrate(rows)
        return EngineOutput(rows, problem)

    def memory_mb(self) -> dict[str, float]:
        """Return an empty mapping: the engine uses no memory outside the process."""
        return {}

    def free_memory(self) -> None:
        """Do nothing: ONNX Runtime keeps its memory for the next call."""


def session_options(threads: int, *, scan_operator: bool = True) -> onnxruntime.SessionOptions:
    """Return the options of a session that runs exported models on ``threads`` CPU threads.

    ``scan_operator``: whether the model needs the operator of the scan. Raises `EngineError` if its library is missing
    or does not load.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL
    # Threads that wait do not spin, because the other processes of a robot need the CPU. See openmp_policy.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not scan_operator:
        return options
    # The operator reads this entry, because ONNX Runtime does not pass it the number of threads.
    options.add_session_config_entry("fusion_mamba.scan_threads", str(threads))
    if not OPERATOR_LIBRARY.exists():
        raise EngineError(f"{OPERATOR_LIBRARY.name} was not compiled: run `{_BUILD_COMMAND}` (needs gcc or clang)")
    try:
        options.register_custom_ops_library(str(OPERATOR_LIBRARY))
    except Exception as error:
        reason = _first_line(error)
        raise EngineError(f"{OPERATOR_LIBRARY.name} does not load ({reason}): run `{_BUILD_COMMAND}`") from error
    return options


def _session(path: Path, threads: int, *, scan_operator: bool) -> onnxruntime.InferenceSession:
    options = session_options(threads, scan_operator=scan_operator)
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise CheckpointError(
            f"model '{path}' is damaged, or not for ONNX Runtime {onnxruntime.__version__} ({_first_line(error)}): "
            "export the checkpoint again"
        ) from error


def _check_signature(
    source: str, session: onnxruntime.InferenceSession, modalities: Mapping[str, int], metadata: CheckpointMetadata
) -> None:
    """Raise `CheckpointError` if the inputs and outputs of the graph are not those that the metadata describe."""
    width, height = metadata.input_size
    inputs = {value.name: (value.type, value.shape[1:]) for value in session.get_inputs()}
    expected: dict[str, Any] = {
        name: ("tensor(uint8)", [channels, height, width]) for name, channels in modalities.items()
    }
    outputs = {value.name: (value.type, value.shape[1:]) for value in session.get_outputs()}
    rows = ("tensor(float)", [anchor_count(width, height), 4 + len(metadata.class_names)])
    if inputs != expected or outputs != {ROWS_OUTPUT: rows, FINITE_OUTPUT: ("tensor(float)", [])}:
        raise CheckpointError(
            f"{source} has the inputs {', '.join(inputs)} and the outputs {', '.join(outputs)}, of other types or "
            "shapes than its metadata describe: export the checkpoint again"
        )


def _first_line(error: Exception) -> str:
    text = str(error).split("\n", 1)[0].removeprefix("[ONNXRuntimeError] : ")
    return text[:_MOST_ERROR_CHARACTERS]
