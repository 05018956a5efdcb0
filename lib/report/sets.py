"""The page's section about further evaluation sets: whether losses on val hold there, and Table 1 of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

from lib.evaluation.chance import shows
from lib.evaluation.results import Results, SetMappingResults, SetResults
from lib.report.blocks import Block, FigureBlock, Folded, Note, Section, Table
from lib.report.cells import Row, direction, interval, loss_points, markdown, number, percent, probability
from lib.report.table1 import table1_rows

ROWS = 30  # directions that the table of differences shows, at most
REGION_WORDS = {"target": "own", "source": "source's", "mapped": "mapped", "none": "none"}
SCATTER = "a point is a direction; on the dashed line the loss is the same on both, above it the set costs more."


def set_title(results: Results, name: str) -> str:
    """Return what a set is called: its title, else its name."""
    settings: Mapping[str, Any] = results["settings"].get("images", {}).get("eval", {})
    return settings.get(name, {}).get("title") or name


def results_on(results: Results, name: str) -> Results:
    """Return results with those on a set in place of those on val, as Table 1 takes them."""
    one = results["eval"][name]
    networks = {
        network: {**known, **one["networks"].get(network, {})} for network, known in results["networks"].items()
    }
    found: Any = {**results, "networks": networks, "mappings": one["mappings"], "published": []}
    return cast(Results, found)


def sets_section(results: Results, drawn: Mapping[str, str], many: int) -> Section | None:
    """Return the section about all sets, None if there are none.

    `drawn` has the <svg> of each set_figure. Of more than `many` networks no table of all directions is shown.
    """
    sets = results.get("eval", {})
    if not sets:
        return None
    few = len(results["mappings"]) <= 2  # whose lines the table repeats
    blocks: list[Block] = [Note(MEANING), *(Note(line) for line in ([] if few else set_lines(results)))]
    rows = [(name, mapping) for name, one in sets.items() for mapping in one["mappings"]]
    rows.sort(key=lambda row: -abs(row[1]["shift"]["difference"]) if len(rows) > ROWS else 0)
    header = ("set", "direction", "loss on val", "loss there", "difference", "95 % interval", "p (Holm)", "shown")
    shown = f"The {ROWS} greatest differences of {len(rows):,}." if len(rows) > ROWS else "Losses in points."
    body = [shift_row(results, name, mapping) for name, mapping in rows[:ROWS]]
    blocks.append(Table(header, body, f"Whether losses on val hold on other sets. {shown}"))
    correlations = correlation_rows(results)
    if correlations:
        titles = ("set", "directions", "Pearson's r", "Spearman's rho", "p (networks permuted)")
        blocks.append(Table(titles, correlations, "How the losses of all directions on val and on a set go together."))
    for name, one in sets.items():
        title = set_title(results, name)
        if set_figure(name) in drawn:
            blocks.append(FigureBlock(drawn[set_figure(name)], f"Loss on {title} against loss on val.", SCATTER))
        blocks.append(Note(counted_words(title, one)))
        if len(one["networks"]) <= many:
            blocks.append(Folded(f"Table 1 on {title}", table_of(results, name)))
            blocks.append(Folded(f"Fig. 5 on {title}, as counts", regions_table(title, one)))
    return Section("sets", "Other evaluation sets: do the losses hold?", blocks)


MEANING = (
    "The same maps, fitted once, judged on further sets of images. Difference: the loss on the set less that on val. "
    "Networks and maps are the same on both, so what training images and random numbers did to a map is in both losses "
    "and in no interval. Different images are independent samples of images: the variances of both losses add up. "
    "Where a set has val's own images, under other labels, the difference is taken image by image. p is corrected for "
    "all directions on a set (Holm). Directions share networks, so a correlation's p comes from permuting these."
)


def set_figure(name: str) -> str:
    """Return the file name, without suffix, of a set's figure."""
    return f"losses_on_{name}"


def table_of(results: Results, name: str) -> Table:
    """Return Table 1 on a set."""
    return Table(*table1_rows(results_on(results, name)), f"Right answers on {set_title(results, name)}.")


def sets_markdown(results: Results) -> str:
    """Return Table 1 on each set as Markdown, each under a heading; nothing if there are no sets."""
    return "".join(
        f"\n## {set_title(results, name)}\n\n{markdown(*table1_rows(results_on(results, name)))}\n"
        for name in results.get("eval", {})
    )


def shift_row(results: Results, name: str, mapping: SetMappingResults) -> Row:
    """Return how one direction's loss on a set differs from that on val."""
    shift = mapping["shift"]
    return (
        *(set_title(results, name), direction(mapping), number(shift["val_loss"], 2), loss_points(mapping)),
        *(f"{shift['difference']:+.2f}", interval(shift["difference_ci95"]), probability(shift["p_holm"])),
        f"{words_of(mapping)}{'' if shift['independent'] else ' (same images)'}",
    )


def words_of(mapping: SetMappingResults) -> str:
    """Return what the corrected test shows of one direction."""
    if not shows(mapping["shift"]["p_holm"]):
        return "no difference"
    return "more loss" if mapping["shift"]["difference"] > 0 else "less loss"


def correlation_rows(results: Results) -> list[Row]:
    """Return the correlation of the losses on each set with those on val, where there is one."""
    found = [(set_title(results, name), one.get("correlation")) for name, one in results.get("eval", {}).items()]
    return [
        (
            *(title, f"{known['directions']:,}", number(known["pearson"], 3), number(known["spearman"], 3)),
            probability(known["p"]),
        )
        for title, known in found
        if known is not None
    ]


def regions_table(title: str, one: SetResults) -> Table:
    """Return the eight counts of Fig. 5 of each direction on a set."""
    regions = list(one["mappings"][0]["regions"])
    header = ("direction", *(", ".join(REGION_WORDS[part] for part in region.split("+")) for region in regions))
    rows = [
        (direction(mapping), *(f"{mapping['regions'][region]:,}" for region in regions)) for mapping in one["mappings"]
    ]
    return Table(header, rows, f"Images of {title} by which get them right: own, source's, mapped features.")


def counted_words(title: str, one: SetResults) -> str:
    """Return a sentence on which images of a set are counted, and among which classes answers are chosen."""
    total = one["mappings"][0]["total"]
    parts = [f"{title}: {total:,} of {one['images']['extracted']:,} images are counted"]
    if one["unlabelled"]:
        parts.append(f"{one['unlabelled']:,} have no right label")
    if one["outside"]:
        parts.append(f"{one['outside']:,} are of no class of the set")
    if one["several_labels"]:
        parts.append("an answer is right if it is one of the image's right labels")
    if one["classes"] is not None:
        among = f"the best among its {one['classes']:,} classes" if one["restricted"] else "the best among all classes"
        parts.append(f"answers are {among} (val's loss is of all classes)")
    own = "; ".join(f"{name} {percent(found)} %" for name, found in list(one["networks"].items())[:ROWS])
    shared = []
    if one["shared_images"]:
        shared.append(f"{one['shared_images']:,} have the features of a training image")
    if one["shared_with_val"] and not one["same_images"]:
        shared.append(
            f"{one['shared_with_val']:,} have the features of an image of val, though the interval takes the images as "
            "independent: it is too wide"
        )
    return f"{', '.join([*parts, *shared])}. Own accuracies there: {own}."


def set_lines(results: Results) -> list[str]:
    """Return a sentence on each set: how many directions lose more, or less, there than on val."""
    lines = []
    for name, one in results.get("eval", {}).items():
        found, title = Counter(words_of(mapping) for mapping in one["mappings"]), set_title(results, name)
        total, count = one["mappings"][0]["total"], len(one["mappings"])
        begin = f"On {title} ({total:,} images)"
        if count <= 2:
            lines += [f"{begin}, {_sentence(mapping)}" for mapping in one["mappings"]]
            continue
        line = (
            f"{begin}, of {count:,} directions {found['more loss'] or 'none'} lose more than on val, "
            f"{found['less loss'] or 'none'} lose less, and {found['no difference'] or 'none'} show no difference"
        )
        known = one.get("correlation")
        lines.append(f"{line}{'' if known is None else '; r = ' + number(known['pearson'], 2)}.")
    return lines


def _sentence(mapping: SetMappingResults) -> str:
    shift = mapping["shift"]
    low, high = shift["difference_ci95_all"]
    shown = {
        "no difference": "no difference is shown",
        "more loss": "more is lost there",
        "less loss": "less is lost there",
    }[words_of(mapping)]
    return (
        f"the loss of {direction(mapping)} is {mapping['loss']:z.2f} points, on val {shift['val_loss']:z.2f}: {shown} "
        f"(difference {shift['difference']:+.2f}; 95 % interval, all directions at once: {low:.2f} to {high:.2f})."
    )
