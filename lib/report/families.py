"""The page's section about every kind of map."""

from __future__ import annotations

from collections.abc import Sequence

from lib.evaluation.results import MappingResults, MapResults, Results
from lib.report.blocks import Block, Folded, Note, Section, Table
from lib.report.cells import direction, interval, loss_points, number, percent, probability, right_of
from lib.report.findings import Findings


def families_section(findings: Findings) -> Section | None:
    """Return the accuracy and the error of each kind of map beside each other; None if there is one kind alone."""
    results, others = findings.results, findings.families
    if not others:
        return None
    entries: list[MappingResults | MapResults] = [*results["mappings"], *others]
    names = list(dict.fromkeys(entry["family"] for entry in entries))
    text = (
        "Accuracy: of the target's classifier with mapped features. E: error of the mapped features on the evaluation "
        "images, 0 where each points the same way as the target's own, 2 where it stands at a right angle to it. The "
        "ridge of least_squares is the one whose maps give the target's classifier the nearest scores in "
        "cross-validation: it sees that classifier, but no label."
    )
    blocks: list[Block] = [Note(text)]
    if "classifiers" in names:
        blocks.append(Note(classifiers_statement(results)))
    few = few_rows_statement(results)
    if few:
        blocks.append(Note(few))
    blocks.append(families_table(results, entries, names))
    blocks.append(Folded("All numbers of each kind of map", all_numbers(entries)))
    return Section("families", "Other kinds of map", blocks)


def families_table(results: Results, entries: Sequence[MappingResults | MapResults], names: Sequence[str]) -> Table:
    """Return a row for each direction, with accuracy and E of each kind of map."""
    found = {(entry["source"], entry["target"], entry["family"]): entry for entry in entries}
    networks, rows = results["networks"], []
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        cells = [direction(mapping), percent(networks[target]), percent(networks[source])]
        for name in names:
            entry = found.get((source, target, name))
            cells += [percent(entry), number(entry["validation_error"], 4)] if entry else ["", ""]
        rows.append(tuple(cells))
    header = ("direction", "target's", "source's", *["accuracy %", "E"] * len(names))
    groups = [("", 1), ("own accuracy %", 2), *((name, 2) for name in names)]
    return Table(header, rows, "Accuracy and error of each kind of map.", groups=groups)


def few_rows_statement(results: Results) -> str:
    """Return what it means that training images are fewer than features; "" if they are not."""
    rows = results["images"]["train"]["extracted"] if "train" in results["images"] else 0
    wide = [name for name, network in results["networks"].items() if rows and network["feature_size"] > rows]
    if not wide:
        return ""
    return (
        f"The {rows:,} training images are fewer than the features of {', '.join(wide)}. Closed forms are then those "
        "of least norm: directions of the features that no training image reaches have no part in them."
    )


def classifiers_statement(results: Results) -> str:
    """Return what the map that is made from the two classifiers shows, and what it does not show."""
    text = (
        "The “classifiers” map is made from the two classifiers alone, without an image (after arXiv 2010.02323); a "
        "background class that only one of them has is left out. "
        "Where the target's number of features d_T is at least the number of classes, and its classifier's weight W_T "
        "has full row rank, this map gives the target's classifier exactly the source's scores: its accuracy is the "
        "source's own, which may be far from the target's. So a map that keeps the source's accuracy always exists "
        "there. What the paper shows is that fitting the features alone by Adam, without labels or classifiers, comes "
        "near it. The error E is where the two kinds of map differ."
    )
    networks = results["networks"]
    known = [name for name in networks if networks[name].get("classes")]
    small = [name for name in known if networks[name]["feature_size"] < networks[name]["classes"]]
    if small:
        text += f" Here that does not hold for the classifiers of {', '.join(small)}: they have too few features."
    elif known and len(known) == len(networks):
        text += " Here every network has at least as many features as classes."
    return text


def all_numbers(entries: Sequence[MappingResults | MapResults]) -> Table:
    """Return every number of every full map."""
    header = (
        *("direction", "kind of map", "right", "accuracy %", "loss, points", "95 % interval", "fixed", "broken"),
        *("p, Holm-corrected", "E while fitting", "E", "length ratio", "cosine", "skill", "R²"),
    )
    rows = [
        (
            *(direction(entry), entry["family"], right_of(entry), percent(entry), loss_points(entry)),
            interval(entry["loss_ci95"]),
            *(f"{entry['fixed']:,}", f"{entry['broken']:,}"),
            probability(entry.get("p_holm")),
            *(number(entry.get("fit_error"), 4), number(entry.get("validation_error"), 4)),
            number(entry.get("length_ratio"), 3),
            *(number(entry.get("cosine"), 4), number(entry.get("skill"), 4), number(entry.get("r2"), 4)),
        )
        for entry in entries
    ]
    return Table(header, rows, "All numbers of each kind of map.")
