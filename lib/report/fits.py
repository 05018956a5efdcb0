"""What is said of fits by Adam that diverged, or that were still under way."""

from __future__ import annotations

from lib.evaluation.results import FeatureMappingResults, MappingResults, Results
from lib.report.cells import direction, named
from lib.report.findings import all_mappings

AnyMapping = MappingResults | FeatureMappingResults


def fit_lines(results: Results) -> list[str]:
    """Return a sentence about the directions whose fit diverged, and one about those whose E had not settled."""
    diverged, moving = list[AnyMapping](), list[AnyMapping]()
    for mapping in all_mappings(results):
        if "fit_curve" not in mapping:
            continue
        if mapping["fit_curve"]["state"] == "diverged":
            diverged.append(mapping)
        elif mapping["fit_curve"]["state"] != "settled":
            moving.append(mapping)
    found = []
    if diverged:
        ratios = [mapping["length_ratio"] for mapping in diverged]
        most = max((ratio for ratio in ratios if ratio is not None), default=None)
        length = "not finite" if most is None else f"up to {most:.3g} times as long as the target's own"
        found.append(
            f"The fit of {named([direction(mapping) for mapping in diverged])} diverged: mapped vectors are {length}. "
            "These numbers say nothing about the networks: try a smaller fit.learning_rate."
        )
    if moving:
        rising = all(mapping["fit_curve"]["state"] == "rising" for mapping in moving)
        changes = [change for mapping in moving if (change := mapping["fit_curve"]["change"]) is not None]
        by = f" by up to {100 * max(map(abs, changes)):.0f} % over the last tenth of its iterations" if changes else ""
        found.append(
            f"E of {named([direction(mapping) for mapping in moving])} was still {'rising' if rising else 'changing'}"
            f"{by}: more fit.iterations, or another fit.learning_rate, may lose less."
        )
    return found
