# SPDX-License-Identifier: Apache-2.0
"""`fusion-mamba predict`: images, folders, videos, options and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from fusion_mamba_ros.cli import app
from fusion_mamba_ros.network import FusionMambaDetector, ModelConfig
from fusion_mamba_ros.perception.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from fusion_mamba_ros.perception.threads import set_threads

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = FusionMambaDetector(ModelConfig(classes=2, fusion="add"))
    branch: Any
    for branch in model.head.class_branches:
        torch.nn.init.constant_(branch[-1].bias, 1.0)  # Untrained, but not silent.
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_checkpoint(path, model, CheckpointMetadata(("person", "car"), (96, 64)))
    return path


def write_image(path: Path, seed: int, size: tuple[int, ...] = (60, 90)) -> Path:
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8))
    return path


def write_video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    for number in range(frames):
        writer.write(np.full((64, 96, 3), 20 * number, np.uint8))
    writer.release()
    return path


def run(checkpoint: Path, out: Path, *arguments: object) -> Result:
    return RUNNER.invoke(
        app, ["predict", "--checkpoint", str(checkpoint), "--out", str(out), "--device", "cpu", *map(str, arguments)]
    )


def read(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "detections.json").read_text())
    return content


def test_image_pair_gives_a_image_and_coco_json(checkpoint: Path, tmp_path: Path) -> None:
    rgb, thermal = write_image(tmp_path / "a.png", 1), write_image(tmp_path / "b.png", 2, (48, 64))
    result = run(checkpoint, tmp_path / "out", "--rgb", rgb, "--thermal", thermal, "--max-detections", 5)
    assert result.exit_code == 0, result.output
    assert "ms (with its start) on cpu" in result.output
    document = read(tmp_path / "out")
    assert document["images"] == [{"id": 0, "file_name": "a", "width": 90, "height": 60, "mode": "fused"}]
    assert document["categories"] == [{"id": 0, "name": "person"}, {"id": 1, "name": "car"}]
    assert 1 <= len(document["annotations"]) <= 5
    for annotation in document["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert x >= 0 and y >= 0 and width > 0 and height > 0
        assert x + width <= 90.01 and y + height <= 60.01
        assert 0.25 <= annotation["score"] <= 1
    assert cv2.imread(str(tmp_path / "out" / "a.jpg")) is not None


def test_json_loads_with_pycocotools(checkpoint: Path, tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    image = write_image(tmp_path / "a.png", 1)
    run(checkpoint, tmp_path / "out", "--rgb", image, "--thermal", image)
    document = read(tmp_path / "out")
    loaded = coco.COCO(str(tmp_path / "out" / "detections.json"))
    assert len(loaded.getAnnIds()) == len(document["annotations"]) > 0


def test_folders_give_a_image_for_each_pair_and_a_contact_sheet(checkpoint: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b", "c")):
        write_image(tmp_path / "rgb" / f"{name}.png", seed)
        write_image(tmp_path / "thermal" / f"{name}.jpg", seed)
    write_image(tmp_path / "rgb" / "lonely.png", 9)
    result = run(checkpoint, tmp_path / "out", "--rgb", tmp_path / "rgb", "--thermal", tmp_path / "thermal")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == ["a.jpg", "b.jpg", "c.jpg"]
    assert (tmp_path / "out" / "contact_sheet.png").exists()
    assert [image["file_name"] for image in read(tmp_path / "out")["images"]] == ["a", "b", "c"]
    assert "lonely" in result.output


def test_videos_of_unequal_length_stop_at_the_shorter_and_say_so(checkpoint: Path, tmp_path: Path) -> None:
    rgb, thermal = write_video(tmp_path / "a.mp4", 5), write_video(tmp_path / "b.mp4", 3)
    result = run(checkpoint, tmp_path / "out", "--rgb", rgb, "--thermal", thermal)
    assert result.exit_code == 0, result.output
    assert "ends after 3 frames" in result.output
    assert "ms (median) on cpu" in result.output
    capture = cv2.VideoCapture(str(tmp_path / "out" / "annotated.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 3
    assert [image["mode"] for image in read(tmp_path / "out")["images"]] == ["fused"] * 3


@pytest.mark.parametrize("frames,mode", [((5, 3), "rgb_only"), ((3, 5), "thermal_only")])
def test_longer_video_goes_on_alone_by_option(
    checkpoint: Path, tmp_path: Path, frames: tuple[int, int], mode: str
) -> None:
    rgb, thermal = write_video(tmp_path / "a.mp4", frames[0]), write_video(tmp_path / "b.mp4", frames[1])
    result = run(checkpoint, tmp_path / "out", "--rgb", rgb, "--thermal", thermal, "--continue-alone")
    assert result.exit_code == 0, result.output
    assert [image["mode"] for image in read(tmp_path / "out")["images"]] == ["fused"] * 3 + [mode] * 2


@pytest.mark.parametrize("camera,mode", [("--rgb", "rgb_only"), ("--thermal", "thermal_only")])
def test_one_camera_alone_runs_in_its_mode(checkpoint: Path, tmp_path: Path, camera: str, mode: str) -> None:
    result = run(checkpoint, tmp_path / "out", camera, write_image(tmp_path / "a.png", 1))
    assert result.exit_code == 0, result.output
    assert read(tmp_path / "out")["images"][0]["mode"] == mode
    assert f"1 {mode}" in result.output


@pytest.mark.parametrize(("camera", "other"), [("thermal", "rgb"), ("rgb", "thermal")])
def test_a_checkpoint_that_cannot_use_the_only_camera_is_refused(tmp_path: Path, camera: str, other: str) -> None:
    channels = {"rgb": 3, "thermal": 1}
    model = FusionMambaDetector(ModelConfig(classes=2, modalities={camera: channels[camera]}))
    path = tmp_path / "single.safetensors"
    save_checkpoint(path, model, CheckpointMetadata(("person", "car"), (96, 64)))
    image = write_image(tmp_path / "a.png", 1)
    result = run(path, tmp_path / "out", f"--{other}", image)
    assert result.exit_code == 2
    assert f"uses {camera}, not {other}: give an image that it uses" in result.stderr
    both = run(path, tmp_path / "out", "--rgb", image, "--thermal", image)
    assert both.exit_code == 0, both.output
    assert f"1 {camera}_only" in both.output


@pytest.mark.parametrize(
    ("option", "warning"),
    [("--no-images", ""), ("--no-pictures", "warning: --no-pictures is deprecated: use --no-images")],
)
def test_no_images_writes_the_json_alone(checkpoint: Path, tmp_path: Path, option: str, warning: str) -> None:
    result = run(checkpoint, tmp_path / "out", "--rgb", write_image(tmp_path / "a.png", 1), option)
    assert result.exit_code == 0, result.output
    assert warning in result.output and ("deprecated" in result.output) == bool(warning)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["detections.json"]


def test_class_filter_leaves_only_its_classes(checkpoint: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png", 1)
    run(checkpoint, tmp_path / "out", "--rgb", image, "--classes", "car")
    assert {annotation["category_id"] for annotation in read(tmp_path / "out")["annotations"]} == {1}


def test_bad_input_is_one_sentence_and_exit_code_two(checkpoint: Path, tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.png", 1)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    noise = tmp_path / "noise.safetensors"
    noise.write_bytes(b"no checkpoint")
    cases: list[tuple[Path, list[object], str]] = [
        (checkpoint, [], "no input"),
        (checkpoint, ["--rgb", tmp_path / "nothing.png"], "does not exist"),
        (checkpoint, ["--rgb", image, "--thermal", broken], "broken.png"),
        (tmp_path / "absent.safetensors", ["--rgb", image], "does not exist"),
        (noise, ["--rgb", image], "not a complete safetensors file"),
        (checkpoint, ["--rgb", image, "--device", "cuda:77"], "device 'cuda:77'"),
        (checkpoint, ["--rgb", image, "--classes", "dog"], "unknown class dog"),
        (checkpoint, ["--rgb", image, "--score-threshold", "2"], "score_threshold is 2"),
        (checkpoint, ["--rgb", image, "--thermal-scaling", "guess"], "thermal scaling is 'guess'"),
        (checkpoint, ["--rgb", image, "--registration", tmp_path / "no.yaml"], "cannot be read"),
        (checkpoint, ["--rgb", image, "--thermal", tmp_path], "is a folder"),
    ]
    for file, arguments, message in cases:
        result = run(file, tmp_path / "out", *arguments)
        assert result.exit_code == 2, (arguments, result.output)
        assert message in result.stderr
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.output
        assert not (tmp_path / "out" / "detections.json").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_an_error_and_never_no_objects(
    checkpoint: Path, tmp_path: Path, value: float
) -> None:
    model, metadata = load_checkpoint(checkpoint)
    with torch.no_grad():
        branches: Any = model.head.class_branches
        branches[0][-1].bias[0] = value
    damaged = tmp_path / "damaged.safetensors"
    save_checkpoint(damaged, model, metadata)
    result = run(damaged, tmp_path / "out", "--rgb", write_image(tmp_path / "a.png", 1))
    assert result.exit_code == 2
    assert "error: 'a' has no result: " in result.stderr
    assert "the network's output is not finite (NaN or infinity)" in result.stderr
    assert "objects:" not in result.output
    assert not (tmp_path / "out" / "detections.json").exists()


@pytest.mark.parametrize("given", ["a.jpg", "."])
def test_images_are_never_written_over_those_that_are_read(checkpoint: Path, tmp_path: Path, given: str) -> None:
    before = write_image(tmp_path / "a.jpg", 1).read_bytes()
    result = run(checkpoint, tmp_path, "--rgb", tmp_path / given)
    assert result.exit_code == 2
    assert "could overwrite it: name another folder" in result.stderr
    assert (tmp_path / "a.jpg").read_bytes() == before


def test_an_image_that_cannot_be_written_in_the_middle_is_said(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = write_image(tmp_path / "a.png", 1)
    monkeypatch.setattr(cv2, "imencode", lambda *arguments: (False, None))
    result = run(checkpoint, tmp_path / "out", "--rgb", image)
    assert result.exit_code == 2
    assert "a.jpg' could not be written" in result.stderr
    assert len(read(tmp_path / "out")["images"]) == 1


def test_threads_is_the_number_of_threads_that_compute(checkpoint: Path, tmp_path: Path) -> None:
    rgb, thermal = write_image(tmp_path / "a.png", 1), write_image(tmp_path / "b.png", 2)
    set_threads(0)
    wanted = torch.get_num_threads() + 1
    try:
        result = run(checkpoint, tmp_path / "out", "--rgb", rgb, "--thermal", thermal, "--threads", wanted)
        assert result.exit_code == 0, result.output
        assert torch.get_num_threads() == wanted
    finally:
        set_threads(0)


@pytest.mark.parametrize("command", ["calibrate", "eval", "predict", "train"])
def test_every_command_that_runs_the_network_refuses_a_negative_number_of_threads(command: str) -> None:
    result = RUNNER.invoke(app, [command, "--threads", "-1"])
    assert result.exit_code == 2 and "--threads" in result.output


def test_track_gives_ids_that_go_on_in_a_video(checkpoint: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", 6)
    result = run(checkpoint, tmp_path / "out", "--rgb", video, "--thermal", video, "--track", "--max-detections", 20)
    assert result.exit_code == 0, result.output
    tracked = read(tmp_path / "out")
    ids = [
        {a["track_id"] for a in tracked["annotations"] if a["image_id"] == image["id"]} - {0}
        for image in tracked["images"]
    ]
    assert not ids[0]
    assert ids[-1] & ids[-2]
    # Tracking changes nothing but the ids.
    plain = run(checkpoint, tmp_path / "plain", "--rgb", video, "--thermal", video, "--max-detections", 20)
    assert plain.exit_code == 0, plain.output
    for annotation in tracked["annotations"]:
        del annotation["track_id"]
    assert read(tmp_path / "plain") == tracked


def test_track_takes_a_folder_at_its_frame_rate_and_refuses_a_single_image(checkpoint: Path, tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / "rgb" / f"{number}.png", 1)
    arguments = ("--rgb", tmp_path / "rgb", "--track", "--max-detections", 5)
    # An image every 100 s: no track lasts so long.
    for rate, continues in ((10, True), (0.01, False)):
        out = tmp_path / f"out{rate}"
        result = run(checkpoint, out, *arguments, "--frame-rate", rate)
        assert result.exit_code == 0, result.output
        assert any(annotation["track_id"] for annotation in read(out)["annotations"]) == continues
    single = run(checkpoint, tmp_path / "single", "--rgb", tmp_path / "rgb" / "0.png", "--track")
    assert single.exit_code != 0
    assert "--track needs a video or a folder" in single.output
    bad = run(checkpoint, tmp_path / "bad", *arguments, "--frame-rate", 0)
    assert bad.exit_code != 0
    assert "--frame-rate is 0" in bad.output
