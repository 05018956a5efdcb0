"""The report's part about one direction at a time: Fig. 5, the loss by class, images that mapping fixed or broke."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lib.report.cells import Row, direction
from lib.report.page import Section, render_figure, render_folded, render_table

SHOWN = 30  # classes that stand open
ALL_ROWS = 40_000  # classes of all directions together that a page can hold and still open on a phone
CHOICE = 3  # directions from which one is chosen, and not all shown beside each other
Example = dict[str, Any]


def directions_section(results: dict[str, Any], figures: Mapping[str, str], examples: Sequence[Example]) -> Section:
    """All directions. With script and CHOICE or more of them a <select> shows one, without script all are there."""
    mappings = results["mappings"]
    everything = sum(len(mapping.get("classes") or []) for mapping in mappings) <= ALL_ROWS
    parts = []
    for k, mapping in enumerate(mappings):
        pair = (mapping["source"], mapping["target"])
        own = [example for example in examples if (example["source"], example["target"]) == pair]
        beside = _regions(mapping, figures[region_figure(*pair)]), _classes(mapping, everything)
        parts.append(
            f'<article data-direction="{k}"><h3>{escape(direction(mapping))}</h3>'
            f'<div class="parts">{"".join(f"<div>{part}</div>" for part in beside if part)}</div>'
            f"{_thumbnails(own, 'fixed')}{_thumbnails(own, 'broken')}</article>"
        )
    body = f'{_chooser(mappings)}<div class="directions">\n{"".join(parts)}\n</div>'
    return Section("directions", "Fig. 5: which images each composition gets right", body)


def region_figure(source: str, target: str) -> str:
    """Fig. 5's file name, without suffix."""
    return f"regions_{source}-to-{target}".replace("/", "_")


def _chooser(mappings: list[dict[str, Any]]) -> str:
    if len(mappings) < CHOICE:
        return ""
    options = "".join(f'<option value="{k}">{escape(direction(each))}</option>' for k, each in enumerate(mappings))
    return f'<p class="chooser" hidden><label>Direction<select id="direction">{options}</select></label></p>'


def _regions(mapping: dict[str, Any], svg: str) -> str:
    source, target = mapping["source"], mapping["target"]
    right = {"target": f"{target} → {target}", "source": f"{source} → {source}", "mapped": f"{source} → {target}"}
    counts = []
    for region, count in mapping["regions"].items():
        who = [right[member] for member in region.split("+") if member in right]
        name = "none" if not who else "all three" if len(who) == len(right) else " and ".join(who)
        counts.append(f"{name} {count:,}")
    return render_figure(svg, f"{source} to {target}, images by which compositions are right: {'; '.join(counts)}.")


def _classes(mapping: dict[str, Any], everything: bool) -> str:
    """Loss by class, the biggest first; SHOWN stand open, and the others under a fold where there is room for them."""
    counted = [row for row in mapping.get("classes") or [] if row["total"]]
    if not counted:
        return ""
    ranked = sorted(counted, key=lambda row: ((row["mapped"] - row["own"]) / row["total"], row["label"]))
    rows = [_class(row) for row in ranked]
    header = ("class", "images", "own %", "mapped %", "loss, points")
    title, count = direction(mapping), len(rows)
    if count <= SHOWN:
        return render_table(header, rows, f"{title}: loss by class.")
    first = render_table(header, rows[:SHOWN], f"{title}: the {SHOWN} of {count:,} classes with the biggest losses.")
    if not everything:
        return f'{first}<p class="note">The other {count - SHOWN:,} classes are in results.json.</p>'
    rest = render_table(header, rows[SHOWN:], f"{title}: the other classes.")
    return first + render_folded(f"The other {count - SHOWN:,} classes", rest)


def _class(row: dict[str, Any]) -> Row:
    own, mapped = 100 * row["own"] / row["total"], 100 * row["mapped"] / row["total"]
    name = f"class {row['label']}" if row.get("name") is None else row["name"]
    # from the counts: 100 * 0.3 - 100 * 0.2 isn't 10
    loss = 100 * (row["own"] - row["mapped"]) / row["total"]
    return name, f"{row['total']:,}", f"{own:.1f}", f"{mapped:.1f}", f"{loss:.1f}"


TITLES = {
    "fixed": "Fixed: wrong with its own features, right with mapped ones",
    "broken": "Broken: right with its own features, wrong with mapped ones",
}


def _thumbnails(examples: Sequence[Example], kind: str) -> str:
    shown = "\n".join(_thumbnail(example) for example in examples if example["kind"] == kind)
    return f'<h4>{TITLES[kind]}</h4>\n<div class="thumbnails">\n{shown}\n</div>' if shown else ""


def _thumbnail(example: Example) -> str:
    names = example.get("names") or {}
    answers = {
        key: names.get(key) or f"class {example[key]}" for key in ("label", "own", "mapped") if example[key] is not None
    }
    told = [f"{key}: {name}" for key, name in answers.items()]
    data = base64.b64encode(example["jpeg"]).decode()
    alt = escape(f"Image {example['image_id']}, {example['kind']}. {'; '.join(told)}")
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" loading="lazy" decoding="async" alt="{alt}" title="{alt}">'
        f"<figcaption>{'<br>'.join(map(escape, told))}</figcaption></figure>"
    )
