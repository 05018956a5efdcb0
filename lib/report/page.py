"""One self-contained HTML page: its frame, tables and figures. Nothing is fetched, and it reads without its script."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from typing import NamedTuple

from lib.report.cells import Row
from lib.report.style import SCRIPT, STYLE

LONG = 24  # characters: a header longer than this gets room, or it would stand one word a line
PIXELS = 4 / 3  # a CSS pixel is 3/4 of a point


class Section(NamedTuple):
    """A part of the page, and where the page's list of contents leads to it."""

    id: str
    heading: str
    body: str  # HTML


def render_page(title: str, lead: str, sections: list[Section]) -> str:
    """The whole page; `lead` is the HTML between the title and the list of contents."""
    contents = "\n".join(f'<a href="#{section.id}">{escape(section.heading)}</a>' for section in sections)
    parts = "\n".join(
        f'<section id="{section.id}">\n<h2>{escape(section.heading)}</h2>\n{section.body}\n</section>'
        for section in sections
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_policy()}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{lead}
<nav aria-label="Contents">
{contents}
</nav>
{parts}
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


def _policy() -> str:
    """Nothing from outside, no script but ours: should an escape ever be forgotten, the browser still runs nothing."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"


def render_table(
    header: Row, body: list[Row], caption: str, kind: str = "numbers", groups: list[tuple[str, int]] | None = None
) -> str:
    """A table that scrolls by itself; the first cell of each row names the row.

    `kind` is its CSS class: "numbers" can be sorted, "listing" can't. `groups` are a line of names above the header,
    each with how many columns it spans.
    """
    words = [any(_is_words(row[k]) for row in body) for k in range(len(header))]
    head = "".join(_header(cell, worded) for cell, worded in zip(header, words, strict=True))
    above = "".join(
        f'<th scope="colgroup" class="group" colspan="{span}">{escape(name)}</th>'
        if name
        else f'<td colspan="{span}"></td>'
        for name, span in groups or []
    )
    lines = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(_cell(cell, worded) for cell, worded in zip(row[1:], words[1:], strict=True))
        + "</tr>"
        for row in body
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="{kind}">'
        f"<caption>{escape(caption)}</caption><thead>{f'<tr>{above}</tr>' if above else ''}<tr>{head}</tr></thead>"
        f"<tbody>\n{lines}\n</tbody></table></div>"
    )


def _is_words(text: str) -> bool:
    return bool(text) and not re.match(r"<? ?[-+]?[\d.]", text)


def _header(text: str, worded: bool) -> str:
    kinds = " ".join([*(["long"] if len(text) > LONG else []), *(["name"] if worded else [])])
    attribute = f' class="{kinds}"' if kinds else ""
    return f'<th scope="col"{attribute}>{escape(text)}</th>'


def _cell(text: str, worded: bool) -> str:
    """A column of words stands to the left, one of numbers to the right."""
    return f"<td{' class=name' if worded else ''}>{escape(text)}</td>"


def render_folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>\n{body}\n</details>"


def render_note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def render_figure(svg: str, caption: str, shrink: float = 0) -> str:
    """An <svg> in a card. `shrink`: to what part of its size it may shrink on a phone, before its card scrolls."""
    found = re.search(r'<svg [^>]*?width="([\d.]+)pt"', svg)
    width = float(found[1]) * PIXELS if found else 600.0
    size = f"max-width:{1.4 * width:.0f}px;min-width:{shrink * width:.0f}px"
    labelled = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" style="{size}" ', 1)
    scroll = f' tabindex="0" role="region" aria-label="{escape(caption)}"' if shrink else ""
    return f'<figure><div class="card"{scroll}>{labelled}</div><figcaption>{escape(caption)}</figcaption></figure>'
