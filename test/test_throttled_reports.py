# SPDX-License-Identifier: Apache-2.0
"""Reports at the rate of a camera: each kind is seen, none floods the log."""

from __future__ import annotations

from fusion_mamba_ros.ros.throttled_reports import ThrottledReports


class Log:
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.errors: list[str] = []
        self.warning, self.error = self.warnings.append, self.errors.append


def test_one_kind_of_report_does_not_hide_another() -> None:
    log, now_sec = Log(), [100.0]
    reports = ThrottledReports(log, clock=lambda: now_sec[0])
    for _ in range(600):  # 20 s at 30 Hz
        reports.warning("rgb image refused: step 3")
        reports.warning("thermal image refused: no data")
        reports.error("inference failed: out of memory")
        now_sec[0] += 1 / 30
    assert log.warnings == ["rgb image refused: step 3", "thermal image refused: no data"] * 4
    assert log.errors == ["inference failed: out of memory"] * 4


def test_sentences_that_differ_in_their_reason_only_are_of_one_kind() -> None:
    log = Log()
    reports = ThrottledReports(log, clock=lambda: 0.0)
    for size in range(100):
        reports.warning(f"rgb image refused: {size} bytes")
    assert log.warnings == ["rgb image refused: 0 bytes"]
