"""The numbers of many networks' pairs, small enough to travel in the page, whose script draws them.

Everything is a list with one entry for each pair, in the order of results.json's mappings. Networks, classes and images
are named once and then counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.evaluation.regions import REGIONS
from lib.evaluation.results import MappingResults
from lib.experiment.layout import TO
from lib.experiment.variants import Variant
from lib.report.cells import percent_digits
from lib.report.curves import ERRORS, LEARNING, RANKS
from lib.report.directions import picture_address
from lib.report.findings import Findings
from lib.storage.files import for_all, without_nan

CLASSES = 15  # of each pair, those with the greatest shrunken losses
CURVE_POINTS = 40  # of each error curve
CURVE_END = 10_000  # iterations, as the paper's Fig. 4
PICTURES = 5_000_000  # bytes of all thumbnails together

Pair = tuple[str, str]


def pair_numbers(findings: Findings) -> str:
    """Return the JSON text that templates/pairs.js reads, safe to stand inside <script>."""
    mappings = findings.results["mappings"]
    pairs = [(mapping["source"], mapping["target"]) for mapping in mappings]
    place = {pair: number for number, pair in enumerate(pairs)}
    images = Pictures(findings)
    numbers = {
        "between": TO,
        "networks": list(findings.results["networks"]),
        "names": [findings.name(network) for network in findings.results["networks"]],
        "own": [
            round(100 * network["accuracy"], 4) if "accuracy" in network else None
            for network in findings.results["networks"].values()
        ],
        "source": places_of([source for source, _ in pairs], findings),
        "target": places_of([target for _, target in pairs], findings),
        "columns": [*main_columns(findings), *family_columns(findings, place), *measure_columns(findings, pairs)],
        "regions": {"names": REGIONS, "counts": [list(mapping["regions"].values()) for mapping in mappings]},
        "lines": [line for line in (ranks(findings, place), learning_curve(findings, place), errors(findings)) if line],
        "classes": class_counts(findings, place),
        "pictures": images.shown,
        "examples": images.of_pairs(place),
    }
    text = json.dumps(without_nan(numbers), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def places_of(names: Sequence[str], findings: Findings) -> list[int]:
    """Return each network's place among the experiment's."""
    place = {name: number for number, name in enumerate(findings.results["networks"])}
    return [place[name] for name in names]


def column(title: str, digits: int, values: Iterable[float | None], group: str = "") -> dict[str, Any]:
    """Return a column of the table of directions. Values are rounded to what the table shows."""
    shown = [None if value is None else round(value, digits) for value in values]
    return {"title": title, "digits": digits, "group": group, "values": shown}


def main_columns(findings: Findings) -> list[dict[str, Any]]:
    """Return the columns of Table 1, and how alike the answers are."""
    mappings = findings.results["mappings"]
    digits = percent_digits(mappings[0]["total"]) if mappings else 2

    def of(title: str, digits: int, value: Callable[[MappingResults], float | None]) -> dict[str, Any]:
        return column(title, digits, map(value, mappings))

    return [
        of("right", 0, lambda row: row["correct"]),
        of("accuracy %", digits, lambda row: 100 * row["accuracy"]),
        of("loss, points", digits, lambda row: row["loss"]),
        of("95 % from", 2, lambda row: row["loss_ci95"][0]),
        of("95 % to", 2, lambda row: row["loss_ci95"][1]),
        of("p, Holm-corrected", 4, lambda row: row.get("p_holm")) | {"least": 0.0001},
        of("p, equivalent", 4, lambda row: row.get("p_equivalent_holm")) | {"least": 0.0001},
        of("chance %", 2, lambda row: 100 * row["chance"]),
        of("p, chance", 4, lambda row: row.get("p_chance_holm")) | {"least": 0.0001},
        of("fixed", 0, lambda row: row["fixed"]),
        of("broken", 0, lambda row: row["broken"]),
        of("E", 4, lambda row: row["validation_error"]),
        of("length ratio", 3, lambda row: row["length_ratio"]),
        of("cosine", 4, lambda row: row["cosine"]),
        of("skill", 4, lambda row: row["skill"]),
        of("same answer", 4, lambda row: row["agreement"]),
        of("kappa", 4, lambda row: row["kappa"]),
    ]


def family_columns(findings: Findings, place: dict[Pair, int]) -> list[dict[str, Any]]:
    """Return accuracy and E of the other kinds of map."""
    main = findings.results["mappings"][0]["family"]
    found = []
    for family in dict.fromkeys(findings.maps["family"].to_pylist()):
        rows = findings.maps.filter(pc.equal(findings.maps["variant"], Variant(family).name))
        if family == main:
            continue
        for title, name, digits, scale in (("accuracy %", "accuracy", 2, 100), ("E", "validation_error", 4, 1)):
            values: list[float | None] = [None] * len(place)
            for pair, value in zip(pairs_of(rows), rows[name].to_pylist(), strict=True):
                values[place[pair]] = value * scale
            found.append(column(title, digits, values, family))
    return found


def measure_columns(findings: Findings, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Return how alike two networks' features are without a map."""
    if not findings.results["measures"]:
        return []
    measured = {frozenset((row["a"], row["b"])): row for row in findings.results["measures"]}
    rows = [measured[frozenset(pair)] for pair in pairs]
    return [
        column("CKA", 4, (row["cka"] for row in rows)),
        column("unbiased CKA", 4, (row.get("cka_unbiased") for row in rows)),
        column("shared neighbours", 4, (row["neighbours"] for row in rows)),
    ]


def pairs_of(rows: pa.Table) -> list[Pair]:
    """Return source and target of each row."""
    return list(zip(rows["source"].to_pylist(), rows["target"].to_pylist(), strict=True))


def ranks(findings: Findings, place: dict[Pair, int]) -> dict[str, Any] | None:
    """Return the loss of each pair by rank of the map."""
    rows = findings.maps.filter(pc.is_valid(findings.maps["rank"]))
    title = "Loss by rank of the map"
    return line_of(rows, "rank", place, title, "rank k of the map") | {"reading": RANKS} if len(rows) else None


def learning_curve(findings: Findings, place: dict[Pair, int]) -> dict[str, Any] | None:
    """Return the loss of each pair by training images of least-squares maps."""
    maps = findings.maps
    of_rows = pc.and_(pc.equal(maps["family"], "least_squares"), pc.is_null(maps["rank"]))
    rows = maps.filter(of_rows).sort_by("share")
    title = "Loss by number of training images"
    line = line_of(rows, "rows", place, title, "training images") | {"reading": LEARNING}
    return line if len(rows) > len(place) else None


def line_of(rows: pa.Table, x: str, place: dict[Pair, int], title: str, label: str) -> dict[str, Any]:
    """Return x and loss, by turns, of each pair."""
    points: list[list[float]] = [[] for _ in place]
    for pair, at, loss in zip(pairs_of(rows), rows[x].to_pylist(), rows["loss"].to_pylist(), strict=True):
        points[place[pair]] += [at, round(loss, 3)]
    return {"title": title, "x": label, "y": "loss, points", "log": True, "points": points}


def errors(findings: Findings) -> dict[str, Any] | None:
    """Return E of some training batches of each pair's main map, the first 10,000 at most."""
    mappings = findings.results["mappings"]
    if mappings[0]["family"] != "affine":
        return None
    points = for_all(lambda row: thinned(findings, row["source"], row["target"]), mappings)
    title = "Fig. 4: error of the training batches"
    line = {"title": title, "x": "iteration", "y": "E of the batch", "log": False, "points": points}
    return line | {"reading": ERRORS}


def thinned(findings: Findings, source: str, target: str) -> list[float]:
    """Return iteration and E, by turns, of CURVE_POINTS batches of one curve."""
    curve = findings.curve(source, target)
    if curve is None:
        return []
    iterations, found = (numbers[:CURVE_END] for numbers in curve)
    chosen = np.unique(np.linspace(0, len(found) - 1, CURVE_POINTS).astype(int))
    both = zip(iterations[chosen].tolist(), found[chosen].tolist(), strict=True)
    return list(chain.from_iterable((iteration, round(error, 4)) for iteration, error in both))


def class_counts(findings: Findings, place: dict[Pair, int]) -> dict[str, Any]:
    """Return label, own and mapped right answers, shrunken loss and q of the CLASSES classes that lose most, one after
    another; none of classes of one image.
    """
    pairs: list[list[float]] = [[] for _ in place]
    totals: dict[int, int] = {}
    names: dict[int, str | None] = {}
    for target in findings.results["networks"]:
        table = findings.classes(target)
        sources = table["source"].combine_chunks().dictionary_encode()
        starts = np.flatnonzero(np.diff(sources.indices.to_numpy(), prepend=-1))
        for start in starts.tolist():
            pair = (table["source"][start].as_py(), target)
            rows = table.slice(start, CLASSES)
            ranked = pc.and_(pc.equal(rows["source"], pair[0]), pc.greater(rows["total"], 1))
            rows = rows.filter(ranked).to_pydict()
            totals.update(zip(rows["label"], rows["total"], strict=True))
            names.update(zip(rows["label"], rows["name"], strict=True))
            each = zip(*(rows[what] for what in ("label", "own", "mapped", "shrunken_loss", "q_value")), strict=True)
            pairs[place[pair]] = [
                number for *counts, loss, q in each for number in (*counts, round(loss, 1), round(q, 3))
            ]
    return {"totals": totals, "names": names, "pairs": pairs}


class Pictures:
    """Thumbnails of the examples: those that most pairs show, until the page has enough."""

    def __init__(self, findings: Findings) -> None:
        self.examples = findings.examples
        ids, counts = np.unique(np.asarray(self.examples["image_id"].to_pylist(), str), return_counts=True)
        self.place: dict[str, int] = {}
        self.shown: list[list[str]] = []
        taken = 0
        for image_id in ids[np.argsort(-counts, kind="stable")].tolist():
            jpeg = findings.thumbnails.get(image_id)
            taken += len(jpeg or b"")
            if taken > PICTURES:
                break
            self.place[image_id] = len(self.shown)
            self.shown.append([image_id, picture_address(jpeg)])

    def of_pairs(self, place: dict[Pair, int]) -> dict[str, Any]:
        """Return for each pair picture, 1 if it was fixed, label, own and mapped answer, one after another."""
        rows = self.examples.to_pydict()
        pairs: list[list[int]] = [[] for _ in place]
        names: dict[int, str] = {}
        keys = ("source", "target", "kind", "image_id", "label", "own", "mapped")
        for source, target, kind, image_id, *answers in zip(*(rows[key] for key in keys), strict=True):
            if image_id in self.place:
                pairs[place[source, target]] += [self.place[image_id], int(kind == "fixed"), *answers]
        for what in ("label", "own", "mapped"):
            known = zip(rows[what], rows[f"{what}_name"], strict=True)
            names.update({number: name for number, name in known if name is not None})
        return {"names": names, "pairs": pairs}
