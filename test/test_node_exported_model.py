# SPDX-License-Identifier: Apache-2.0
"""Unusable exported models leave the node unconfigured with one sentence; then it takes a good one."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("onnx")

import onnx
import rclpy
from detector_graph import isolate
from operator_library import compiled_library
from rclpy.context import Context
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter

from fusion_mamba_ros.deployment import onnxruntime_engine
from fusion_mamba_ros.perception.default_checkpoint import default_checkpoint
from fusion_mamba_ros.ros.detector.detector_node import DetectorNode


def unusable_models(folder: Path, shipped: Path) -> dict[Path, str]:
    """Write unusable models to ``folder`` and return what the node says about each."""
    content = shipped.read_bytes()
    (folder / "truncated.onnx").write_bytes(content[: len(content) // 2])
    (folder / "corrupt.onnx").write_bytes(b"\xff" * 5000)
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "foreign", [value], [])
    onnx.save(onnx.helper.make_model(graph), folder / "foreign.onnx")
    return {
        folder / "absent.onnx": "does not exist",
        folder / "truncated.onnx": "is not a complete ONNX file",
        folder / "corrupt.onnx": "is not a complete ONNX file",
        folder / "foreign.onnx": "it was not written by this package",
    }


def test_unusable_models_and_a_missing_library_leave_the_node_unconfigured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, shipped = compiled_library(), default_checkpoint(engine="onnxruntime")
    isolate()
    context = Context()
    rclpy.init(context=context)
    node = DetectorNode(context=context)
    said: list[str] = []
    node.get_logger().error = lambda sentence, **_: said.append(sentence)

    def configure(model: Path) -> TransitionCallbackReturn:
        (result,) = node.set_parameters([Parameter("checkpoint", value=str(model))])
        assert result.successful, "the node is not unconfigured"
        return node.trigger_configure()

    try:
        for model, words in unusable_models(tmp_path, shipped).items():
            assert configure(model) == TransitionCallbackReturn.FAILURE
            assert said[-1].startswith(f"configure failed: model '{model}' ") and words in said[-1]
        monkeypatch.setattr(onnxruntime_engine, "OPERATOR_LIBRARY", tmp_path / library.name)
        assert configure(shipped) == TransitionCallbackReturn.FAILURE
        assert said[-1].startswith(f"configure failed: {library.name} was not compiled: run ")
        assert len(said) == 5 and not any("\n" in sentence for sentence in said)
        monkeypatch.setattr(onnxruntime_engine, "OPERATOR_LIBRARY", library)
        assert configure(shipped) == TransitionCallbackReturn.SUCCESS
    finally:
        node.destroy_node()
        context.try_shutdown()
