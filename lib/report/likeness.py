"""The page's sections about likeness: of the features without a map, and of the answers image by image."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

from lib.evaluation.results import Calibrated, Results
from lib.report.blocks import Note, Section, Table
from lib.report.cells import Row, direction, interval, number, probability


def measures_section(results: Results) -> Section | None:
    """Return how alike two networks' features are before any map is fitted; None if that was not measured."""
    if not results.get("measures"):
        return None
    text = (
        "How alike the features are as they come, without a map. CKA: linear centred kernel alignment, 0 to 1; few "
        "images make it large by chance alone, the unbiased estimate is near 0 for unrelated features. Shared "
        "neighbours: share of an image's k nearest images that both networks agree on, and what chance would give. "
        "Procrustes angle: what is left between the features after the best rotation, 0° for a rotation of each other, "
        "90° if nothing is shared. Against chance: the unbiased CKA and the shared neighbours, from 0, where 5 % of "
        "random orders of the images come, to 1, with the share p of random orders that reach them."
    )
    header = (
        "one network",
        "the other",
        "CKA",
        "unbiased CKA",
        "Procrustes angle",
        "shared neighbours",
        "by chance",
        "k",
        "images",
        "CKA against chance",
        "p",
        "neighbours against chance",
        "p",
    )
    rows = [
        (
            *(row["a"], row["b"], number(row["cka"], 4), number(row.get("cka_unbiased"), 4)),
            degrees(row.get("procrustes_angle")),
            *(number(row["neighbours"], 4), number(row["neighbours_by_chance"], 4)),
            *(f"{row['k']:,}", f"{row['rows']:,}"),
            *against_chance(row.get("cka_calibrated")),
            *against_chance(row.get("neighbours_calibrated")),
        )
        for row in results["measures"]
    ]
    table = Table(header, rows, "Likeness of the features.")
    return Section("measures", "Likeness of the features", [Note(text), table])


def degrees(angle: float | None) -> str:
    """Return an angle of radians in degrees, or blank if there is none."""
    return "" if angle is None else f"{angle * 180 / pi:.1f}°"


def ends(found: Sequence[float] | None) -> str:
    """Return the ends of an interval, or blank if there is none."""
    return "" if found is None else interval(found)


def against_chance(found: Calibrated | None) -> Row:
    """Return a measure's calibrated value and its p, or blanks."""
    return ("", "") if found is None else (number(found["calibrated"], 4), probability(found["p"]))


def agreement_section(results: Results) -> Section | None:
    """Return whether mapped features make the classifier answer as its own features do; None if unknown."""
    rows = [
        (
            direction(mapping),
            *(number(mapping.get("agreement"), 4), number(mapping.get("agreement_by_chance"), 4)),
            *(number(mapping.get("consistency"), 4), number(mapping.get("consistency_by_chance"), 4)),
            number(mapping.get("kappa"), 4),
            ends(mapping.get("kappa_ci95")),
            *(number(mapping.get("cosine"), 4), number(mapping.get("skill"), 4)),
        )
        for mapping in results["mappings"]
        if "agreement" in mapping
    ]
    if not rows:
        return None
    text = (
        "The target's classifier with mapped features against the same with its own. Same answer: share of images "
        "given the same class. Both right or both wrong: share of images; kappa is that share between chance (0) and "
        "always (1). Cosine and skill: how well the mapped features meet the target's own. 1 is perfect; a skill of 0 "
        "is what always answering the mean direction gets."
    )
    header = (
        *("direction", "same answer", "by chance", "both right or both wrong", "by chance", "kappa"),
        "95 % interval of kappa",
        *("cosine", "skill"),
    )
    table = Table(header, rows, "Agreement of mapped and own features.")
    return Section("agreement", "Agreement image by image", [Note(text), table])
