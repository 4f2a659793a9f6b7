# SPDX-License-Identifier: Apache-2.0
"""The record of one frame: one line of `frames.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any


class Outcome(str, Enum):
    """Whether a frame was compared with ground truth."""

    EVALUATED = "evaluated"
    SKIPPED = "skipped"


class SkipReason(str, Enum):
    """Why a frame was not compared with ground truth.

    ``NO_GROUND_TRUTH``  it has detections, but no ground truth is within the tolerance
    ``UNPAIRED``         pairing released no result with it: surplus of the faster camera, too old, partner missing
    ``LATE``             its stamp was already used or was overtaken, for example a duplicated stamp
    ``REFUSED``          its stamp is zero or lies ahead of the clock
    ``CORRUPT``          its message or its image cannot be decoded
    ``FROZEN``           the image has not changed for the freeze timeout
    ``FAILED``           inference failed
    ``DROPPED``          pairing released it, but the recorded topic has no array for it
    ``NO_FRAME``         a ground truth without a frame of a camera
    """

    NO_GROUND_TRUTH = "no_ground_truth"
    UNPAIRED = "unpaired"
    LATE = "late"
    REFUSED = "refused"
    CORRUPT = "corrupt"
    FROZEN = "frozen"
    FAILED = "failed"
    DROPPED = "dropped"
    NO_FRAME = "no_frame"


@dataclass(slots=True)
class FrameRecord:
    """One frame of the evaluation: a pair, a frame alone, or a ground truth without a frame.

    ``docs/reference/bag-evaluation.md`` describes the fields. Times are nanoseconds, durations milliseconds. Counts are
    by class name, at the operating threshold. They are None if the frame has no ground truth. A skipped frame with
    ground truth has its true boxes in ``false_negatives``.
    """

    index: int
    stamp_ns: int
    outcome: Outcome
    reason: SkipReason | None = None
    camera: str | None = None
    mode: str | None = None
    rgb_stamp_ns: int | None = None
    thermal_stamp_ns: int | None = None
    offset_ms: float | None = None
    received_ns: int | None = None
    ground_truth_stamp_ns: int | None = None
    detections: dict[str, int] | None = None
    true_positives: dict[str, int] | None = None
    false_positives: dict[str, int] | None = None
    false_negatives: dict[str, int] | None = None
    worst_iou: float | None = None
    latency_ms: float | None = None
    live_dropped: bool | None = None
    times_ms: dict[str, float] = field(default_factory=dict)
    message: str | None = None

    @property
    def has_output(self) -> bool:
        """Whether the frame has detections, even if there are none in the image."""
        return self.detections is not None

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return json.dumps({name: getattr(self, name) for name in _FIELDS}, separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> FrameRecord:
        """Return the record in a line that `to_json` wrote. Raises ``ValueError`` if it is not one."""
        values: Any = json.loads(line)
        if not isinstance(values, dict) or not {"index", "stamp_ns", "outcome"} <= values.keys() <= set(_FIELDS):
            raise ValueError(f"not a frame record: {line[:80]!r}")
        reason = values.get("reason")
        return cls(
            **{
                **values,
                "outcome": Outcome(values["outcome"]),
                "reason": None if reason is None else SkipReason(reason),
            }
        )


_FIELDS = tuple(item.name for item in fields(FrameRecord))


def read_records(path: Path) -> Iterator[FrameRecord]:
    """Yield the records of a `frames.jsonl`. Raises ``ValueError`` with the line number."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield FrameRecord.from_json(line)
            except (TypeError, ValueError) as error:
                raise ValueError(f"'{path}' line {number}: {error}") from error
