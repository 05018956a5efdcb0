"""Time a part of this project beside a reference, by turns, so that a shared machine's other work slows both alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any


@dataclass(frozen=True)
class Timing:
    """One row of a benchmark: the rates (units of work a second) of the project and of its reference."""

    part: str
    unit: str  # "images/s", "GB/s", ...
    reference_is: str
    project: tuple[float, ...]  # one rate for each repeat
    reference: tuple[float, ...]
    goal: float | None = None  # the ratio to reach
    note: str = ""

    @property
    def ratio(self) -> float:
        """The median over the repeats of project / reference; each pair is timed side by side."""
        return median(mine / theirs for mine, theirs in zip(self.project, self.reference, strict=True))

    def as_json(self) -> dict[str, Any]:
        """Return the row with its ratio."""
        return {**asdict(self), "ratio": self.ratio}


def by_turns(
    project: Callable[[], object], reference: Callable[[], object], work: float, repeats: int = 5
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the rates of both, `repeats` of each; a call does `work` units. A first call of each is not timed."""
    project()
    reference()
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for found, call in zip(rates, (project, reference), strict=True):
            begin = perf_counter()
            call()
            found.append(work / (perf_counter() - begin))
    return tuple(rates[0]), tuple(rates[1])


def one_after_another(*works: Callable[[], object]) -> Callable[[], None]:
    """Return a function that does all these works."""

    def work() -> None:
        for each in works:
            each()

    return work


def timings_table(rows: list[Timing]) -> str:
    """Return the rows as a Markdown table: medians, and the ratio beside the one to reach."""
    lines = [
        "| part | unit | project | reference | ratio | to reach | reference is |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        goal = "" if row.goal is None else f"{row.goal:g}"
        lines.append(
            f"| {row.part} | {row.unit} | {median(row.project):.4g} | {median(row.reference):.4g} "
            f"| {row.ratio:.2f} | {goal} | {row.reference_is} |"
        )
    return "\n".join(lines + [f"\n{row.part}: {row.note}" for row in rows if row.note])
