# SPDX-License-Identifier: Apache-2.0
"""Judge whether arrays are published as often as cameras and inference allow, whatever the cause."""

from __future__ import annotations

from fusion_mamba_ros.ros.detector.health import Level, Observation, Status

# Least delay from WARN to ERROR.
LEAST_ERROR_DELAY_SEC = 2.0


def output_status(seen: Observation) -> Status:
    """Return the `output` status: whether arrays are published in time.

    The time between two arrays may be the pairing timeout (if a camera stops), plus one period of the slower camera,
    plus two inferences (one may have just begun without the newest pair). A longer time is WARN. It
    becomes ERROR after a further delay: twice the sum without the pairing timeout, at least two seconds.
    """
    status = Status("output")
    summary, last = seen.summary, seen.summary.last_output
    pace_sec = _pace_sec(seen)
    warn_sec = seen.pairing_timeout_sec + pace_sec
    error_sec = warn_sec + max(2 * pace_sec, LEAST_ERROR_DELAY_SEC)
    since_ns = seen.active_since_ns if last is None else last.steady_ns
    age_sec = (seen.steady_ns - since_ns) * 1e-9
    status.values["mode"] = "none" if last is None or age_sec > warn_sec else last.mode
    status.values["output rate (Hz)"] = summary.output_rate_hz
    status.values["age of last output (s)"] = None if last is None else age_sec
    status.values["allowed age of last output (s)"] = warn_sec
    status.values["output age p50 (ms)"] = summary.age_ms_p50
    status.values["output age p95 (ms)"] = summary.age_ms_p95
    if not seen.active:
        status.messages.append("inactive")
    elif age_sec > warn_sec:
        level = Level.ERROR if age_sec > error_sec else Level.WARN
        status.note(level, f"no output for {age_sec:.1f} s: cameras and inference allow {warn_sec:.1f} s")
    return status


def _pace_sec(seen: Observation) -> float:
    """Return the period of the slowest delivering camera plus the typical time of two inferences, in seconds.

    Two of each camera pair, where pairs share an inference thread. Contributions are a part of an inference here.
    """
    rates_hz = [rate for camera, rate in seen.summary.input_rates_hz.items() if camera not in seen.missing and rate > 0]
    return 1.0 / min(rates_hz, default=float("inf")) + 2 * seen.turns * seen.inference.pace_sec
