"""Top-1 predictions of a composition: C_B(F_B), or C_B(M_{A->B} F_A) with A's features in place of B's."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from lib import tables
from lib.features import in_full_batches
from lib.fitting import unit_distance
from lib.maps import AffineMap
from lib.networks import Classifier

BATCH = 1024


class Predict:
    """argmax of C_B over features, with the map M_{A->B} before it where `map_` is given.

    Takes a batch of the feature table with the columns `source` and, where there is a map, `target`.
    """

    def __init__(self, source: str, target: str, classifier: Classifier, map_: AffineMap | None = None) -> None:
        self.source, self.target = source, target
        self.classifier, self.map = classifier, map_

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Feature rows -> tables.PREDICTIONS, or tables.MAPPED_PREDICTIONS with a map."""
        vectors = column_vectors(rows, self.source)
        if self.map is None:
            columns = {"predicted": in_full_batches(self._own, vectors, BATCH)}
            schema = tables.PREDICTIONS
        else:
            pair = np.concatenate([vectors, column_vectors(rows, self.target)], axis=1)
            found = in_full_batches(self._mapped, pair, BATCH)
            columns = {"predicted": found[:, 0].astype(np.int32), "error": found[:, 1], "length_ratio": found[:, 2]}
            schema = tables.MAPPED_PREDICTIONS
        arrays = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
        return pa.table({"image_id": rows["image_id"], "label": rows["label"], **arrays}, schema=schema)

    def _own(self, vectors: np.ndarray) -> np.ndarray:
        return self._best(torch.from_numpy(vectors)).numpy()

    def _mapped(self, pair: np.ndarray) -> np.ndarray:
        """(n, d_A + d_B) both networks' features -> (n, 3): best class, E, length ratio |M F_A| / |F_B|."""
        assert self.map is not None
        F_A, F_B = torch.from_numpy(pair).split(
            [self.map.weight.shape[1], pair.shape[1] - self.map.weight.shape[1]], dim=1
        )
        mapped = self.map(F_A)
        ratio = mapped.norm(dim=1) / F_B.norm(dim=1)
        return torch.stack([self._best(mapped).double(), unit_distance(F_B, mapped), ratio], dim=1).numpy()

    def _best(self, features: torch.Tensor) -> torch.Tensor:
        """(n, d_B) -> (n,) class index in the labels' terms: a background class becomes -1."""
        return self.classifier(features).argmax(1).to(torch.int32) - self.classifier.offset


def column_vectors(rows: pa.Table, network: str) -> np.ndarray:
    """A feature column as (n, d) float32."""
    column = rows[network].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), column.type.list_size).astype(np.float32)
