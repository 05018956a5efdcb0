"""One self-contained HTML page by Jinja2, which escapes every text. It fetches nothing and reads without a script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lib.report.blocks import Block, Section

TEMPLATES = Path(__file__).parent / "templates"


def render_page(title: str, lead: Sequence[Block], sections: Sequence[Section], numbers: str = "") -> str:
    """Return the whole page. `lead` stands between the title and the list of contents.

    `numbers` is the JSON text of lib.report.pair_numbers, which the page's second script draws; "" if there is none.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    scripts = [(TEMPLATES / "script.js").read_text(), *([(TEMPLATES / "pairs.js").read_text()] if numbers else [])]
    return (
        environment.get_template("page.html")
        .render(
            title=title,
            lead=lead,
            sections=sections,
            style=Markup((TEMPLATES / "style.css").read_text()),  # ours, so it is not escaped
            numbers=Markup(numbers),
            scripts=[Markup(script) for script in scripts],
            policy=Markup(content_policy(scripts)),
        )
        .lstrip()
    )


def content_policy(scripts: Sequence[str]) -> str:
    """Return a policy that allows nothing from outside and no script but ours, should an escape ever be missing."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    ours = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {ours}"
