# SPDX-License-Identifier: Apache-2.0
"""Evaluate many bags, each in a worker process, and summarise them."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fusion_mamba_ros.evaluation.bag_evaluation.bag_job import (
    BagJob,
    JobResult,
    is_finished,
    make_job,
    run_job,
    write_result,
)
from fusion_mamba_ros.evaluation.bag_evaluation.bag_list import ListedBag
from fusion_mamba_ros.evaluation.bag_evaluation.options import BagEvaluationOptions
from fusion_mamba_ros.evaluation.bag_evaluation.ray_workers import run_on_ray
from fusion_mamba_ros.evaluation.bag_evaluation.scenario import Scenario
from fusion_mamba_ros.evaluation.bag_evaluation.summary import EvaluatedBag, Summary, summarise_bags
from fusion_mamba_ros.evaluation.bag_evaluation.worker_processes import Ended, run_in_processes
from fusion_mamba_ros.evaluation.bag_report.fleet_page import fleet_page
from fusion_mamba_ros.evaluation.bag_report.page import PAGE_FILE
from fusion_mamba_ros.evaluation.bag_report.report_files import PageOptions
from fusion_mamba_ros.perception.atomic_write import write_atomically

SUMMARY_FILE = "summary.json"
RunJob = Callable[[BagJob], JobResult]


@dataclass(frozen=True)
class FleetOptions:
    """How the bags are distributed: ``workers`` processes on this machine, or a Ray cluster (address or `local`)."""

    workers: int = 1
    ray: str | None = None


@dataclass(frozen=True)
class FleetEvents:
    """Callbacks: a bag was already evaluated, has ended (with its error), or its worker died and it runs again."""

    on_skipped: Callable[[ListedBag], None] = lambda bag: None
    on_ended: Callable[[ListedBag, str | None], None] = lambda bag, error: None
    on_retry: Callable[[ListedBag, str], None] = lambda bag, error: None


def evaluate_bags(
    bags: Sequence[ListedBag],
    options: BagEvaluationOptions,
    out: Path,
    *,
    scenario: Scenario | None = None,
    fleet: FleetOptions | None = None,
    events: FleetEvents | None = None,
    run: RunJob = run_job,
    page: PageOptions | None = None,
) -> Summary:
    """Evaluate ``bags``, write their files to ``out/NAME`` and `summary.json` to ``out``, and return the summary.

    `report.html` is written to all these folders. A bag whose result in ``out`` has the same fingerprint is not
    evaluated again. Only this process writes, so that a worker that dies leaves no part of a result. ``run`` evaluates
    one bag in a worker.
    """
    events = events or FleetEvents()
    page = page or PageOptions()
    by_name = {bag.name: bag for bag in bags}
    fingerprints, jobs = {}, []
    for bag in bags:
        job = make_job(bag, options, scenario, page)
        fingerprints[bag.name] = job.fingerprint()
        if is_finished(out / bag.name, fingerprints[bag.name]):
            events.on_skipped(bag)
        else:
            jobs.append(job)
    errors: dict[str, str] = {}
    with closing(_run(run, jobs, fleet or FleetOptions(), events)) as ended:
        for item in ended:
            bag = item.job.bag
            result = item.result
            error = item.error if result is None else result.error
            if result is not None and result.files is not None:
                write_result(out / bag.name, result, fingerprints[bag.name])
            else:
                errors[bag.name] = error or "no result"
            events.on_ended(bag, error)
    results = {}
    for name in by_name.keys() - errors.keys():
        try:
            results[name] = EvaluatedBag.read(out / name)
        except ValueError as error:
            errors[name] = str(error)
    summary = summarise_bags(bags, results, errors)
    write_atomically(out / PAGE_FILE, fleet_page(summary, out, command=page.command, most_worst=page.worst))
    write_atomically(out / SUMMARY_FILE, (json.dumps(summary, indent=1) + "\n").encode())
    return summary


def _run(
    run: RunJob, jobs: Sequence[BagJob], fleet: FleetOptions, events: FleetEvents
) -> Generator[Ended[BagJob, JobResult], None, None]:
    if not jobs:
        return
    start = run_in_processes if fleet.ray is None else partial(run_on_ray, address=fleet.ray)
    yield from start(run, jobs, workers=fleet.workers, on_retry=lambda job, error: events.on_retry(job.bag, error))
