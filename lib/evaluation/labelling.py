"""Which images of an evaluation set are counted, and which answers are right for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.images.right_labels import RightLabels

NO_CLASS = -3  # what no answer is: the background is -1, and -2 stands where there is no classifier


@dataclass(frozen=True, eq=False)
class Labelling:
    """The right labels of n images, of which m are counted."""

    counted: np.ndarray  # (n,) bool
    label: np.ndarray  # (m,) the right label, or the first of them
    right: np.ndarray | None  # (m, k) all right labels, the rest NO_CLASS; None if each image has one
    unlabelled: int  # images that are not counted, since no label is right for them
    outside: int  # images that are not counted, since no class of the set is right for them

    @classmethod
    def of(
        cls, images: pa.Table, classes: Sequence[int] | None = None, several: RightLabels | None = None
    ) -> Labelling:
        """Return the labelling of a table with image_id and label.

        `classes` are the set's classes: images of others are not counted, and labels of others do not count. `several`
        has all right labels of each image, in place of the table's; an image without one is not counted. Raises
        ListingError if an image is not found there.
        """
        if several is None:
            label = pc.fill_null(images["label"], NO_CLASS).to_numpy()[:, None]
        else:
            label = padded(several.of(images["image_id"]))
        labelled = (label != NO_CLASS).any(axis=1)
        if classes is not None:
            label = np.where(np.isin(label, np.asarray(classes)), label, NO_CLASS)
            label = np.take_along_axis(label, np.argsort(label == NO_CLASS, axis=1, kind="stable"), axis=1)
        counted = (label != NO_CLASS).any(axis=1)
        chosen = label[counted]
        return cls(
            counted,
            chosen[:, 0],
            chosen if several is not None else None,
            int((~labelled).sum()),
            int((labelled & ~counted).sum()),
        )


def padded(lists: pa.Array) -> np.ndarray:
    """Return lists of labels as one matrix (n, k), k being the length of the longest, with NO_CLASS behind the rest."""
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    found = np.full((len(lists), max(1, int(lengths.max(initial=0)))), NO_CLASS, np.int32)
    rows = np.repeat(np.arange(len(lists)), lengths)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    found[rows, places] = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    return found
