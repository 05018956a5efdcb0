"""A plain-language answer to the experiment's question, which claims no more than the tests that are corrected for all
directions being looked at.
"""

from __future__ import annotations

from collections import Counter

from lib.evaluation.chance import maybe_chance
from lib.evaluation.results import MappingResults, Results
from lib.report.cells import direction, fitted, margin_words, named
from lib.report.fits import fit_lines

Pairs = list[MappingResults]


def verdict(results: Results) -> str:
    """Return the question with what the numbers answer.

    Two networks get the question and a sentence for each direction. More networks get how many directions there are of
    each outcome, the two ends of the range, and which are not distinguishable from chance, each on a line.
    """
    mappings = results["mappings"]
    if not mappings:
        only = "No network has a classifier, so that only features are compared: see E, skill and likeness."
        return "\n".join([only, *fit_lines(results)])
    if len(mappings) <= 2:
        answers = [_answer(results, mapping) for mapping in mappings]
        return "\n".join([*answers, *fit_lines(results), *_shared(results)])
    chance = [mapping for mapping in mappings if maybe_chance(mapping)]
    rest = sorted((mapping for mapping in mappings if mapping not in chance), key=lambda mapping: mapping["loss"])
    parts = _outcomes(results, mappings)
    if rest:
        ends = "\n".join(_sentence(results, mapping) for mapping in (rest if len(rest) == 1 else (rest[0], rest[-1])))
        parts += ["The direction with the least loss and the one with the most:", ends] if rest[1:] else [ends]
    return "\n".join([*parts, *_like_chance(results, chance), *fit_lines(results), *_shared(results)])


def question(results: Results) -> str:
    """Return the experiment's question, which names two networks, but not more of them."""
    names = list(results["networks"])
    if len(names) == 2:
        return f"How far can {names[0]} and {names[1]} stand in for each other?"
    return "How far can one network stand in for another?"


def _answer(results: Results, mapping: MappingResults) -> str:
    """Return the question about one direction, and its answer."""
    return f"How far can {mapping['source']} stand in for {mapping['target']}? {_sentence(results, mapping)}"


def _shared(results: Results) -> list[str]:
    """Say how many evaluation images are training images, too, if there are any."""
    shared, total = results.get("shared_images", 0), results["mappings"][0]["total"]
    if not shared:
        return []
    return [f"{shared:,} of {total:,} evaluation images have the features of a training image: they may be the same."]


def _outcomes(results: Results, mappings: Pairs) -> list[str]:
    """Say how many directions there are of each outcome; say nothing if results.json is of an earlier version."""
    if any("outcome" not in mapping for mapping in mappings):
        return []
    found = Counter(mapping["outcome"] for mapping in mappings)
    equivalent, undecided = found["equivalent"], found["undecided"]
    different = [mapping["loss"] for mapping in mappings if mapping["outcome"] == "different"]
    lose, gain = sum(loss > 0 for loss in different), sum(loss < 0 for loss in different)
    return [
        f"How far can one of these {len(results['networks']):,} networks stand in for another? "
        f"Of {len(mappings):,} directions, {_count(equivalent)} keep the classifier's accuracy within "
        f"{margin_words(results)}, {_count(lose)} lose accuracy, {_count(gain)} gain accuracy, and {_count(undecided)} "
        "are undecided (tests at 5 %, corrected for all directions)."
    ]


def _count(number: int) -> str:
    return f"{number:,}" if number else "none"


def _sentence(results: Results, mapping: MappingResults) -> str:
    source, target, loss = mapping["source"], mapping["target"], mapping["loss"]
    own, mapped = 100 * results["networks"][target]["accuracy"], 100 * mapping["accuracy"]
    probe = " (fitted with labels)" if fitted(results["networks"][target]) else ""
    begin = f"Fed with mapped features of {source} instead of its own, {target}'s classifier{probe}"
    if maybe_chance(mapping):
        return (
            f"{begin} is not distinguishable from chance: {mapped:.2f} % right, at most "
            f"{100 * mapping['accuracy_ci95'][1]:.2f} %, where chance gives {100 * mapping['chance']:.2f} % and its "
            f"own features {own:.2f} %."
        )
    count = len(results["mappings"])
    at_once = "" if count == 1 else ", both directions at once" if count == 2 else f", all {count:,} directions at once"
    low, high = mapping.get("loss_ci95_all") or mapping["loss_ci95"]
    numbers = f"({own:.2f} % to {mapped:.2f} %; 95 % interval of the loss{at_once}: {low:.2f} to {high:.2f})"
    within = margin_words(results)
    outcome = mapping.get("outcome")
    if outcome == "equivalent":
        return f"{begin} keeps its accuracy within {within} {numbers}."
    if outcome == "different":
        return f"{begin} {'loses' if loss > 0 else 'gains'} {abs(loss):.2f} points of accuracy {numbers}."
    return (
        f"{begin} changes by {-loss:+.2f} points of accuracy {numbers}: undecided, since neither a difference nor "
        f"equivalence within {within} is shown."
    )


def _like_chance(results: Results, chance: Pairs) -> list[str]:
    """Say which networks' features lead to nothing that is distinguishable from chance, and which other directions."""
    by_source: dict[str, Pairs] = {}
    for mapping in chance:
        by_source.setdefault(mapping["source"], []).append(mapping)
    takers = {mapping["target"] for mapping in results["mappings"]}
    whole = [name for name, found in by_source.items() if len(found) == len(takers - {name})]
    parts = []
    if whole:
        most = max(mapping["accuracy_ci95"][1] for name in whole for mapping in by_source[name])
        parts.append(
            f"Fed with mapped features of {named(whole)}, no classifier is distinguishable from chance; at most "
            f"{100 * most:.2f} % are right."
        )
    rest = [direction(mapping) for mapping in chance if mapping["source"] not in whole]
    if rest:
        parts.append(f"Not distinguishable from chance are {'also ' if whole else ''}{named(rest)}.")
    return parts
