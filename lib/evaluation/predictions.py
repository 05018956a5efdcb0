"""Predictions of a composition: C_B(F_B), or C_B(M_{A->B} F_A) with A's features in place of B's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from lib.features.chunks import vectors_of
from lib.maps.affine import AffineMap
from lib.maps.error import unit_distance
from lib.networks.classifiers import Classifier

PREDICTIONS = pa.schema([("image_id", pa.string()), ("label", pa.int32()), ("predicted", pa.int32())])
# For mapped features also E of each image (squared distance of unit vectors) and the length ratio |M F_S| / |F_T|.
MAPPED_PREDICTIONS = PREDICTIONS.append(pa.field("error", pa.float32())).append(pa.field("length_ratio", pa.float32()))


class Predict:
    """argmax of C_B over features, with the map M_{A->B} before it where `map_` is given.

    Takes a batch of the feature table with the columns `source` and, where there is a map, `target`. Computes in
    float64, so that no rounding tells which rows happened to be in one batch.
    """

    def __init__(self, source: str, target: str, classifier: Classifier, map_: AffineMap | None = None) -> None:
        self.source, self.target = source, target
        self.classifier = Classifier(classifier.weight.double(), classifier.bias.double(), classifier.offset)
        self.map = None if map_ is None else AffineMap(map_.weight.double(), map_.bias.double())

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Feature rows -> tables.PREDICTIONS, or tables.MAPPED_PREDICTIONS with a map."""
        features = float64_vectors(rows, self.source)
        columns = {"image_id": rows["image_id"], "label": rows["label"]}
        if self.map is None:
            return pa.table({**columns, "predicted": self.best(features)}, schema=PREDICTIONS)
        F_B, mapped = float64_vectors(rows, self.target), self.map(features)
        columns |= {
            "predicted": self.best(mapped),
            "error": pa.array(unit_distance(F_B, mapped).numpy().astype(np.float32)),
            "length_ratio": pa.array((mapped.norm(dim=1) / F_B.norm(dim=1)).numpy().astype(np.float32)),
        }
        return pa.table(columns, schema=MAPPED_PREDICTIONS)

    def best(self, features: torch.Tensor) -> pa.Array:
        """(n, d_B) -> (n,) class index in the labels' terms: a background class becomes -1."""
        return pa.array((self.classifier(features).argmax(1) - self.classifier.offset).numpy(), pa.int32())


class TopK:
    """Counts of right answers of one network on its own features: the label is first, or among the first k."""

    def __init__(self, network: str, classifier: Classifier, k: int) -> None:
        self.network, self.k = network, min(k, classifier.classes)
        self.classifier = Classifier(classifier.weight.double(), classifier.bias.double(), classifier.offset)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Feature rows with a `reason` -> one row: total, top1, topk, unlabelled, rejected (counts); few reasons."""
        rejected = rows.filter(pc.not_equal(rows["reason"], ""))
        judged = rows.filter(pc.and_(pc.equal(rows["reason"], ""), pc.is_valid(rows["label"])))
        best = torch.empty(0, self.k, dtype=torch.int64)
        if len(judged):
            best = self.classifier(float64_vectors(judged, self.network)).topk(self.k).indices - self.classifier.offset
        right = best == torch.from_numpy(judged["label"].to_numpy().astype(np.int64))[:, None]
        few = [f"{row['image_id']}: {row['reason']}" for row in rejected.slice(0, 5).to_pylist()]
        counts = {"total": len(judged), "top1": int(right[:, :1].sum()), "topk": int(right.sum())}
        counts |= {"unlabelled": len(rows) - len(rejected) - len(judged), "rejected": len(rejected)}
        return pa.table(
            {**{name: [count] for name, count in counts.items()}, "few": pa.array([few], pa.list_(pa.string()))}
        )


def float64_vectors(rows: pa.Table, network: str) -> torch.Tensor:
    """A feature column as (n, d) float64."""
    return torch.from_numpy(vectors_of(rows, network).astype(np.float64))
