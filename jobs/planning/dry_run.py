"""What `python -m jobs.pipeline` would do, stage by stage, and an estimate of how long extraction and fits would take.

Nothing is written, no Ray is started, and no weights are read. What is finished is taken to be made from the same
settings; a run checks that.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from jobs.cluster.progress import time_left
from jobs.cluster.runs import Run
from jobs.planning.counting import Count, count_images
from lib.experiment.layout import manifest_in
from lib.experiment.variants import MapKey, full_variants, pairs_with_points
from lib.features.tables import FeatureTables
from lib.images.set_classes import listed_classes
from lib.images.tables import ListingTable
from lib.storage.files import files_below, is_file
from lib.storage.parts import count_rows
from lib.storage.uris import resolve

Pair = tuple[str, str]
WIDTH = 100  # characters of a line


@dataclass(frozen=True)
class SplitPlan:
    """What is missing of one split's features."""

    listed: Count
    done: int  # images that an unfinished table has
    networks: tuple[str, ...]  # without a finished table

    @property
    def left(self) -> int:
        """The number of images that are still to be done."""
        return max(0, self.listed.images - self.done)


class Plan:
    """What a run has still to do. Each part is found when it is asked for."""

    def __init__(self, run: Run) -> None:
        self.run, self.experiment, self.files = run, run.experiment, run.files

    @cached_property
    def pictures(self) -> dict[str, int]:
        """The demo's pictures that are to be drawn, by split."""
        demo = self.experiment.demo
        if demo is None:
            return {}
        wanted = {"train": demo.train_pictures, "val": demo.val_pictures}
        folders = {split: self.experiment.images.split(split).location for split in wanted}
        return {split: wanted[split] for split in wanted if not is_file(f"{folders[split]}.manifest.json")}

    @cached_property
    def training(self) -> list[str]:
        """The demo's networks that are to be trained."""
        networks = self.experiment.networks if self.experiment.demo is not None else {}
        return [name for name, network in networks.items() if not is_file(network.weights)]

    @cached_property
    def splits(self) -> dict[str, SplitPlan]:
        """What is missing of the features, by split."""
        found = {}
        for split in self.experiment.images.splits:
            tables = FeatureTables.open(self.files.features(split)).tables
            missing = tuple(name for name in self.experiment.networks if name not in tables)
            done = count_rows(self.files.feature_table(split, missing)) if missing else 0
            found[split] = SplitPlan(self.listed(split), done, missing)
        return found

    def listed(self, split: str) -> Count:
        """Return how many images a split has."""
        limit = self.experiment.limit
        if split in self.pictures:
            return Count(min(self.pictures[split], limit or self.pictures[split]))
        table = ListingTable.open(self.files.images(split))
        if table is not None:
            return Count(table.rows)
        images = self.experiment.images
        return count_images(images.split(split), listed_classes(images, split), limit)

    @cached_property
    def probes(self) -> list[str]:
        """The networks whose classifiers are to be fitted to labels."""
        named = [name for name, network in self.experiment.networks.items() if network.classifier == "probe"]
        return [name for name in named if not is_file(self.files.classifier_manifest(name))]

    @cached_property
    def maps(self) -> list[MapKey]:
        """The full maps that are to be fitted."""
        written = set(files_below(self.files.maps, ".manifest.json"))
        keys = [
            MapKey(*pair, variant)
            for pair in self.experiment.pairs()
            for variant in full_variants(self.experiment, *pair)
        ]
        return [key for key in keys if resolve(self.files.map_manifest(key.name))[1] not in written]

    @cached_property
    def tables(self) -> set[str]:
        """The manifests of finished prediction tables, as paths."""
        return set(files_below(self.files.all_predictions, "manifest.json", recursive=True))

    def predicted(self, folder: str) -> bool:
        """Return whether a table of predictions is finished."""
        return resolve(manifest_in(folder))[1] in self.tables

    @cached_property
    def curves(self) -> list[Pair]:
        """The pairs whose maps of low rank and of parts of the rows, or whose controls, are to be fitted and judged."""
        pairs = pairs_with_points(self.experiment)
        return [pair for pair in pairs if not self.predicted(self.files.curve_predictions(*pair))]

    @cached_property
    def predictions(self) -> list[tuple[str, Pair]]:
        """The splits and compositions that are to be predicted; those of a new map are made anew."""
        every = [*((name, name) for name in self.experiment.networks), *self.experiment.pairs()]
        fitted = {key.pair for key in self.maps}
        return [
            (split, pair)
            for split in self.experiment.images.judged
            for pair in every
            if pair in fitted or not self.predicted(self.files.predictions(*pair, split))
            if split == "val" or pair[0] == pair[1] or self.experiment.networks[pair[1]].classifies
        ]

    @cached_property
    def sets(self) -> list[str]:
        """The further evaluation sets that are to be evaluated."""
        predicted = {split for split, _ in self.predictions}
        names = self.experiment.images.eval
        return [name for name in names if name in predicted or not is_file(self.files.set_manifest(name))]

    @property
    def evaluates(self) -> bool:
        """Whether results.json is to be written, of val's predictions."""
        on_val = any(split == "val" for split, _ in self.predictions)
        return on_val or bool(self.curves) or not is_file(self.files.results_manifest)

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield what each stage would do."""
        for split, count in self.pictures.items():
            yield "prepare", f"draw {count:,} pictures of {split}"
        if self.training:
            yield "prepare", f"train {', '.join(self.training)}"
        for split, plan in self.splits.items():
            if not plan.networks:
                yield "extract", f"{split}: all features are finished"
                continue
            done = f" ({plan.done:,} are already done)" if plan.done else ""
            images = f"{replace(plan.listed, images=plan.left)} of {plan.listed} images{done}"
            yield "extract", f"{split}: {images}, a table with features of {', '.join(plan.networks)}"
        if self.probes:
            yield "probe", f"fit classifiers of {', '.join(self.probes)} to labels"
        yield "fit", self.of_fits()
        yield "predict", f"{len(self.predictions):,} tables" if self.predictions else "all predictions are finished"
        yield "evaluate", "results.json and its tables" if self.evaluates else "results.json is finished"
        if self.sets:
            yield "evaluate", f"the maps on {', '.join(self.sets)}"
        report = self.evaluates or self.sets or not is_file(self.files.report_manifest)
        yield "report", "report.html, table1.md, figures" if report else "the report is finished"

    def of_fits(self) -> str:
        """Return which maps are to be fitted."""
        adam = sum(key.variant.family == "affine" for key in self.maps)
        fit, parts = self.experiment.fit, []
        if adam:
            parts.append(f"{adam:,} maps by Adam, {fit.iterations:,} iterations of {fit.batch_size:,} rows each")
        if len(self.maps) > adam:
            parts.append(f"{len(self.maps) - adam:,} maps in closed form")
        if self.curves:
            parts.append(f"curves and controls of {len(self.curves):,} pairs")
        return "; ".join(parts) or "all maps are finished"

    def estimate(self, cores: int) -> str:
        """Return how long extraction and fits by Adam would take on this machine's cores."""
        from lib.benchmarks.estimates import extraction_seconds, fit_seconds  # with torch, which takes seconds
        from lib.networks.costs import network_cost

        costs = {name: network_cost(name, network) for name, network in self.experiment.networks.items()}
        extraction = sum(
            extraction_seconds(plan.left, sum(costs[name].multiply_adds for name in plan.networks), cores)
            for plan in self.splits.values()
            if plan.networks
        )
        pairs = [key.pair for key in self.maps if key.variant.family == "affine"]
        sizes = [(costs[source].feature_size, costs[target].feature_size) for source, target in pairs]
        fits = fit_seconds(self.experiment.fit, sizes, cores)
        parts = {"extract": extraction, "fits by Adam": fits}
        return ", ".join(f"{what} {time_left(seconds)}" for what, seconds in parts.items() if seconds)


def dry_run(run: Run) -> None:
    """Print what a run would do."""
    plan, cores = Plan(run), os.cpu_count() or 1
    print(f"A run would do this in {run.files.folder}; nothing is done now:", flush=True)
    for stage, text in plan.lines():
        line = textwrap.fill(text, WIDTH, initial_indent=f"  {stage:<9}", subsequent_indent=" " * 11)
        print(line, flush=True)
    estimate = plan.estimate(cores)
    if estimate:
        text = (
            f"An estimate from the rates in lib/benchmarks/README.md, for this machine's {cores} CPUs without a GPU: "
            f"{estimate}. It may be wrong by a factor of three. Not counted: starting, closed forms, predictions, "
            "evaluation."
        )
        print(textwrap.fill(text, WIDTH), flush=True)
