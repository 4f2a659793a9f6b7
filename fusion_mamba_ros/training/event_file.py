# SPDX-License-Identifier: Apache-2.0
"""TensorBoard event files, written synchronously, so that a full disk raises an error in the training loop."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from fusion_mamba_ros.training.recipe import TrainingError


class EventFile:
    """One TensorBoard event file; a resumed run writes a further file in the same folder.

    ``first_step``: from this step on, the values replace those of earlier files.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        self.path = path
        self._append(
            Event(wall_time=time.time(), file_version="brain.Event:2"),
            Event(wall_time=time.time(), step=first_step, session_log=SessionLog(status=SessionLog.START)),
        )

    @classmethod
    def create_in(cls, folder: Path, first_step: int) -> EventFile:
        """Return a new file in ``folder``; its name holds the time because TensorBoard reads files in name order."""
        return cls(folder / f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}", first_step)

    def add(self, scalars: Mapping[str, float], step: int) -> None:
        """Append the scalars, given by tag.

        Raises `TrainingError` with the name of the file if it cannot be written.
        """
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))

    def _append(self, *events: Event) -> None:
        records = io.BytesIO()
        writer = RecordWriter(records)
        for event in events:
            writer.write(event.SerializeToString())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(records.getvalue())
        except OSError as error:
            raise TrainingError(
                f"'{self.path}' could not be written ({error.strerror}): free disk space and continue with --resume"
            ) from error


def tag_of(column: str) -> str:
    """Return the TensorBoard tag of a column of `results.csv`.

    The part before the last underscore is the group: `rgb_only_mAP50` becomes `rgb_only/mAP50`, `train_box` becomes
    `train/box`. Columns without a group, such as `learning_rate`, keep their name.
    """
    group, _, name = column.rpartition("_")
    return f"{group}/{name}" if group in ("train", "val") or name.startswith("mAP") else column
