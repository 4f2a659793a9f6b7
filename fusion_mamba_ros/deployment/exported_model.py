# SPDX-License-Identifier: Apache-2.0
"""The layout of an exported model, which exporters and engines share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fusion_mamba_ros.perception.checkpoint_metadata import CheckpointError
from fusion_mamba_ros.perception.documents import DocumentError, check_bounds, parse_json

EXPORT_KEY = "fusion_mamba_export"
"""Name of the metadata property that describes the export."""
EXPORT_FORMAT = 1
"""Version of the layout of exported models. Raise it if an older engine cannot run new files."""
ROWS_OUTPUT = "rows"
"""Output (batch, anchors, 4 + classes): boxes in pixels of the canvas, then scores."""
FINITE_OUTPUT = "finite"
"""Scalar output: NaN or infinite if the network's raw output holds NaN or infinity."""
STRIDES = (8, 16, 32)
"""Strides of the levels of the network. The same as in `network.config`, which needs PyTorch."""
PRECISIONS = ("fp32", "int8")
OPERATOR_SCAN, STANDARD_SCAN = "operator", "standard"
SCANS = (OPERATOR_SCAN, STANDARD_SCAN)
"""How the scan is stored: as the operator of this package, or as standard operators, which need no library."""
_MOST_CHARACTERS = 100_000


@dataclass(frozen=True)
class ExportRecord:
    """How a file was exported: its precision, name and SHA-256 of its checkpoint, and how the scan is stored."""

    precision: str
    source: str
    source_sha256: str
    scan: str = OPERATOR_SCAN


def parse_export_record(text: str | None, source: str) -> ExportRecord:
    """Return the content of the property `EXPORT_KEY`. ``source`` names the file in messages.

    Raises `CheckpointError` if the text is absent, malformed or of a newer format.
    """
    if text is None:
        raise CheckpointError(f"{source} carries no '{EXPORT_KEY}' metadata: export it with 'fusion-mamba export'")
    try:
        if len(text) > _MOST_CHARACTERS:
            raise DocumentError(f"it has {len(text)} characters")
        document: Any = parse_json(text)
        check_bounds(document)
        if not isinstance(document, dict):
            raise DocumentError("it is no mapping")
    except DocumentError as error:
        raise CheckpointError(f"{source} has an unusable export record ({error})") from error
    version, precision = document.get("format"), document.get("precision")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{source} has an unusable export record (format is {str(version)[:20]!r})")
    if version > EXPORT_FORMAT:
        raise CheckpointError(
            f"{source} has export format {version}, this package reads formats up to {EXPORT_FORMAT}: "
            "update fusion_mamba_ros, or export the checkpoint again"
        )
    if precision not in PRECISIONS:
        raise CheckpointError(f"{source} has an unusable export record (precision is {str(precision)[:20]!r})")
    scan = document.get("scan", OPERATOR_SCAN)
    if scan not in SCANS:
        raise CheckpointError(f"{source} has an unusable export record (scan is {str(scan)[:20]!r})")
    return ExportRecord(precision, str(document.get("source", "")), str(document.get("source_sha256", "")), scan)


def anchor_count(width: int, height: int) -> int:
    """Return the number of anchors of a canvas, which is the number of rows for one image."""
    return sum((width // stride) * (height // stride) for stride in STRIDES)
