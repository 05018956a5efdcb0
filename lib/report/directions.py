"""The page's part about one direction at a time: Fig. 5, the loss by class, images that mapping fixed or broke."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from lib.evaluation.chance import LEVEL
from lib.evaluation.results import ClassCounts, Example, MappingResults
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
from lib.report.cells import Row, direction, number, probability
from lib.report.findings import Findings

SHOWN = 30  # classes that stand open
ALL_ROWS = 40_000  # classes of all directions together that a page can hold and still open on a phone
CHOICE = 3  # directions from which one is chosen, instead of showing all beside each other
REGIONS_READ = (
    "a circle holds the images that one composition gets right; where circles overlap, several get them right. Grey is "
    "the target's classifier with mapped features."
)
TITLES = {
    "fixed": "Fixed: wrong with its own features, right with mapped ones",
    "broken": "Broken: right with its own features, wrong with mapped ones",
}


def directions_section(findings: Findings, figures: Mapping[str, str]) -> Section:
    """Return all directions. `figures` has the <svg> of each region_figure."""
    mappings = findings.results["mappings"]
    counts = [findings.class_counts(mapping["source"], mapping["target"]) for mapping in mappings]
    everything = sum(map(len, counts)) <= ALL_ROWS
    shown = []
    for mapping, counted in zip(mappings, counts, strict=True):
        pair = (mapping["source"], mapping["target"])
        names = (findings.name(mapping["source"]), findings.name(mapping["target"]))
        columns: list[list[Block]] = [[regions_figure(mapping, figures[region_figure(*names)])]]
        classes = class_blocks(direction(mapping), counted, everything, f"classes/{names[1]}.parquet")
        if classes:
            columns.append(classes)
        images = galleries(findings.examples_of(*pair), findings.thumbnails)
        shown.append(Direction(pair_name(*names), direction(mapping), columns, images))
    body = Directions(shown, chosen=len(mappings) >= CHOICE)
    return Section("directions", "Fig. 5: which images each composition gets right", [body])


def region_figure(source: str, target: str) -> str:
    """Return the file name, without suffix, of a direction's Fig. 5."""
    return f"regions_{pair_name(source, target)}".replace("/", "_")


def regions_figure(mapping: MappingResults, svg: str) -> FigureBlock:
    """Return Fig. 5 with its counts in words."""
    source, target = mapping["source"], mapping["target"]
    right = {"target": f"{target} itself", "source": f"{source} itself", "mapped": "mapped"}
    counts = []
    for region, count in mapping["regions"].items():
        who = [right[member] for member in region.split("+") if member in right]
        name = "none" if not who else "all three" if len(who) == len(right) else " and ".join(who)
        counts.append(f"{name} {count:,}")
    caption = f"{source} to {target}, images by which of the three are right: {'; '.join(counts)}."
    return FigureBlock(svg, caption, REGIONS_READ)


def class_blocks(title: str, counted: Sequence[ClassCounts], everything: bool, file: str) -> list[Block]:
    """Return the loss by class, in the order of `counted`, the greatest shrunken loss first.

    SHOWN classes are open; others are folded if they have room, else they are in `file`. Classes of one image are not
    ranked.
    """
    ranked = [row for row in counted if row["total"] > 1]
    single = len(counted) - len(ranked)
    notes: list[Block] = [Note(f"{single:,} classes have one image, which ranks nothing.")] if single else []
    if not ranked:
        return notes
    rows = [class_row(row) for row in ranked]
    header = ("class", "images", "own %", "mapped %", "loss, points", "shrunken loss", "q")
    count = len(rows)
    found = sum(row["q_value"] < LEVEL for row in ranked)
    text = (
        f"{found:,} of {count:,} classes change by more than chance explains (exact tests, 5 % false discoveries: q < "
        "0.05). Shrunken loss: drawn towards the loss of all images as far as chance explains the difference."
    )
    notes.insert(0, Note(text))
    if count <= SHOWN:
        return [Table(header, rows, f"{title}: loss by class."), *notes]
    first = Table(header, rows[:SHOWN], f"{title}: the {SHOWN} of {count:,} classes with the biggest shrunken losses.")
    if not everything:
        return [first, *notes, Note(f"The other {count - SHOWN:,} are in {file}.")]
    rest = Table(header, rows[SHOWN:], f"{title}: the other classes.")
    return [first, *notes, Folded(f"The other {count - SHOWN:,} classes", rest)]


def class_row(row: ClassCounts) -> Row:
    """Return one class as cells."""
    own, mapped = 100 * row["own"] / row["total"], 100 * row["mapped"] / row["total"]
    name = row.get("name")
    # The loss comes from the counts, since 100 * 0.3 - 100 * 0.2 is not 10.
    loss = 100 * (row["own"] - row["mapped"]) / row["total"]
    label = f"class {row['label']}" if name is None else name
    shares = (f"{own:.1f}", f"{mapped:.1f}", f"{loss:.1f}", number(row["shrunken_loss"], 1))
    return label, f"{row['total']:,}", *shares, probability(row["q_value"])


def galleries(examples: Sequence[Example], pictures: Mapping[str, bytes | None]) -> list[Gallery]:
    """Return the fixed and the broken images of a direction."""
    found = []
    for kind, title in TITLES.items():
        thumbnails = [
            thumbnail_of(example, pictures.get(example["image_id"])) for example in examples if example["kind"] == kind
        ]
        if thumbnails:
            found.append(Gallery(title, thumbnails))
    return found


def thumbnail_of(example: Example, jpeg: bytes | None) -> Thumbnail:
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
    alt = f"Image {example['image_id']}, {example['kind']}. {'; '.join(lines)}"
    return Thumbnail(picture_address(jpeg), alt, lines)


def picture_address(jpeg: bytes | None) -> str:
    """Return a JPEG as an address that a page can show without fetching anything."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg or b'').decode()}"
