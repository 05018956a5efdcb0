"""Predictions of a composition: C_B(F_B), or C_B(M_{A->B} F_A) with A's features in place of B's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from lib.images.batches import rejected
from lib.maps.affine import AffineMap
from lib.maps.error import unit_distance
from lib.networks.classifiers import Classifier
from lib.storage.columns import column_vectors

PREDICTIONS = pa.schema([("image_id", pa.string()), ("label", pa.int32()), ("predicted", pa.int32())])
# Mapped features also have E of each image (squared distance of unit vectors) and the length ratio |M F_S| / |F_T|.
MAPPED_PREDICTIONS = PREDICTIONS.append(pa.field("error", pa.float32())).append(pa.field("length_ratio", pa.float32()))


class Predict:
    """The top-1 class by C_B, from B's own features or from A's features through the map M_{A->B}.

    It takes a batch of the feature table with the column `source` and, if there is a map, the column `target`. It
    computes in float64, so that rounding does not depend on which rows are in one batch.
    """

    def __init__(self, source: str, target: str, classifier: Classifier, map_: AffineMap | None = None) -> None:
        self.source, self.target = source, target
        self.classifier = Classifier(classifier.weight.double(), classifier.bias.double(), classifier.offset)
        self.map = None if map_ is None else AffineMap(map_.weight.double(), map_.bias.double())

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return feature rows as PREDICTIONS, or as MAPPED_PREDICTIONS if there is a map."""
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
        """Return the top-1 class of features (n, d_B) as labels count classes, (n,). A background class becomes -1."""
        return pa.array((self.classifier(features).argmax(1) - self.classifier.offset).numpy(), pa.int32())


class TopK:
    """Count the images whose label one network ranks first, or among the first k, on its own features."""

    def __init__(self, network: str, classifier: Classifier, k: int) -> None:
        self.network, self.k = network, min(k, classifier.classes)
        self.classifier = Classifier(classifier.weight.double(), classifier.bias.double(), classifier.offset)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return one row for a batch of features: total, top1, topk, unlabelled, rejected, and a few reasons."""
        unread = rows.filter(rejected(rows))
        judged = rows.filter(pc.and_not(pc.is_valid(rows["label"]), rejected(rows)))
        best = torch.empty(0, self.k, dtype=torch.int64)
        if len(judged):
            best = self.classifier(float64_vectors(judged, self.network)).topk(self.k).indices - self.classifier.offset
        right = best == torch.from_numpy(judged["label"].to_numpy().astype(np.int64))[:, None]
        few = [f"{row['image_id']}: {row['reason']}" for row in unread.slice(0, 5).to_pylist()]
        counts = {"total": len(judged), "top1": int(right[:, :1].sum()), "topk": int(right.sum())}
        counts |= {"unlabelled": len(rows) - len(unread) - len(judged), "rejected": len(unread)}
        return pa.table(
            {**{name: [count] for name, count in counts.items()}, "few": pa.array([few], pa.list_(pa.string()))}
        )


def float64_vectors(rows: pa.Table, network: str) -> torch.Tensor:
    """Return a feature column as (n, d) float64."""
    return torch.from_numpy(column_vectors(rows, network).astype(np.float64))
