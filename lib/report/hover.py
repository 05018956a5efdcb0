"""Values that stand in a figure for whoever points at it: the <title> elements of an SVG, which need no script."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence

from markupsafe import escape
from matplotlib.artist import Artist

MARK = "values:"  # before an artist's texts, which matplotlib writes as the id of its group


def tell(artist: Artist, texts: Sequence[str]) -> None:
    """Let an artist tell these texts when it is pointed at: one for the whole of it, or one for each of its markers."""
    artist.set_gid(MARK + base64.urlsafe_b64encode(json.dumps(list(texts)).encode()).decode())


def with_values(svg: str) -> str:
    """Return an SVG by matplotlib with a <title> for each text of `tell`."""
    parts, end = [], 0
    for found in re.finditer(rf'<g id="{MARK}([\w=-]*)">', svg):
        texts = json.loads(base64.urlsafe_b64decode(found[1]))
        parts.append(svg[end : found.start()] + "<g>")
        end = group_end(svg, found.end())
        group = svg[found.end() : end]
        parts.append(_title(texts[0]) + group if len(texts) == 1 else _in_markers(group, texts))
    return "".join([*parts, svg[end:]])


def group_end(svg: str, start: int) -> int:
    """Return where the </g> begins that closes the group whose content begins at `start`."""
    depth = 1
    for found in re.finditer(r"<g\b|</g>", svg[start:]):
        depth += -1 if found[0] == "</g>" else 1
        if not depth:
            return start + found.start()
    raise ValueError("a group of the SVG has no end")


def _in_markers(group: str, texts: Sequence[str]) -> str:
    """Return a group with a text in each of its markers, which matplotlib writes in order.

    Raises ValueError if it has another number of markers.
    """
    markers = re.findall(r"<use [^>]*/>", group)
    if len(markers) != len(texts):
        raise ValueError(f"expected {len(texts)} markers in the figure, got {len(markers)}")
    rest = iter(texts)
    return re.sub(r"(<use [^>]*?)\s*/>", lambda found: f"{found[1]}>{_title(next(rest))}</use>", group)


def _title(text: str) -> str:
    return f"<title>{escape(text)}</title>"
