"""The paper's Table 1 from results.json: as cells, as Markdown for a terminal, and as a section of the page."""

from __future__ import annotations

from lib.evaluation.chance import maybe_chance
from lib.evaluation.results import MappingResults, Results
from lib.report.blocks import Note, Section, Table
from lib.report.cells import (
    PROBE,
    Row,
    direction,
    fitted,
    interval,
    loss_points,
    margin_words,
    markdown,
    number,
    percent,
    probability,
    right_of,
)

HOLM, OUTCOME = "p (Holm)", "outcome"
CHANCE = "chance?"
ENDS = 10  # directions with the least and with the most loss that stand for all of many networks


def table1_rows(results: Results) -> tuple[Row, list[Row]]:
    """Return Table 1 as text: its header and a row for each composition, own ones first."""
    header = table1_header(results)
    own = [own_row(results, name, header) for name, network in results["networks"].items() if "accuracy" in network]
    return header, [*own, *(mapping_row(results, mapping, header) for mapping in results["mappings"])]


def ends_rows(results: Results) -> tuple[Row, list[Row]]:
    """Return Table 1's header and its ENDS rows with the least loss and with the most."""
    ranked = sorted(results["mappings"], key=lambda mapping: mapping["loss"])
    header = table1_header(results)
    return header, [mapping_row(results, mapping, header) for mapping in [*ranked[:ENDS], *ranked[-ENDS:]]]


def table1_header(results: Results) -> Row:
    """Return the titles of Table 1's columns."""
    tested = any(mapping.get("p_holm") is not None for mapping in results["mappings"])
    header = [
        *("features → classifier", "right", "accuracy %", "loss, points", "95 % interval"),
        *([OUTCOME] if any("outcome" in mapping for mapping in results["mappings"]) else []),
        *([HOLM] if tested else []),
        *("fixed", "broken", "E", "length ratio"),
    ]
    sources = sorted({row["source"] for row in results.get("published", [])})
    if sources:
        header += [f"{what}, printed in {'; '.join(sources)}" for what in ("right", "accuracy %", "loss")]
    return tuple(header)


def own_row(results: Results, name: str, header: Row) -> Row:
    """Return a network's own composition, with blank cells under what only mapped ones have."""
    network = results["networks"][name]
    printed = _printed(results, name, name)
    blanks = len(header) - 3 - len(printed)
    return (f"{name} → {name}{fitted(network)}", right_of(network), percent(network), *[""] * blanks, *printed)


def mapping_row(results: Results, mapping: MappingResults, header: Row) -> Row:
    """Return a mapped composition."""
    kind = f"mapped, {CHANCE}" if maybe_chance(mapping) else "mapped"
    return (
        f"{direction(mapping)} ({kind})",
        *(right_of(mapping), percent(mapping), loss_points(mapping), interval(mapping["loss_ci95"])),
        *([mapping.get("outcome", "")] if OUTCOME in header else []),
        *([probability(mapping.get("p_holm"))] if HOLM in header else []),
        *(f"{mapping['fixed']:,}", f"{mapping['broken']:,}"),
        number(mapping["validation_error"], 4),
        number(mapping["length_ratio"], 3),
        *_printed(results, mapping["source"], mapping["target"]),
    )


def _printed(results: Results, features: str, classifier: str) -> list[str]:
    """Return the published values of one composition: blank cells if only others have some, none if there are none."""
    published = results.get("published", [])
    if not published:
        return []
    for row in published:
        if (row["features"], row["classifier"]) == (features, classifier):
            correct = row.get("correct")
            # str, not a format, so that a printed 78.0 stays 78.0
            rest = ["" if value is None else str(value) for value in (row.get("accuracy"), row.get("loss"))]
            return ["" if correct is None else f"{correct:,}", *rest]
    return ["", "", ""]


def table1_markdown(results: Results) -> str:
    """Return Table 1 as Markdown, with aligned columns for a terminal."""
    return markdown(*table1_rows(results))


def table1_section(results: Results) -> Section:
    """Return Table 1 with an explanation of its columns."""
    header, body = table1_rows(results)
    text = (
        "Loss: points of accuracy that the classifier loses when its own features are replaced by mapped ones; "
        "negative is a gain. Fixed and broken: images that mapping turns from wrong to right, and from right to wrong. "
        "E: mean error of the mapped features on the evaluation images. Length ratio: the length of an image's mapped "
        "features over that of the classifier's own, in the mean over the images. The interval covers the evaluation "
        "images alone: other training images or random numbers would give another map."
    )
    if HOLM in header:
        text += (
            " p: how often chance alone would change the accuracy by this much or more, corrected for all directions "
            "being tested at once (Holm)."
        )
    if OUTCOME in header:
        text += (
            f" Outcome: equivalent where a loss or gain of {margin_words(results)} or more is excluded, different "
            "where the accuracy changes by more than chance explains, else undecided; tests at 5 %, so corrected."
        )
    if any(CHANCE in row[0] for row in body):
        text += (
            f" “{CHANCE}”: not distinguishable from chance, which gets right what the same answers would if they were "
            "dealt to the images at random (binomial test, p > 0.05, corrected for all directions)."
        )
    if any(PROBE in row[0] for row in body):
        text += (
            f" {PROBE.strip()}: this classifier is not the network's own, but linear and fitted with the training "
            "images' labels on its own features; the map that feeds it saw none."
        )
    table = Table(header, body, "Right answers on the evaluation images.")
    return Section("table1", "Table 1: accuracy of each composition", [Note(text), table])
