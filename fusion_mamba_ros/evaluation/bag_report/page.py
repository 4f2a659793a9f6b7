# SPDX-License-Identifier: Apache-2.0
"""Render the HTML pages of the evaluation of bags: one file that makes no network request."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

PAGE_FILE = "report.html"
NOT_AVAILABLE = "n/a"
_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, content: Mapping[str, Any]) -> bytes:
    """Return the page of ``template`` as UTF-8. Text in ``content`` is escaped.

    A text that is not UTF-8, for example of a file name, is shown with replacement characters.
    """
    text = _environment().get_template(template).render(**content)
    return text.encode("utf-8", "xmlcharrefreplace")


def figure(value: float | None, digits: int = 3) -> str:
    """Return a figure as text, `n/a` if there is none."""
    return NOT_AVAILABLE if value is None else f"{value:.{digits}f}"


def data_uri(jpeg: bytes) -> str:
    """Return the address that stands for a JPEG file itself."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_TEMPLATES / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    # Files of the package, not text of a user.
    environment.globals |= {
        "style": Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": digest,
    }
    environment.filters |= {"figure": figure, "data_uri": data_uri}
    return environment
