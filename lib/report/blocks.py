"""What the page's sections are made of: notes, tables, figures. Each class has a macro in templates/blocks.html."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup, escape

from lib.experiment.layout import TO
from lib.report.cells import Row

LONG = 24  # characters: a longer header gets room, or it would stand one word a line
ENLARGED = 1.15  # how much larger than drawn a figure may be
PIXELS = 4 / 3  # a CSS pixel is 3/4 of a point


@dataclass(frozen=True)
class Note:
    """A paragraph that explains."""

    name: ClassVar[str] = "note"
    text: str


@dataclass(frozen=True)
class VerdictText:
    """The answer, a sentence on each line."""

    name: ClassVar[str] = "verdict"
    text: str

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Each line as the question that it repeats, "" if there is none, and the rest."""
        parts = [line.rpartition("? ") for line in self.text.splitlines()]
        return [(f"{asked}?" if mark else "", rest) for asked, mark, rest in parts]


@dataclass(frozen=True)
class Column:
    """A table's column, as the template needs it."""

    header: str
    worded: bool  # it holds words, so it is aligned to the left

    @property
    def classes(self) -> str:
        """CSS classes of the header's cell."""
        return " ".join([*(["long"] if len(self.header) > LONG else []), *(["name"] if self.worded else [])])


@dataclass(frozen=True)
class Table:
    """A table that scrolls by itself. The first cell of each row names the row.

    `kind` is its CSS class: "numbers" can be sorted, "listing" cannot. `groups` is a line of names above the header,
    each with the number of columns that it spans.
    """

    name: ClassVar[str] = "table"
    header: Row
    body: Sequence[Row]
    caption: str
    kind: str = "numbers"
    groups: Sequence[tuple[str, int]] = ()

    @property
    def columns(self) -> list[Column]:
        """The table's columns."""
        return [Column(header, any(_is_words(row[k]) for row in self.body)) for k, header in enumerate(self.header)]


def _is_words(text: str) -> bool:
    return bool(text) and not re.match(r"<? ?[-+]?[\d.]", text)


@dataclass(frozen=True)
class Cells:
    """What the page's script says of a matrix's cells, and where a click on one leads."""

    names: Sequence[str]  # of networks as addresses have them, for rows and columns
    titles: Sequence[str]
    losses: Sequence[Sequence[float | None]]  # points, rows by columns

    @property
    def between(self) -> str:
        """What stands between source and target in the name of a direction."""
        return TO


@dataclass(frozen=True)
class FigureBlock:
    """An <svg> in a card, with one line above it on how to read it.

    `shrink` is how far it may shrink before its card scrolls; if 0, the card never scrolls.
    """

    name: ClassVar[str] = "figure"
    svg: str
    caption: str
    reading: str
    shrink: float = 0
    cells: Cells | None = None  # of a matrix

    @property
    def scrolls(self) -> bool:
        """Whether the card scrolls."""
        return self.shrink > 0

    @property
    def labelled(self) -> Markup:
        """The <svg> with its size and a label for screen readers. Our own figures write it, so it is not escaped."""
        found = re.search(r'<svg [^>]*?width="([\d.]+)pt"', self.svg)
        width = float(found[1]) * PIXELS if found else 600.0
        size = f"max-width:{ENLARGED * width:.0f}px;min-width:{self.shrink * width:.0f}px"
        attributes = f'<svg role="img" aria-label="{escape(self.caption)}" style="{size}" '
        return Markup(self.svg.replace("<svg ", attributes, 1))


@dataclass(frozen=True)
class Quoted:
    """Text that is to be copied as it is, such as BibTeX."""

    name: ClassVar[str] = "quoted"
    text: str
    label: str


@dataclass(frozen=True)
class Folded:
    """A block that stands folded under a summary."""

    name: ClassVar[str] = "folded"
    summary: str
    body: Block


@dataclass(frozen=True)
class Thumbnail:
    """A small picture with what was answered."""

    source: str  # a data: URI
    alt: str
    lines: Sequence[str]


@dataclass(frozen=True)
class Gallery:
    """Thumbnails under a title."""

    title: str
    thumbnails: Sequence[Thumbnail]


@dataclass(frozen=True)
class Direction:
    """What the page shows of one direction: columns of blocks beside each other, and galleries below."""

    id: str  # to which the page's address leads
    title: str
    columns: Sequence[Sequence[Block]]
    galleries: Sequence[Gallery]


@dataclass(frozen=True)
class Directions:
    """All directions. If one is `chosen`, the script shows it alone; without a script all are there."""

    name: ClassVar[str] = "directions"
    directions: Sequence[Direction]
    chosen: bool


@dataclass(frozen=True)
class PairBrowser:
    """All directions of many networks, which the script draws from the page's numbers: a table, and one chosen pair."""

    name: ClassVar[str] = "pairs"
    without_script: str


Block = Note | VerdictText | Table | FigureBlock | Quoted | Folded | Directions | PairBrowser


@dataclass(frozen=True)
class Section:
    """A part of the page, with the anchor that the list of contents leads to."""

    id: str
    heading: str
    blocks: Sequence[Block]
