"""Several experiments beside each other: own accuracies and losses, a column for each experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lib.evaluation.chance import maybe_chance
from lib.evaluation.results import Results
from lib.report.blocks import Note, Section, Table
from lib.report.cells import Row, direction, interval, loss_points, markdown, percent, right_of
from lib.report.page import render_page
from lib.report.titles import renamed, titles_of

OWN, LOSS = "accuracy %", "loss, points"


def compare_experiments(experiments: Sequence[tuple[str, Results]]) -> tuple[str, str]:
    """Return the same numbers as a Markdown table for a terminal, and as an HTML page.

    `experiments` are the title and results.json of each. A cell is blank if its experiment has no such network or
    direction. Raises ValueError if there is no experiment, or if two have the same title.
    """
    titles = [title for title, _ in experiments]
    twice = [title for title, count in Counter(titles).items() if count > 1]
    if not titles or twice:
        raise ValueError(f"expected experiments with titles that differ, got {twice or 'none'}")
    called = titles_together([results for _, results in experiments])
    named = [renamed(results, called) for _, results in experiments]
    own, losses = _beside([_accuracies(results) for results in named]), _beside([_losses(results) for results in named])
    both = [(row[0], kind, *row[1:]) for kind, rows in ((OWN, own), (LOSS, losses)) for row in rows]
    text = markdown(("features → classifier", "", *titles), both)
    return text, _html(titles, own, losses)


def titles_together(experiments: Sequence[Results]) -> dict[str, str]:
    """Return what each network is called in all experiments: its first title, and its name where another has that, too.

    A network is the same in all of them if its name is.
    """
    called: dict[str, str] = {}
    for results in experiments:
        for name, title in titles_of(results).items():
            if called.setdefault(name, title) == name:
                called[name] = title
    counts = Counter(called.values())
    return {name: title if counts[title] == 1 else f"{title} ({name})" for name, title in called.items()}


def _html(titles: list[str], own: list[Row], losses: list[Row]) -> str:
    explained = (
        "Loss: points of accuracy that the classifier loses when its own features are replaced by mapped ones, with "
        "its 95 % interval; negative is a gain. Blank: not part of that experiment."
    )
    sections = [
        Section("own", "Own accuracies", [Table(("network", *titles), own, "Accuracy in percent, right answers.")]),
        Section("losses", "Losses", [Table(("direction", *titles), losses, "Loss in points, 95 % interval.")]),
    ]
    return render_page(f"{len(titles)} experiments beside each other", [Note(explained)], sections)


def _accuracies(results: Results) -> dict[str, str]:
    return {
        name: f"{percent(network)} ({right_of(network)})"
        for name, network in results["networks"].items()
        if "accuracy" in network
    }


def _losses(results: Results) -> dict[str, str]:
    return {
        direction(mapping): f"{loss_points(mapping)} ({interval(mapping['loss_ci95'])})"
        + (", not distinguishable from chance" if maybe_chance(mapping) else "")
        for mapping in results["mappings"]
    }


def _beside(columns: list[dict[str, str]]) -> list[Row]:
    """Return a row for each name that any column has, in the order in which names first come."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, *(column.get(name, "") for column in columns)) for name in names]
