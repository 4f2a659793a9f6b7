# SPDX-License-Identifier: Apache-2.0
"""Build a self-contained HTML page: style, tables and images are in one file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fusion_mamba_ros.perception.image_writer import encode_image

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --band: #f6f8fa; --best: #116329; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 72rem; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
p.note { color: var(--soft); margin: .3rem 0; max-width: 60rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } thead th { background: var(--band); font-weight: 600; }
td.best { color: var(--best); font-weight: 700; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: .6rem 0; } .row figure { flex: 1 1 18rem; max-width: 23rem; }
figcaption { color: var(--soft); font-size: .87rem; }
img, svg { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
code { background: var(--band); padding: .1rem .3rem; border-radius: 3px; }
"""


def page(title: str, sections: Sequence[str]) -> str:
    """Return the whole HTML document. ``sections`` is the HTML output of the functions below."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body><h1>{html.escape(title)}</h1>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def heading(text: str) -> str:
    """Return a section heading."""
    return f"<h2>{html.escape(text)}</h2>"


def note(text: str) -> str:
    """Return a paragraph of small print."""
    return f'<p class="note">{html.escape(text)}</p>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, best: Sequence[tuple[int, int]] = ()) -> str:
    """Return a table. ``best`` holds the (row, column) of the cells to highlight."""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
    marked = set(best)
    lines = []
    for row_index, row in enumerate(rows):
        cells = "".join(
            f"<td{' class=best' if (row_index, column) in marked else ''}>{html.escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        lines.append(f"<tr>{cells}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def row(items: Sequence[str]) -> str:
    """Return items side by side. They wrap in a narrow window."""
    return f'<div class="row">{"".join(items)}</div>'


def chart(figure: Figure, caption: str = "") -> str:
    """Return a matplotlib figure as inline SVG."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight")
    text = buffer.getvalue()
    return f"<figure>{text[text.index('<svg') :]}<figcaption>{html.escape(caption)}</figcaption></figure>"


def figure(image: npt.NDArray[np.uint8], caption: str = "", quality: int = 82) -> str:
    """Return an image (H, W, 3) uint8 RGB as an inline JPEG."""
    source = base64.b64encode(encode_image(image, ".jpg", jpeg_quality=quality)).decode("ascii")
    alt = html.escape(caption, quote=True)
    return f'<figure><img alt="{alt}" src="data:image/jpeg;base64,{source}"><figcaption>{alt}</figcaption></figure>'
