"""The images of an experiment: the section [images] of its file."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import model_validator

from lib.experiment.evaluation_sets import EvaluationSet, same_images
from lib.experiment.layout import NAME, NAME_RULE, SPLITS, TO
from lib.experiment.sections import Fraction, Positive, Section
from lib.experiment.splits import Split

MAX_PIXELS = 100_000_000  # of one image, unless an experiment says otherwise


class Images(Section):
    """The images of all splits, and what is accepted of them."""

    train: Split
    """The images on which maps are fitted. Their labels are not used."""
    val: Split
    """The images on which everything is evaluated."""
    eval: dict[str, EvaluationSet] = {}
    """More images on which the same maps are judged, each set by its name: [images.eval.NAME]."""
    classes: str | None = None
    """A file of all class names (wnids), one on each line, such as "timm:imagenet_synsets.txt". None takes a tree's
    folders."""
    class_order: Literal["file", "sorted"] | None = None
    """How networks count the names in that file: as its lines, or sorted. None refuses a file that is not sorted."""
    max_rejected: Fraction = 0.001
    """The share of a split's images that may be unreadable."""
    max_shared: Fraction = 0.001
    """The share of the evaluation images that may be training images, too."""
    max_pixels: Positive = MAX_PIXELS
    """Images with more pixels are rejected before they are decoded."""

    @model_validator(mode="after")
    def check_sets(self) -> Images:
        """Refuse names of sets that cannot be folders' names."""
        for name in self.eval:
            if not re.fullmatch(NAME, name) or TO in name or name in SPLITS:
                raise ValueError(f"eval.{name}: {NAME_RULE}; train and val are taken")
        return self

    @property
    def judged(self) -> tuple[str, ...]:
        """The splits on which maps are judged: val, and the further sets."""
        return ("val", *self.eval)

    @property
    def splits(self) -> tuple[str, ...]:
        """All splits, those of the experiment itself first."""
        return (*SPLITS, *self.eval)

    def split(self, name: str) -> Split:
        """Return the section of the split called `name`."""
        return self.train if name == "train" else self.val if name == "val" else self.eval[name]

    def field(self, name: str) -> str:
        """Return the field of the split called `name`, as messages have it."""
        return f"images.eval.{name}" if name in self.eval else f"images.{name}"

    def same_as_val(self, name: str) -> bool:
        """Return whether a split has the very images of val, under the same ids."""
        return same_images(self.split(name), self.val)
