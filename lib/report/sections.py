"""The report's sections about all mappings. Each is None, and left out, where results.json lacks what it shows."""

from __future__ import annotations

from typing import Any

from lib.evaluation.chance import at_chance
from lib.report.cells import Row, direction, interval, loss_points, number, percent, probability, right_of
from lib.report.page import Section, render_figure, render_folded, render_note, render_table

Results = dict[str, Any]
MATRIX = 3  # networks from which a heat map says more than a table


def table1_section(header: Row, body: list[Row]) -> Section:
    text = (
        "Loss: points of accuracy that the classifier loses when its own features are replaced by mapped ones; "
        "negative is a gain. Fixed and broken: images that mapping turns from wrong to right, and from right to wrong. "
        "E: mean error of the mapped features on the evaluation images. Length ratio: mean length of the mapped "
        "features over that of the classifier's own."
    )
    if any("Holm" in cell for cell in header):
        text += (
            " p: how often chance alone would change the accuracy by this much or more, corrected for all directions "
            "being tested at once (Holm)."
        )
    if any("at chance" in row[0] for row in body):
        text += " At chance: no more is right than guessing one of the classes would get (binomial test, p > 0.05)."
    caption = "Right answers on the evaluation images."
    return Section(
        "table1", "Table 1: accuracy of each composition", render_note(text) + render_table(header, body, caption)
    )


def losses_section(results: Results, svg: str | None) -> Section | None:
    """The heat map, and what each network gives and takes."""
    networks = results["networks"]
    if svg is None:
        return None
    caption = (
        "Loss in points of accuracy: the row's features, mapped, in the column's classifier. Red is a loss, blue a "
        "gain; the diagonal is each network's own accuracy in percent."
    )
    if any(mapping.get("p_holm") is not None for mapping in results["mappings"]):
        caption += " * more than chance explains: Holm-corrected p below 0.05."
    if chance_pairs(results):
        caption += " Grey: at chance."
    if "order" in results:
        caption += " Similar networks stand beside each other."
    body = render_figure(svg, caption, shrink=0.7)
    if all("gives" in network and "takes" in network for network in networks.values()):
        ranked = sorted(networks, key=lambda name: float(networks[name]["gives"]))
        rows = [
            (name, percent(networks[name]), *(number(networks[name][key], 2) for key in ("gives", "takes")))
            for name in ranked
        ]
        header = ("network", "accuracy %", "gives: mean loss of classifiers fed from it", "takes: mean loss of its own")
        body += render_table(header, rows, "What each network gives and takes, in points; less is better.")
    return Section("losses", "Which network stands in for which", body)


def families_section(results: Results) -> Section | None:
    """Every kind of map, the accuracy and the error of the features beside each other."""
    if not results.get("families"):
        return None
    entries = [{"family": "affine"} | mapping for mapping in results["mappings"]] + results["families"]
    found = {(entry["source"], entry["target"], entry["family"]): entry for entry in entries}
    names = list(dict.fromkeys(entry["family"] for entry in entries))
    networks, rows = results["networks"], []
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        cells = [direction(mapping), percent(networks[target]), percent(networks[source])]
        for family in names:
            entry = found.get((source, target, family))
            cells += [percent(entry), number(entry["validation_error"], 4)] if entry else ["", ""]
        rows.append(tuple(cells))
    text = (
        "Accuracy: of the target's classifier with mapped features. E: error of the mapped features on the evaluation "
        "images, 0 where each points the same way as the target's own, 2 where it stands at a right angle to it."
    )
    statement = render_note(classifiers_statement(results)) if "classifiers" in names else ""
    header = ("direction", "target's", "source's", *["accuracy %", "E"] * len(names))
    groups = [("", 1), ("own accuracy %", 2), *((name, 2) for name in names)]
    shown = render_table(header, rows, "Accuracy and error of each kind of map.", groups=groups)
    everything = render_folded("All numbers of each kind of map", _all_families(entries))
    return Section("families", "Other kinds of map", render_note(text) + statement + shown + everything)


def classifiers_statement(results: Results) -> str:
    """What the map that is made from the two classifiers shows, and what it doesn't."""
    text = (
        "The “classifiers” map is made from the two classifiers alone, without an image (after arXiv 2010.02323). "
        "Where the target's number of features d_T is at least the number of classes, and its classifier's weight W_T "
        "has full row rank, this map gives the target's classifier exactly the source's scores: its accuracy is the "
        "source's own. So a map that keeps the accuracy always exists there. What the paper shows is that fitting the "
        "features alone, without labels or classifiers, finds one. The error E is where the two kinds of map differ."
    )
    networks = results["networks"]
    known = [name for name in networks if networks[name].get("classes")]
    small = [name for name in known if networks[name]["feature_size"] < networks[name]["classes"]]
    if small:
        text += f" Here that isn't so with the classifiers of {', '.join(small)}: too few features."
    elif known and len(known) == len(networks):
        text += " Here every network has at least as many features as classes."
    return text


def _all_families(entries: list[dict[str, Any]]) -> str:
    header = (
        *("direction", "kind of map", "right", "accuracy %", "loss, points", "95 % interval", "fixed", "broken"),
        *("p, Holm-corrected", "E while fitting", "E", "length ratio", "cosine", "R²"),
    )
    rows = [
        (
            *(direction(entry), entry["family"], right_of(entry), percent(entry), loss_points(entry)),
            interval(entry["loss_ci95"]),
            *(f"{entry[key]:,}" for key in ("fixed", "broken")),
            probability(entry.get("p_holm")),
            *(number(entry.get(key), 4) for key in ("fit_error", "validation_error")),
            number(entry.get("length_ratio"), 3),
            *(number(entry.get(key), 4) for key in ("cosine", "r2")),
        )
        for entry in entries
    ]
    return render_table(header, rows, "All numbers of each kind of map.")


def ranks_section(results: Results, svg: str | None) -> Section | None:
    """How many directions of the feature space a map needs."""
    if svg is None:
        return None
    caption = "Loss of maps of rank k. Where a line turns flat, more directions of the features add nothing."
    header = ("direction", "rank k", "right", "accuracy %", "loss, points", "E")
    rows = [(direction(row), f"{row['rank']:,}", *_judged(row)) for row in results["ranks"]]
    body = render_figure(svg, caption) + render_folded(
        "The numbers", render_table(header, rows, "Loss of maps of rank k.")
    )
    return Section("ranks", "Loss by rank of the map", body)


def learning_curve_section(results: Results, svg: str | None) -> Section | None:
    """Whether more training images would make a better map."""
    if svg is None:
        return None
    caption = (
        "Loss by the number of training images. A line that still falls at its right end: more images would make the "
        "map better. A flat one: they would not, and what is lost isn't for want of data."
    )
    header = ("direction", "kind of map", "training images", "right", "accuracy %", "loss, points", "E")
    rows = [(direction(row), row["family"], f"{row['rows']:,}", *_judged(row)) for row in results["learning_curve"]]
    body = render_figure(svg, caption) + render_folded(
        "The numbers", render_table(header, rows, "Loss by the number of training images.")
    )
    return Section("learning", "Loss by number of training images", body)


def _judged(row: dict[str, Any]) -> Row:
    return right_of(row), percent(row), loss_points(row), number(row["validation_error"], 4)


def measures_section(results: Results) -> Section | None:
    """How alike two networks' features are before any map is fitted."""
    if not results.get("measures"):
        return None
    text = (
        "How alike the features are as they come, without a map. CKA: linear centred kernel alignment, 0 to 1. Shared "
        "neighbours: share of an image's k nearest images that both networks agree on, and what chance would give."
    )
    header = ("one network", "the other", "CKA", "shared neighbours", "by chance", "k", "images")
    rows = [
        (
            *(row["a"], row["b"]),
            *(number(row[key], 4) for key in ("cka", "neighbours", "neighbours_by_chance")),
            *(f"{row[key]:,}" for key in ("k", "rows")),
        )
        for row in results["measures"]
    ]
    return Section(
        "measures",
        "Likeness of the features",
        render_note(text) + render_table(header, rows, "Likeness of the features."),
    )


def agreement_section(results: Results) -> Section | None:
    """Whether the mapped features make the classifier answer as its own features do."""
    rows = [
        (
            direction(mapping),
            *(number(mapping.get(f"{key}{chance}"), 4) for key in KEYS for chance in ("", "_by_chance")),
            *(number(mapping.get(key), 4) for key in ("kappa", "cosine", "r2")),
        )
        for mapping in results["mappings"]
        if "agreement" in mapping
    ]
    if not rows:
        return None
    text = (
        "The target's classifier with mapped features against the same with its own. Same answer: share of images "
        "given the same class. Both right or both wrong: share of images; kappa is that share between chance (0) and "
        "always (1). Cosine and R²: how well the mapped features meet the target's own (1 is perfect)."
    )
    header = (
        *("direction", "same answer", "by chance", "both right or both wrong", "by chance", "kappa"),
        *("cosine", "R²"),
    )
    caption = "Agreement of mapped and own features."
    return Section("agreement", "Agreement image by image", render_note(text) + render_table(header, rows, caption))


KEYS = ("agreement", "consistency")


def seeds_section(results: Results) -> Section | None:
    """How much of the loss hangs on the random start and batches."""
    several = [mapping for mapping in results["mappings"] if len(mapping.get("seeds") or []) > 1]
    if not several:
        return None
    text = "The same map fitted again with other random numbers. Table 1 has the first seed's."
    header = ("direction", "seeds", "mean loss, points", "least", "most", "standard deviation")
    rows, each = [], []
    for mapping in several:
        found = [seed["loss"] for seed in mapping["seeds"]]
        ends = (sum(found) / len(found), min(found), max(found), mapping.get("loss_sd"))
        rows.append((direction(mapping), str(len(found)), *(number(value, 3) for value in ends)))
        for seed in mapping["seeds"]:
            whole = {"total": mapping["total"]} | seed
            each.append((direction(mapping), str(seed["seed"]), *_judged(whole)))
    shown = render_table(header, rows, "Spread of the loss over seeds.")
    every = render_table(("direction", "seed", "right", "accuracy %", "loss, points", "E"), each, "Every seed.")
    return Section("seeds", "Spread over seeds", render_note(text) + shown + render_folded("Every seed", every))


def images_section(results: Results) -> Section:
    rows = []
    for split, counts in results["images"].items():
        reasons = "; ".join(f"{reason}: {count}" for reason, count in counts.get("reasons", {}).items())
        rows.append((split, *(f"{counts[key]:,}" for key in ("listed", "extracted", "rejected")), reasons))
    header = ("split", "listed", "extracted", "rejected", "reasons")
    return Section("images", "Images", render_table(header, rows, "Listed = extracted + rejected."))


def settings_section(results: Results) -> Section:
    caption = "Fields of the experiment, defaults included."
    body = render_table(("setting", "value"), _flat(results["settings"]), caption, "listing")
    return Section("settings", "Settings", body)


def versions_section(results: Results) -> Section:
    body = render_table(("package", "version"), _flat(results["versions"]), "What computed these results.", "listing")
    return Section("versions", "Versions", body)


def _flat(values: Any, path: str = "") -> list[Row]:
    """A nested table of settings as rows of dotted key and value; unset ones are left out."""
    if isinstance(values, dict) and values:
        return [row for key, value in values.items() for row in _flat(value, f"{path}.{key}".lstrip("."))]
    return [] if values in (None, {}, []) else [(path, str(values))]


def chance_pairs(results: Results) -> set[tuple[str, str]]:
    """(source, target) of the mappings that are at chance."""
    return {(mapping["source"], mapping["target"]) for mapping in results["mappings"] if at_chance(results, mapping)}
