"""The page's section about all directions at once: the heat map, and what each network gives and takes."""

from __future__ import annotations

import math

from lib.evaluation.chance import maybe_chance
from lib.evaluation.results import Results
from lib.report.blocks import Block, Cells, FigureBlock, Section, Table
from lib.report.cells import fitted, number, percent
from lib.report.findings import Findings
from lib.report.heat_map import WORDED

MATRIX = 3  # networks from which a heat map says more than a table
HEAT_MAP = "a row is the network that gives its features, a column the network whose classifier uses them."


def losses_section(findings: Findings, svg: str | None) -> Section | None:
    """Return the heat map `svg` and the table of networks, or None if there is no heat map."""
    if svg is None:
        return None
    results = findings.results
    networks = results["networks"]
    order = results.get("order") or list(networks)
    loss = {(mapping["source"], mapping["target"]): mapping["loss"] for mapping in results["mappings"]}
    cells = Cells(
        [findings.name(network) for network in order],
        order,
        [[round(loss[s, t], 2) if (s, t) in loss else None for t in order] for s in order],
    )
    blocks: list[Block] = [FigureBlock(svg, heat_map_caption(results), HEAT_MAP, shrink=0.7, cells=cells)]
    given = {name: network.get("gives") for name, network in networks.items()}
    if any(mean is not None for mean in given.values()):
        ranked = sorted(networks, key=lambda name: math.inf if (mean := given[name]) is None else mean)
        rows = [
            (
                *(f"{name}{fitted(networks[name])}", percent(networks[name])),
                *(number(given[name], 2), number(networks[name].get("takes"), 2)),
            )
            for name in ranked
        ]
        header = ("network", "accuracy %", "gives: mean loss of classifiers fed from it", "takes: mean loss of its own")
        blocks.append(Table(header, rows, "What each network gives and takes, in points; less is better."))
    return Section("losses", "Which network stands in for which", blocks)


def heat_map_caption(results: Results) -> str:
    """Return how to read the heat map."""
    caption = "Loss in points. Red is a loss, blue a gain."
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
