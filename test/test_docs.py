# SPDX-License-Identifier: Apache-2.0
"""The documentation: it builds without warnings, its pages are sorted by kind, and links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.checkout
ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
KINDS = {"tutorial", "how-to", "reference", "explanation"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
# Sphinx checks the pages in docs/. It does not see these, nor links from pages to files outside docs/.
OUTSIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "weights/README.md"]


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.*)$", CODE_BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    environment = {**os.environ, "FUSION_MAMBA_VENV": sys.prefix}
    command = ["bash", str(ROOT / "tools/docs.sh"), str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr
    api = (tmp_path / "reference/api/perception.html").read_text(encoding="utf-8")
    assert 'id="fusion_mamba_ros.perception.predictor.Predictor.predict"' in api
    parameters = (tmp_path / "reference/parameters.html").read_text(encoding="utf-8")
    assert "score_threshold" in parameters


def test_every_page_has_one_kind() -> None:
    pages = {path.relative_to(DOCS).parts[0] for path in DOCS.rglob("*.md")}
    assert pages == KINDS | {"index.md"}


@pytest.mark.parametrize("page", [*OUTSIDE, *sorted(DOCS.rglob("*.md"))], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_relative_link_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    broken = []
    for link in LINK.findall(CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if link.startswith(("http:", "https:", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_a_page_named_in_the_sources_exists() -> None:
    folders = ("fusion_mamba_ros", "test", "tools", "config", "launch", "benchmarks", "underlay", "msg")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [ROOT / name for name in ("package.xml", "CMakeLists.txt", "setup.py", "pyproject.toml")]
    missing = {
        f"{path.relative_to(ROOT)} names {page}"
        for path in files
        if path.suffix in {".py", ".sh", ".yaml", ".xml", ".toml", ".txt", ".msg"}
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", path.read_text(encoding="utf-8"))
        if not (ROOT / page).exists()
    }
    assert not missing
