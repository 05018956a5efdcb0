"""A plain-language answer to the experiment's question."""

from __future__ import annotations

from lib.evaluation.chance import LEVEL, at_chance
from lib.evaluation.results import MappingResults, Results
from lib.report.cells import direction

NAMED = 6  # networks, or directions at chance, that the verdict names


def verdict(results: Results) -> str:
    """Return what the numbers answer, without a claim that they do not carry.

    Two networks get a sentence for each direction. More networks get the two ends of the range, how many directions
    change at all, and which give nothing, each on a line.
    """
    mappings = results["mappings"]
    if len(mappings) <= 2:
        return " ".join(_sentence(results, mapping) for mapping in mappings)
    chance = [mapping for mapping in mappings if at_chance(results, mapping)]
    rest = sorted((mapping for mapping in mappings if mapping not in chance), key=lambda mapping: mapping["loss"])
    parts = [f"Of {len(mappings):,} directions, {len(chance):,} are at chance."] if chance else []
    if rest:
        ends = "\n".join(_sentence(results, mapping) for mapping in (rest if len(rest) == 1 else (rest[0], rest[-1])))
        among = f"Of the other {len(rest):,}" if chance else f"Of {len(rest):,} directions"
        parts += [f"{among}, the one with the least loss and the one with the most:", ends] if rest[1:] else [ends]
    return "\n".join([*parts, *_tested(mappings), *_nothing(results, chance)])


def _sentence(results: Results, mapping: MappingResults) -> str:
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


def _tested(mappings: list[MappingResults]) -> list[str]:
    """Say how many directions lose and gain; say nothing if results.json lacks a corrected p-value."""
    if any(mapping.get("p_holm") is None for mapping in mappings):
        return []
    changed = [mapping["loss"] for mapping in mappings if is_significant(mapping)]
    lose, gain = sum(loss > 0 for loss in changed), sum(loss < 0 for loss in changed)
    return [
        f"Accuracy falls in {_count(lose)} of {len(mappings):,} directions and rises in {_count(gain)}, by more than "
        "chance explains (Holm-corrected p below 0.05)."
    ]


def _count(number: int) -> str:
    return f"{number:,}" if number else "none"


def is_significant(mapping: MappingResults) -> bool:
    """Return whether the accuracy changes by more than chance explains."""
    p = mapping.get("p_holm")
    return p is not None and p < LEVEL


def _nothing(results: Results, chance: list[MappingResults]) -> list[str]:
    """Say which networks' features give nothing to any other, and which other directions are at chance."""
    all_sources = [mapping["source"] for mapping in results["mappings"]]
    found = [mapping["source"] for mapping in chance]
    useless = [name for name in results["networks"] if name in found and found.count(name) == all_sources.count(name)]
    parts = [f"Features of {_named(useless)} give nothing to any other network's classifier."] if useless else []
    others = [direction(mapping) for mapping in chance if mapping["source"] not in useless]
    if others:
        parts.append(f"At chance {'besides ' if useless else ''}are {_named(others)}.")
    return parts


def _named(names: list[str]) -> str:
    """Return the names, or the first NAMED of them and how many more there are."""
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{rest}"
