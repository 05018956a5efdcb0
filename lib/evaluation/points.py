"""Maps that are counted where they are made, and leave no predictions: right answers and E, batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.evaluation.predictions import PredictMapped, PredictOwn
from lib.evaluation.regions import count_regions
from lib.maps.class_sums import LabelOnly
from lib.networks.classifiers import Classifier
from lib.storage.columns import vector_column

SCALE = 2**32  # E is summed as a whole number of 1/SCALE, so that the order of the images does not matter


class Point(TypedDict):
    """What one map's predictions add up to."""

    correct: int
    total: int  # labelled images
    validation_error: float  # mean E over all images
    regions: dict[str, int] | None  # of labelled images; None without the source's classifier


@dataclass
class PointCounts:
    """Counts of one map, to which batches are added."""

    correct: int = 0
    labelled: int = 0
    images: int = 0
    error: int = 0  # 1/SCALE
    regions: Counter[str] | None = None

    def add(self, predicted: pa.Table, column: str, own: OwnRight | None) -> None:
        """Count the images of a prediction table with this map's columns. `own` is what is right without a map."""
        right = pc.equal(predicted[f"predicted_{column}"], predicted["label"])  # null without a label
        self.correct += pc.sum(right).as_py() or 0
        self.labelled += len(predicted) - predicted["label"].null_count
        self.images += len(predicted)
        error = predicted[f"error_{column}"].to_numpy().astype(np.float64)
        self.error += int(np.rint(error * SCALE).astype(np.int64).sum())
        if own is not None:
            labelled = predicted["label"].is_valid().to_numpy()
            mapped = pc.fill_null(right, False).to_numpy()
            counts = count_regions(*(these[labelled] for these in (own.target, own.source, mapped)))
            self.regions = Counter({key: counts[key] + (self.regions or Counter())[key] for key in counts})

    def point(self) -> Point:
        """Return the counts, divided once."""
        error = self.error / SCALE / max(self.images, 1)
        regions = None if self.regions is None else dict(self.regions)
        return {"correct": self.correct, "total": self.labelled, "validation_error": error, "regions": regions}


@dataclass(frozen=True)
class OwnRight:
    """Which images target and source get right with their own features, (n,) bool each."""

    target: np.ndarray
    source: np.ndarray


class CountPoints:
    """Count what some maps of one pair predict. With the classifiers of target and source, count the regions, too.

    `feed` makes of a feature table's rows those that the maps are applied to, where they are other ones: a control's
    vectors, or coordinates.
    """

    def __init__(
        self,
        predict: PredictMapped,
        feed: Callable[[pa.Table], pa.Table] | None = None,
        classifiers: tuple[Classifier | None, Classifier | None] = (None, None),
    ) -> None:
        self.predict, self.feed = predict, feed
        self.own = None
        if None not in classifiers:
            self.own = [
                PredictOwn(network, classifier, predict.device)
                for network, classifier in zip((predict.target, predict.source), classifiers, strict=True)
            ]
        self.counts = {name: PointCounts() for name in predict.maps}

    def __call__(self, rows: pa.Table) -> None:
        """Count rows of a feature table that has the columns of both networks."""
        predicted = self.predict(rows if self.feed is None else self.feed(rows))
        own = None if self.own is None else OwnRight(*(right(predict(rows)) for predict in self.own))
        for name, counts in self.counts.items():
            counts.add(predicted, name, own)

    def points(self) -> Mapping[str, Point]:
        """Return each map's counts."""
        return {name: counts.point() for name, counts in self.counts.items()}


def right(predicted: pa.Table) -> np.ndarray:
    """Return which images of a PREDICTIONS table are right, (n,) bool; none is without a label."""
    equal: np.ndarray = pc.fill_null(pc.equal(predicted["predicted"], predicted["label"]), False).to_numpy()
    return equal


@dataclass(frozen=True)
class LabelOnlyRows:
    """Feed maps of one pair with a control's label-only vectors, of the images whose classes it knows."""

    source: str
    target: str
    control: LabelOnly

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return labelled rows with the control's vectors in place of the source's."""
        rows = rows.filter(pa.array(self.control.has(pc.fill_null(rows["label"], -1).to_numpy())))
        drawn = self.control.vectors(rows["image_id"].to_pylist(), rows["label"].to_numpy())
        return rows.select(["image_id", "label", self.target]).append_column(self.source, vector_column(drawn))
