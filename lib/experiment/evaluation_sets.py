"""More images on which an experiment's maps are judged: sets that shift away from val, or val under other labels."""

from __future__ import annotations

from lib.experiment.splits import Split
from lib.experiment.titles import Title

PLACE = ("location", "format", "base", "image_column", "id_column")  # fields that tell which images, under which ids


class EvaluationSet(Split):
    """One set of images beside val, with its own labels, and perhaps with some of the networks' classes alone."""

    title: Title | None = None
    """What the page and Table 1 call it. None: its name."""
    classes: str | None = None
    """A file of the set's classes: names or labels, one on each line, such as "timm:imagenet_a_indices.txt". Images of
    other classes are not counted. None: a tree's folders, else all of the networks' classes."""
    restricted: bool = True
    """Answers are the best of the set's classes, as in timm's results for ImageNet-A and -R. false: of all classes."""
    labels: str | None = None
    """A file with all right labels of each image, instead of the listing's: ReaL's real.json, which is
    "timm:imagenet_real_labels.json", a JSON object by image, or .parquet or .csv with the columns path and label. An
    image with none is not counted."""


def same_images(one: Split, other: Split) -> bool:
    """Return whether two splits have the same images, under the same ids, whatever their labels are."""
    return all(getattr(one, field) == getattr(other, field) for field in PLACE)
