"""Predictions of a composition: C_B(F_B), or C_B(M_{A->B} F_A) with A's features in place of B's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from lib.evaluation.labelling import Labelling
from lib.evaluation.prediction_tables import IMAGES, PREDICTIONS, mapped_schema
from lib.images.batches import rejected
from lib.images.right_labels import RightLabels
from lib.maps.affine import AffineMap
from lib.maps.error import unit_distance
from lib.networks.classifiers import Classifier
from lib.storage.columns import column_vectors

Device = torch.device | str


class PredictOwn:
    """The top-1 class by a network's classifier from its own features.

    It computes in float64, so that rounding does not depend on which rows are in one batch.
    """

    def __init__(
        self, network: str, classifier: Classifier | None, device: Device = "cpu", among: Sequence[int] | None = None
    ) -> None:
        self.network, self.classifier, self.device = network, float64(classifier, device), device
        self.among = among

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return rows of a feature table that has the network's column as PREDICTIONS.

        Without a classifier, all predicted classes are null.
        """
        best = best_class(self.classifier, float64_vectors(rows, self.network, self.device), self.among)
        return rows.select(IMAGES.names).append_column("predicted", best).cast(PREDICTIONS)


class PredictMapped:
    """The top-1 class by C_B from A's features through each of some maps M_{A->B}, computed in float64 on a device.

    If B has no classifier, all predicted classes are null.
    """

    def __init__(
        self,
        source: str,
        target: str,
        classifier: Classifier | None,
        maps: Mapping[str, AffineMap],
        device: Device = "cpu",
        among: Sequence[int] | None = None,
    ) -> None:
        self.source, self.target, self.device, self.among = source, target, device, among
        self.classifier = float64(classifier, device)
        self.maps = maps
        self.schema = mapped_schema(maps)

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return rows of a feature table that has the columns of both networks as mapped_schema says."""
        F_A, F_B = (float64_vectors(rows, network, self.device) for network in (self.source, self.target))
        lengths = F_B.norm(dim=1)
        columns = [rows["image_id"], rows["label"]]
        for map_ in self.maps.values():
            mapped = map_.to(self.device).to(torch.float64)(F_A)
            columns.append(best_class(self.classifier, mapped, self.among))
            columns.append(pa.array(unit_distance(F_B, mapped).cpu().numpy().astype(np.float32)))
            columns.append(pa.array((mapped.norm(dim=1) / lengths).cpu().numpy().astype(np.float32)))
        return pa.table(columns, schema=self.schema)


def float64(classifier: Classifier | None, device: Device = "cpu") -> Classifier | None:
    """Return the classifier in float64, on a device; None if there is none."""
    if classifier is None:
        return None
    weight, bias = (numbers.to(device, torch.float64) for numbers in (classifier.weight, classifier.bias))
    return Classifier(weight, bias, classifier.offset)


def best_class(classifier: Classifier | None, features: torch.Tensor, among: Sequence[int] | None = None) -> pa.Array:
    """Return the top-1 class of features (n, d_B) as labels count classes, (n,). A background class becomes -1.

    Without a classifier, all are null. `among` are the labels of the only classes that answers are chosen from, if
    these are not all.
    """
    if classifier is None:
        return pa.nulls(len(features), pa.int32())
    return pa.array(best_classes(classifier, features, 1, among)[:, 0].cpu().numpy(), pa.int32())


def best_classes(
    classifier: Classifier, features: torch.Tensor, k: int, among: Sequence[int] | None = None
) -> torch.Tensor:
    """Return the k best classes of features (n, d_B) as labels count classes, (n, k), the best first.

    The scores of all classes but those `among` are left out before the best are looked for, as timm's validate.py does
    for a part of the labels (`output[:, valid_labels]` of --valid-labels).
    """
    scores = classifier(features)
    if among is None:
        best = scores.argmax(1)[:, None] if k == 1 else scores.topk(k).indices
        return best - classifier.offset
    labels = torch.as_tensor(list(among), device=scores.device)
    left = scores[:, labels + classifier.offset]
    return labels[left.argmax(1)[:, None] if k == 1 else left.topk(k).indices]


class TopK:
    """Count the images whose label one network ranks first, or among the first k, on its own features.

    `classes` are those of an evaluation set, whose other images are not counted, `among` those that answers are chosen
    from, if these are not all. `several` has the right labels, if an image may have several.
    """

    def __init__(
        self,
        network: str,
        classifier: Classifier,
        k: int,
        classes: Sequence[int] | None = None,
        among: Sequence[int] | None = None,
        several: RightLabels | None = None,
    ) -> None:
        self.network, self.k = network, min(k, classifier.classes if among is None else len(among))
        weight, bias = classifier.weight.double(), classifier.bias.double()
        self.classifier = Classifier(weight, bias, classifier.offset)
        self.classes, self.among, self.several = classes, among, several

    def __call__(self, rows: pa.Table) -> pa.Table:
        """Return one row for a batch of features: total, top1, topk, unlabelled, rejected, and a few reasons; outside,
        too, for a set with some classes alone.
        """
        unread, read = rows.filter(rejected(rows)), rows.filter(pc.invert(rejected(rows)))
        labelling = Labelling.of(read, self.classes, self.several)
        judged = read.filter(pa.array(labelling.counted))
        best = np.empty((0, self.k), np.int64)
        if len(judged):
            vectors = float64_vectors(judged, self.network)
            best = best_classes(self.classifier, vectors, self.k, self.among).numpy()
        labels = labelling.label[:, None] if labelling.right is None else labelling.right
        right = (best[:, :, None] == labels[:, None, :]).any(axis=2)
        few = [f"{row['image_id']}: {row['reason']}" for row in unread.slice(0, 5).to_pylist()]
        counts = {"total": len(judged), "top1": int(right[:, 0].sum()), "topk": int(right.any(axis=1).sum())}
        counts |= {"unlabelled": labelling.unlabelled, "rejected": len(unread)}
        counts |= {} if self.classes is None else {"outside": labelling.outside}
        return pa.table(
            {**{name: [count] for name, count in counts.items()}, "few": pa.array([few], pa.list_(pa.string()))}
        )


def float64_vectors(rows: pa.Table, network: str, device: Device = "cpu") -> torch.Tensor:
    """Return a feature column as (n, d) float64, on a device."""
    return torch.tensor(column_vectors(rows, network)).to(device, torch.float64)
