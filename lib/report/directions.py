"""The page's part about one direction at a time: Fig. 5, the loss by class, images that mapping fixed or broke."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from lib.evaluation.results import ClassCounts, MappingResults, Results, ShownExample
from lib.experiment.layout import pair_name
from lib.report.blocks import (
    Block,
    Direction,
    Directions,
    FigureBlock,
    Folded,
    Gallery,
    Note,
    Section,
    Table,
    Thumbnail,
)
from lib.report.cells import Row, direction

SHOWN = 30  # classes that stand open
ALL_ROWS = 40_000  # classes of all directions together that a page can hold and still open on a phone
CHOICE = 3  # directions from which one is chosen, instead of showing all beside each other
TITLES = {
    "fixed": "Fixed: wrong with its own features, right with mapped ones",
    "broken": "Broken: right with its own features, wrong with mapped ones",
}


def directions_section(results: Results, figures: Mapping[str, str], examples: Sequence[ShownExample]) -> Section:
    """Return all directions. `figures` has the <svg> of each region_figure."""
    mappings = results["mappings"]
    everything = sum(len(mapping.get("classes") or []) for mapping in mappings) <= ALL_ROWS
    shown = []
    for mapping in mappings:
        pair = (mapping["source"], mapping["target"])
        own = [example for example in examples if (example["source"], example["target"]) == pair]
        columns: list[list[Block]] = [[regions_figure(mapping, figures[region_figure(*pair)])]]
        classes = class_blocks(mapping, everything)
        if classes:
            columns.append(classes)
        shown.append(Direction(direction(mapping), columns, galleries(own)))
    body = Directions(shown, chosen=len(mappings) >= CHOICE)
    return Section("directions", "Fig. 5: which images each composition gets right", [body])


def region_figure(source: str, target: str) -> str:
    """Return the file name, without suffix, of a direction's Fig. 5."""
    return f"regions_{pair_name(source, target)}".replace("/", "_")


def regions_figure(mapping: MappingResults, svg: str) -> FigureBlock:
    """Return Fig. 5 with its counts in words."""
    source, target = mapping["source"], mapping["target"]
    right = {"target": f"{target} → {target}", "source": f"{source} → {source}", "mapped": f"{source} → {target}"}
    counts = []
    for region, count in mapping["regions"].items():
        who = [right[member] for member in region.split("+") if member in right]
        name = "none" if not who else "all three" if len(who) == len(right) else " and ".join(who)
        counts.append(f"{name} {count:,}")
    return FigureBlock(svg, f"{source} to {target}, images by which compositions are right: {'; '.join(counts)}.")


def class_blocks(mapping: MappingResults, everything: bool) -> list[Block]:
    """Return the loss by class, the biggest first. SHOWN classes are open; others are folded if they have room."""
    counted = [row for row in mapping.get("classes") or [] if row["total"]]
    if not counted:
        return []
    ranked = sorted(counted, key=lambda row: ((row["mapped"] - row["own"]) / row["total"], row["label"]))
    rows = [class_row(row) for row in ranked]
    header = ("class", "images", "own %", "mapped %", "loss, points")
    title, count = direction(mapping), len(rows)
    if count <= SHOWN:
        return [Table(header, rows, f"{title}: loss by class.")]
    first = Table(header, rows[:SHOWN], f"{title}: the {SHOWN} of {count:,} classes with the biggest losses.")
    if not everything:
        return [first, Note(f"The other {count - SHOWN:,} classes are in results.json.")]
    rest = Table(header, rows[SHOWN:], f"{title}: the other classes.")
    return [first, Folded(f"The other {count - SHOWN:,} classes", rest)]


def class_row(row: ClassCounts) -> Row:
    """Return one class as cells."""
    own, mapped = 100 * row["own"] / row["total"], 100 * row["mapped"] / row["total"]
    name = row.get("name")
    # The loss comes from the counts, since 100 * 0.3 - 100 * 0.2 is not 10.
    loss = 100 * (row["own"] - row["mapped"]) / row["total"]
    label = f"class {row['label']}" if name is None else name
    return label, f"{row['total']:,}", f"{own:.1f}", f"{mapped:.1f}", f"{loss:.1f}"


def galleries(examples: Sequence[ShownExample]) -> list[Gallery]:
    """Return the fixed and the broken images of a direction."""
    found = []
    for kind, title in TITLES.items():
        thumbnails = [thumbnail_of(example) for example in examples if example["kind"] == kind]
        if thumbnails:
            found.append(Gallery(title, thumbnails))
    return found


def thumbnail_of(example: ShownExample) -> Thumbnail:
    """Return one image with its label and both answers."""
    lines = [
        f"{what}: {name or f'class {number}'}"
        for what, name, number in (
            ("label", example["label_name"], example["label"]),
            ("own", example["own_name"], example["own"]),
            ("mapped", example["mapped_name"], example["mapped"]),
        )
        if number is not None
    ]
    data = base64.b64encode(example["jpeg"] or b"").decode()
    alt = f"Image {example['image_id']}, {example['kind']}. {'; '.join(lines)}"
    return Thumbnail(f"data:image/jpeg;base64,{data}", alt, lines)
