"""The page's sections with a curve of the loss: by rank of the map, by number of training images, and over seeds."""

from __future__ import annotations

from lib.evaluation.results import BriefMapping
from lib.report.blocks import FigureBlock, Folded, Note, Section, Table
from lib.report.cells import Row, direction, loss_points, number, percent, right_of
from lib.report.findings import Findings

# How to read the figures, for one direction.
RANKS = "the loss, from a map that keeps one dimension of the features, at the left, to maps that keep more."
LEARNING = "the loss, from a map that few training images made, at the left, to the map of all."
ERRORS = (
    "the lower a line ends, the more alike mapped and own features are: at 0 all point the same way, at 2 they stand "
    "at right angles."
)
COLOURS = " A line is a direction. Its colour is that of the target, its dashes are those of the source."


def errors_section(svg: str | None) -> Section | None:
    """Return the paper's Fig. 4; None without a figure, as when no map is fitted by Adam."""
    if svg is None:
        return None
    caption = "Error E = |x/|x| - y/|y||² of each batch while the maps are fitted, of the first 10,000 at most."
    title = "Fig. 4: error of the training batches"
    return Section("curves", title, [FigureBlock(svg, caption, ERRORS + COLOURS)])


def ranks_section(findings: Findings, svg: str | None) -> Section | None:
    """Return how many directions of the feature space a map needs; None without a figure."""
    if svg is None:
        return None
    caption = (
        "Loss of maps of rank k. Where a line turns flat, more directions of the features add little that these "
        "evaluation images show."
    )
    header = ("direction", "rank k", "right", "accuracy %", "loss, points", "E")
    rows = [(direction(row), f"{row['rank']:,}", *judged(row)) for row in findings.ranks]
    numbers = Folded("The numbers", Table(header, rows, "Loss of maps of rank k."))
    return Section("ranks", "Loss by rank of the map", [FigureBlock(svg, caption, RANKS + COLOURS), numbers])


def learning_curve_section(findings: Findings, svg: str | None) -> Section | None:
    """Return whether more training images would make a better map; None without a figure."""
    if svg is None:
        return None
    caption = (
        "Loss by the number of training images. A line that still falls at its right end suggests that more images "
        "would make the map better. Points are means over several draws of the training images, and a band goes from "
        "the draw with the least loss to the one with the most: where bands overlap, the line may be flat."
    )
    header = ("direction", "kind of map", "training images", "right", "accuracy %", "loss, points", "E")
    rows = [(direction(row), row["family"], number(row["rows"], 0), *judged(row)) for row in findings.learning_curve]
    numbers = Folded("The numbers", Table(header, rows, "Loss by the number of training images."))
    return Section(
        "learning", "Loss by number of training images", [FigureBlock(svg, caption, LEARNING + COLOURS), numbers]
    )


def seeds_section(findings: Findings) -> Section | None:
    """Return how much the loss depends on the random start and batches; None if there is one seed alone."""
    several = [mapping for mapping in findings.results["mappings"] if "loss_sd" in mapping]
    if not several:
        return None
    text = "The same map fitted again with other random numbers. Table 1 has the first seed's."
    header = ("direction", "seeds", "mean loss, points", "least", "most", "standard deviation")
    spread, single = [], []
    for mapping in several:
        seeds = findings.seeds(mapping["source"], mapping["target"])
        losses = [seed["loss"] for seed in seeds]
        values = (sum(losses) / len(losses), min(losses), max(losses), mapping.get("loss_sd"))
        spread.append((direction(mapping), str(len(losses)), *(number(value, 3) for value in values)))
        for seed in seeds:
            single.append((direction(mapping), str(seed["seed"]), *judged(seed)))
    shown = Table(header, spread, "Spread of the loss over seeds.")
    every = Table(("direction", "seed", "right", "accuracy %", "loss, points", "E"), single, "Every seed.")
    return Section("seeds", "Spread over seeds", [Note(text), shown, Folded("Every seed", every)])


def judged(row: BriefMapping) -> Row:
    """Return a map's right answers, accuracy, loss and E as cells."""
    return right_of(row), percent(row), loss_points(row), number(row["validation_error"], 4)
