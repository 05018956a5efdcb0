"""The page's section about all directions at once: the heat map, and what each network gives and takes."""

from __future__ import annotations

from lib.evaluation.chance import maybe_chance
from lib.evaluation.results import Results
from lib.report.blocks import Block, FigureBlock, Section, Table
from lib.report.cells import number, percent
from lib.report.heat_map import WORDED

MATRIX = 3  # networks from which a heat map says more than a table


def losses_section(results: Results, svg: str | None) -> Section | None:
    """Return the heat map `svg` and the table of networks, or None if there is no heat map."""
    if svg is None:
        return None
    networks = results["networks"]
    order = results.get("order") or list(networks)
    blocks: list[Block] = [FigureBlock(svg, heat_map_caption(results), shrink=0.7, cells=order)]
    if all("gives" in network and "takes" in network for network in networks.values()):
        ranked = sorted(networks, key=lambda name: networks[name]["gives"])
        rows = [
            (name, percent(networks[name]), number(networks[name]["gives"], 2), number(networks[name]["takes"], 2))
            for name in ranked
        ]
        header = ("network", "accuracy %", "gives: mean loss of classifiers fed from it", "takes: mean loss of its own")
        blocks.append(Table(header, rows, "What each network gives and takes, in points; less is better."))
    return Section("losses", "Which network stands in for which", blocks)


def heat_map_caption(results: Results) -> str:
    """Return how to read the heat map."""
    caption = "Loss in points: the row's features, mapped, in the column's classifier. Red is a loss, blue a gain."
    worded = len(results["networks"]) <= WORDED
    if worded:
        caption += " The diagonal is each network's own accuracy in percent."
    if worded and any(mapping.get("p_holm") is not None for mapping in results["mappings"]):
        caption += " * more than chance explains: Holm-corrected p below 0.05."
    if chance_pairs(results):
        caption += " Dark grey: not distinguishable from chance."
    if "order" in results:
        caption += " Similar networks stand beside each other."
    return caption


def chance_pairs(results: Results) -> set[tuple[str, str]]:
    """Return (source, target) of the mappings that are not distinguishable from chance."""
    return {(mapping["source"], mapping["target"]) for mapping in results["mappings"] if maybe_chance(mapping)}
