"""results.json and the error curves -> the paper's Table 1, a plain-language answer, and the files of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from lib import charts, directions, figures, page, sections, storage
from lib.cells import Row, direction, interval, markdown, number, percent, points, probability, right
from lib.chance import LEVEL, at_chance

Results = dict[str, Any]
NAMED = 6  # directions at chance that the verdict names


def rows(results: Results) -> tuple[Row, list[Row]]:
    """Table 1: its header and a row for each composition, own ones first, all as text."""
    tested = any(mapping.get("p_holm") is not None for mapping in results["mappings"])
    header = [
        *("features → classifier", "right", "accuracy %", "loss, points", "95 % interval"),
        *(["p, Holm-corrected"] if tested else []),
        *("fixed", "broken", "E", "length ratio"),
    ]
    blanks = len(header) - 3
    published = {(row["features"], row["classifier"]): row for row in results.get("published", [])}
    sources = sorted({row["source"] for row in published.values()})
    if published:
        header += [f"{what}, printed in {'; '.join(sources)}" for what in ("right", "accuracy %", "loss")]
    body = []
    for name, network in results["networks"].items():
        own = [f"{name} → {name}", right(network), percent(network), *[""] * blanks]
        body.append([*own, *_printed(published, name, name)])
    for mapping in results["mappings"]:
        kind = "mapped, at chance" if at_chance(results, mapping) else "mapped"
        body.append(
            [
                f"{direction(mapping)} ({kind})",
                *(right(mapping), percent(mapping), points(mapping), interval(mapping["loss_ci95"])),
                *([probability(mapping.get("p_holm"))] if tested else []),
                *(f"{mapping[key]:,}" for key in ("fixed", "broken")),
                number(mapping["validation_error"], 4),
                number(mapping["length_ratio"], 3),
                *_printed(published, mapping["source"], mapping["target"]),
            ]
        )
    return tuple(header), [tuple(row) for row in body]


def _printed(published: dict[tuple[str, str], dict[str, Any]], features: str, classifier: str) -> list[str]:
    if not published:
        return []
    row = published.get((features, classifier), {})
    correct = "" if row.get("correct") is None else f"{row['correct']:,}"
    # str, not a format: a printed 78.0 stays 78.0
    return [correct, *("" if row.get(key) is None else str(row[key]) for key in ("accuracy", "loss"))]


def table1(results: Results) -> str:
    """Table 1 as Markdown, its columns aligned for a terminal."""
    return markdown(*rows(results))


def verdict(results: Results) -> str:
    """What the numbers answer, without a claim that they don't carry.

    A sentence for each direction of two networks; of more networks the two ends of the range, how many directions
    change at all, and which give nothing, each on a line.
    """
    mappings = results["mappings"]
    if len(mappings) <= 2:
        return " ".join(_sentence(results, mapping) for mapping in mappings)
    chance = [mapping for mapping in mappings if at_chance(results, mapping)]
    rest = sorted((mapping for mapping in mappings if mapping not in chance), key=lambda mapping: mapping["loss"])
    parts = [f"Of {len(mappings)} directions, {len(chance)} are at chance."] if chance else []
    if rest:
        ends = "\n".join(_sentence(results, mapping) for mapping in (rest if len(rest) == 1 else (rest[0], rest[-1])))
        among = f"Of the other {len(rest)}" if chance else f"Of {len(rest)} directions"
        parts += [f"{among}, the one with the least loss and the one with the most:", ends] if rest[1:] else [ends]
    return "\n".join([*parts, *_tested(mappings), *_nothing(results, chance)])


def _sentence(results: Results, mapping: dict[str, Any]) -> str:
    source, target = mapping["source"], mapping["target"]
    own, mapped = results["networks"][target]["accuracy"], mapping["accuracy"]
    low, high = mapping["loss_ci95"]
    if at_chance(results, mapping):
        guessing = 100 / results["networks"][target]["classes"]
        return (
            f"Fed with mapped features of {source} instead of its own, {target}'s classifier is at chance: "
            f"{100 * mapped:.2f} % right, where guessing gives {guessing:.2f} % and its own features {100 * own:.2f} %."
        )
    if low > 0:
        change = f"loses {mapping['loss']:.2f} points of accuracy"
    elif high < 0:
        change = f"gains {-mapping['loss']:.2f} points of accuracy"
    else:
        change = f"changes by {-mapping['loss']:+.2f} points of accuracy, which may be chance"
    return (
        f"Fed with mapped features of {source} instead of its own, {target}'s classifier {change} "
        f"({100 * own:.2f} % to {100 * mapped:.2f} %; 95 % interval of the loss {low:.2f} to {high:.2f})."
    )


def _tested(mappings: list[dict[str, Any]]) -> list[str]:
    """How many directions lose and gain, where results.json has corrected p-values of all of them."""
    if any(mapping.get("p_holm") is None for mapping in mappings):
        return []
    changed = [mapping["loss"] for mapping in mappings if _significant(mapping)]
    lose, gain = sum(loss > 0 for loss in changed), sum(loss < 0 for loss in changed)
    return [
        f"Accuracy falls in {lose or 'none'} of {len(mappings)} directions and rises in {gain or 'none'}, by more than "
        "chance explains (Holm-corrected p below 0.05)."
    ]


def _significant(mapping: dict[str, Any]) -> bool:
    p = mapping.get("p_holm")
    return p is not None and p < LEVEL


def _nothing(results: Results, chance: list[dict[str, Any]]) -> list[str]:
    """Which networks' features give nothing to any other, and which directions besides are at chance."""
    all_sources = [mapping["source"] for mapping in results["mappings"]]
    found = [mapping["source"] for mapping in chance]
    useless = [name for name in results["networks"] if name in found and found.count(name) == all_sources.count(name)]
    parts = [f"Features of {name} give nothing to any other network's classifier." for name in useless]
    others = [direction(mapping) for mapping in chance if mapping["source"] not in useless]
    if others:
        more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        parts.append(f"At chance {'besides ' if useless else ''}are {', '.join(others[:NAMED])}{more}.")
    return parts


def html(results: Results, drawn: Mapping[str, str], examples: Sequence[dict[str, Any]] = ()) -> str:
    """The whole page. `drawn` maps a figure's file name to its <svg>; examples are as in lib.directions."""
    title = f"How far can one network stand in for another? Experiment {results['experiment']}"
    lead = page.note(
        f"Networks: {', '.join(results['networks'])}. A map from one network's features to another's is fitted without "
        "labels; the other's untouched classifier then works on the mapped features."
    )
    batches = "Error E = |x/|x| - y/|y||² of each batch while the maps are fitted, of the first 10,000 at most."
    curves = page.Section(
        "curves", "Fig. 4: error of the training batches", page.figure(drawn["error_curves"], batches)
    )
    parts = [
        sections.table1(*rows(results)),
        sections.losses(results, drawn.get("losses")),
        sections.families(results),
        curves,
        directions.section(results, drawn, examples),
        sections.ranks(results, drawn.get("ranks")),
        sections.learning_curve(results, drawn.get("learning_curve")),
        sections.agreement(results),
        sections.measures(results),
        sections.seeds(results),
        sections.images(results),
        sections.settings(results),
        sections.versions(results),
    ]
    lead += f'\n<p class="verdict">{escape(verdict(results))}</p>'
    return page.page(title, lead, [part for part in parts if part is not None])


def draw(results: Results, curves: Mapping[str, figures.Curve]) -> dict[str, Figure]:
    """Every figure that the results have numbers for, by file name."""
    drawn = {"error_curves": figures.error_curves(dict(curves))}
    if len(results["networks"]) >= sections.MATRIX:
        drawn["losses"] = _losses(results)
    for name, x, label in (("ranks", "rank", "rank k of the map"), ("learning_curve", "rows", "training images")):
        if results.get(name):
            drawn[name] = charts.loss_lines(_lines(results[name], x), label)
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        drawn[directions.region_figure(source, target)] = figures.region_diagram(mapping["regions"], source, target)
    return drawn


def _losses(results: Results) -> Figure:
    mappings = {(mapping["source"], mapping["target"]): mapping for mapping in results["mappings"]}
    return charts.losses(
        results.get("order") or list(results["networks"]),
        {pair: mapping["loss"] for pair, mapping in mappings.items()},
        {name: f"{100 * network['accuracy']:.1f} %" for name, network in results["networks"].items()},
        {pair for pair, mapping in mappings.items() if _significant(mapping)},
        sections.chance_pairs(results),
    )


def _lines(entries: list[dict[str, Any]], x: str) -> dict[str, charts.Line]:
    """Each direction's (and kind of map's, where there are several) numbers, by ascending `x`."""
    several = len({entry.get("family") for entry in entries}) > 1
    lines: dict[str, charts.Line] = {}
    for entry in sorted(entries, key=lambda entry: int(entry[x])):
        name = direction(entry) + (f", {entry['family']}" if several else "")
        places, losses = lines.setdefault(name, ([], []))
        places.append(entry[x])
        losses.append(entry["loss"])
    return lines


def write(
    results: Results,
    curves: Mapping[str, figures.Curve],
    folder: str,
    examples: Sequence[dict[str, Any]] = (),
) -> list[str]:
    """Write report.html, table1.md and the figures as SVG and PNG under `folder`; their URIs.

    `examples`: images that a mapping fixed or broke, each with source, target, kind ("fixed" or "broken"), image_id,
    label, own, mapped (classes), names of these three (or None) and jpeg (bytes).
    """
    drawn = draw(results, curves)
    vectors = {name: figures.svg(figure, f"f{place}") for place, (name, figure) in enumerate(drawn.items())}
    files = {"report.html": html(results, vectors, examples), "table1.md": table1(results) + "\n"}
    contents = {name: text.encode() for name, text in files.items()}
    for name, figure in drawn.items():
        contents[f"figures/{name}.svg"] = vectors[name].encode()
        contents[f"figures/{name}.png"] = figures.png(figure)
    for name, content in contents.items():
        storage.write_bytes(storage.join(folder, name), content)
    return [storage.join(folder, name) for name in contents]
