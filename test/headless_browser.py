# SPDX-License-Identifier: Apache-2.0
"""Open a page in a headless Chromium that reaches no network, and note what it complains about."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REQUIRED = "FUSION_MAMBA_REQUIRE_BROWSER"
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Complaints:
    """What went wrong while a page was open: console errors and exceptions, and requests other than for the page."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def missing_browser() -> str | None:
    """Return in one sentence what is missing to open pages, None if nothing is."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "the package playwright is not installed: pip install '.[test]'"
    if not any(map(shutil.which, _NAMES)):
        return f"no Chromium found ({', '.join(_NAMES)}): apt-get install chromium"
    return None


@contextmanager
def browser() -> Iterator[Any]:
    """Yield a headless Chromium. Without one, skip the test, or fail it if the environment requires a browser."""
    missing = missing_browser()
    if missing is not None:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, but {missing}", pytrace=False)
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, _NAMES)))
    with sync_playwright() as playwright:
        # No sandbox: the tests may run as root in a container, on pages of their own.
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            yield chromium
        finally:
            chromium.close()


def open_page(chromium: Any, path: Path, *, width: int = 1280, dark: bool = False) -> tuple[Any, Complaints]:
    """Return the page of the file ``path`` and the complaints, to which those of later actions are added."""
    complaints = Complaints()
    address = path.resolve().as_uri()
    context = chromium.new_context(
        offline=True, color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900}
    )
    page = context.new_page()

    def note_request(request: Any) -> None:
        if request.url != address and not request.url.startswith("data:"):
            complaints.requests.append(request.url)

    page.on("request", note_request)
    page.on("console", lambda message: complaints.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.errors.append(str(error)))
    page.goto(address)
    # An answer of the page comes after its earlier messages.
    page.evaluate("document.title")
    return page, complaints
