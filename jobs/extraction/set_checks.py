"""Checks of further evaluation sets, before their images are extracted."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow.compute as pc
import ray

from jobs.cluster.in_turn import in_turn
from jobs.cluster.runs import say
from jobs.evaluation.set_labels import right_labels
from jobs.extraction.checks import check_classes, check_labels
from jobs.listing.shared import check_shared
from lib.errors import ExperimentError
from lib.experiment.evaluation_sets import EvaluationSet
from lib.experiment.settings import Images
from lib.images.set_classes import known_classes, subset_of
from lib.images.tables import ListingTable
from lib.networks.descriptions import Description

ROWS = 2**20  # images whose right labels one task looks for


def check_sets(images: Images, listings: Mapping[str, ListingTable], described: dict[str, Description]) -> None:
    """Raise ExperimentError or ListingError if a set's classes or labels are not the networks', if labels are missing,
    or if too many of its images are training images.
    """
    for name, settings in images.eval.items():
        table, field = listings[name], images.field(name)
        shared = check_shared(listings["train"], table, images.max_shared, name)
        if shared:
            say("extract", f"{shared} images of {name} are in train, too")
        if settings.classes is None and known_classes(images) is None:
            check_classes({field: settings}, None, None, described)
        subset = subset_of(settings, table.folder_labels, table.classes)
        if subset is not None:
            check_labels(f"{field}.classes", max(subset), described)
            say("extract", f"{name}: {words_of(settings, len(subset))}")
        if settings.labels is not None:
            check_right_labels(settings, table, name, described)
        elif not table.labelled:
            raise ExperimentError(f"{field}: no image there has a label, so that nothing can be evaluated")
        else:
            check_labels(field, table.largest_label, described)


def words_of(settings: EvaluationSet, count: int) -> str:
    """Return words on a set with a part of the networks' classes."""
    if settings.restricted:
        return f"answers are the best among its {count} classes"
    return f"it has {count} classes, answers are the best among all"


def check_right_labels(
    settings: EvaluationSet, table: ListingTable, name: str, described: dict[str, Description]
) -> None:
    """Raise ListingError if an image has no entry in a set's file of right labels, ExperimentError if a label is none
    of a network's. Say how many images have none that is right.
    """
    found = list(in_turn(lambda first: look_up.remote(settings, table, first), range(0, table.rows, ROWS)))
    largest = max((label for _, label in found if label is not None), default=None)
    check_labels(f"images.eval.{name}.labels", largest, described)
    without = sum(count for count, _ in found)
    if without == table.rows:
        raise ExperimentError(f"images.eval.{name}.labels: no image has a right label there")
    if without:
        say("extract", f"{name}: {without:,} of {table.rows:,} images have no right label, and will not be counted")


@ray.remote(num_cpus=1)
def look_up(settings: EvaluationSet, table: ListingTable, first: int) -> tuple[int, int | None]:
    """Return how many of some images have no right label, and the largest label."""
    right = right_labels(settings, table)
    if right is None:
        return 0, None
    ids = table.read(first, min(first + ROWS, table.rows), ["image_id"])["image_id"]
    found = right.of(ids)
    return int(pc.sum(pc.equal(pc.list_value_length(found), 0)).as_py() or 0), pc.max(pc.list_flatten(found)).as_py()
