"""What an evaluation set's listing and files say of its classes and right labels."""

from __future__ import annotations

from jobs.cluster.runs import Run
from lib.experiment.evaluation_sets import EvaluationSet
from lib.images.right_labels import RightLabels
from lib.images.set_classes import subset_of
from lib.images.tables import ListingTable


def set_classes(run: Run, split: str) -> list[int] | None:
    """Return the labels of a set's classes, ascending; None if these are all of the networks', as val's are.

    Raises TableError if the set is not listed yet.
    """
    settings = run.experiment.images.split(split)
    if not isinstance(settings, EvaluationSet):
        return None
    table = ListingTable.load(run.files.images(split))
    return subset_of(settings, table.folder_labels, table.classes)


def answers_among(run: Run, split: str) -> list[int] | None:
    """Return the labels of the classes that answers for a split's images are chosen from, None for all."""
    settings = run.experiment.images.split(split)
    restricted = isinstance(settings, EvaluationSet) and settings.restricted
    return set_classes(run, split) if restricted else None


def right_labels(settings: EvaluationSet, table: ListingTable) -> RightLabels | None:
    """Return all right labels of a set's images; None if its listing has the one label of each."""
    return None if settings.labels is None else RightLabels.read(settings.labels, table.classes)
