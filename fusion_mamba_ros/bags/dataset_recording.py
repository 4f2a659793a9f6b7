# SPDX-License-Identifier: Apache-2.0
"""Write the pairs and labels of a dataset to a bag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fusion_mamba_ros.bags.camera_recorder import FRAME_IDS, record_cameras
from fusion_mamba_ros.bags.recording_options import Recording, RecordingOptions
from fusion_mamba_ros.datasets.joined_dataset import open_datasets

_DATASET_RATE = 10.0


def record_dataset(
    out: Path,
    options: RecordingOptions,
    *,
    data: Sequence[Path],
    split: str,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Recording:
    """Write the labelled pairs of a split of the datasets ``data`` to the new bag ``out`` and return a summary.

    The bag holds one frame of each camera for each pair, in the order of the dataset. Unless ``options.compressed`` is
    set, the images are written losslessly. The true boxes go to ``options.labels_topic``, with the stamp and in the
    pixels of the RGB image (of the thermal image if the pair has no RGB image). ``on_progress`` receives the number of
    pairs done and their total. Raises ``DatasetError``, ``UnreadableImageError``, ``ValueError`` or ``BagError`` with a
    one-sentence message. After an error, no bag remains.
    """
    rate = options.rates(_DATASET_RATE)["rgb"]
    if options.thermal_frames_per_second not in (None, rate):
        raise ValueError("a dataset has one rate for both cameras: leave out the thermal rate")
    # The caller names the split explicitly, so a test split is allowed.
    dataset = open_datasets(list(data), split, validate_on_test=True).with_any_of(FRAME_IDS)
    if not len(dataset):
        raise ValueError(f"split {split!r} of {', '.join(map(repr, map(str, data)))} has no RGB and no thermal image")
    with record_cameras(out, options, labels=True) as recorder:
        for index in range(len(dataset)):
            sample, _ = dataset.read(index)
            seconds = index / rate
            for camera in FRAME_IDS:
                if camera in sample.images:
                    recorder.write_image(camera, index, seconds, sample.images[camera])
            names = [dataset.class_names[label] for label in sample.labels]
            recorder.write_labels(sample.reference, index, seconds, sample.boxes, names)
            on_progress(index + 1, len(dataset))
    recording = recorder.recording
    if "thermal" in dataset.homographies:
        recording.notes.append(
            "the dataset has a homography for its thermal images: give it to the detector "
            "(parameter registration.homography)"
        )
    return recording
