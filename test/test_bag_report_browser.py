# SPDX-License-Identifier: Apache-2.0
"""The pages of `eval-bag` and `eval-bags` in a real browser without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from evaluation_bags import BOX, FAR_BOX, Message, boxes, rgb, stamp, thermal, write_bag
from fleet_workers import run_here
from headless_browser import REQUIRED, browser, open_page
from typer.testing import CliRunner

import fusion_mamba_ros.evaluation.bag_evaluation.evaluate_bags as evaluate_bags_module
from fusion_mamba_ros.cli import app

HOSTILE = "</title><script>document.title='hacked'</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the pages of a bag and of a fleet. Class, scenario and topic have names that are HTML."""
    root = tmp_path_factory.mktemp("pages")
    messages: list[Message] = []
    for index in range(12):
        found = [("person", BOX if index % 3 else FAR_BOX, 0.9), (HOSTILE, FAR_BOX, 0.4)]
        messages += [rgb(index), boxes("/ground_truth", index, [("person", BOX, 1.0)])]
        if index < 8:
            messages.append(thermal(index))
        if index != 4:
            late = stamp(index) + 40_000_000 + index * 1_000_000
            messages.append(boxes("/<b>detections</b>", index, found, received_ns=late))
    write_bag(root / "bags" / "a<b>&'\"#?", messages)
    (root / "gate.yaml").write_text(f'name: "{HOSTILE}"\nminimum: {{recall: {{person: 0.9}}}}\n')
    options = ["--detections", "/<b>detections</b>", "--ground-truth", "/ground_truth"]
    options += ["--scenario", str(root / "gate.yaml")]
    result = CliRunner().invoke(
        app, ["eval-bag", str(root / "bags" / "a<b>&'\"#?"), *options, "--out", str(root / "one")]
    )
    assert result.exit_code == 1, result.output
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_bags_module, "run_in_processes", run_here)
        result = CliRunner().invoke(app, ["eval-bags", str(root / "bags"), *options, "--out", str(root / "many")])
    assert result.exit_code == 1, result.output
    return {"bag": root / "one/report.html", "fleet": root / "many/report.html"}


@pytest.mark.parametrize("kind", ["bag", "fleet"])
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_a_page_opens_without_an_error_or_a_request_and_fits_the_window(
    chromium: Any, pages: dict[str, Path], kind: str, width: int, dark: bool
) -> None:
    page, complaints = open_page(chromium, pages[kind], width=width, dark=dark)
    assert (complaints.errors, complaints.requests) == ([], [])
    headings = page.locator("h2").all_inner_texts()
    expected = {
        "bag": ["Scenario", "Accuracy", "Latency", "Timeline", "Coverage and misses", "Worst frames"],
        "fleet": ["Bags", "Classes", "Latency and misses by bag", "Worst frames of all bags"],
    }
    assert [text for text in headings if text in expected[kind]] == expected[kind]
    # Every image is decoded and every chart has data.
    assert page.locator("img").count() >= 4
    assert all(page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth > 0)"))
    points = page.evaluate("[...document.querySelectorAll('.chart')].map(chart => Number(chart.dataset.points))")
    assert len(points) >= 3 and min(points) > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    lightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (max(lightness) < 80) if dark else (min(lightness) > 200)


@pytest.mark.parametrize("kind", ["bag", "fleet"])
def test_names_that_are_html_are_shown_as_text(chromium: Any, pages: dict[str, Path], kind: str) -> None:
    page, complaints = open_page(chromium, pages[kind])
    assert page.title().startswith("Bag evaluation: ")
    assert page.locator("script").count() == 1 and page.locator("b").count() == 0
    assert HOSTILE in page.locator("body").inner_text()
    assert complaints.errors == []


def test_the_worst_frames_are_sorted_with_the_keyboard(chromium: Any, pages: dict[str, Path]) -> None:
    page, complaints = open_page(chromium, pages["bag"])
    seconds = "[...document.querySelectorAll('#worst figure')].map(figure => Number(figure.dataset.seconds))"
    before = page.evaluate(seconds)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "SELECT":
            break
    page.keyboard.type("time")
    assert page.evaluate(seconds) == sorted(before) != before
    assert complaints.errors == []


def test_the_page_of_a_bag_is_linked_from_that_of_the_fleet(chromium: Any, pages: dict[str, Path]) -> None:
    page, _ = open_page(chromium, pages["fleet"])
    page.locator("td a").first.click()
    assert page.title() == "Bag evaluation: a<b>&'\"#?"


def test_the_check_sees_a_request_that_leaves_and_an_error(chromium: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        "<img src='https://example.invalid/x.png'><script>throw Error('broken')</script>"
    )
    _, complaints = open_page(chromium, tmp_path / "page.html")
    assert complaints.requests == ["https://example.invalid/x.png"]
    assert any(error.endswith("broken") for error in complaints.errors), complaints


def test_without_a_browser_the_test_fails_where_one_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match="is set, but"), browser():
        pass
    monkeypatch.delenv(REQUIRED)
    with pytest.raises(pytest.skip.Exception, match=r"no Chromium found|playwright is not installed"), browser():
        pass
