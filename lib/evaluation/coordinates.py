"""Evaluation rows, classifiers and maps in the small spaces that few training rows span, where all cost less."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import torch

from lib.evaluation.predictions import Device, float64_vectors
from lib.maps.affine import AffineMap
from lib.networks.classifiers import Classifier
from lib.storage.columns import vector_column


class Coordinates:
    """A pair's row spaces (lib.maps.row_space). A network without one keeps its features.

    What a map makes lies in the target's space Q (d_B, r), so that its class scores are those of C_B Q, and its
    distance from a target row is known from the row's r coordinates and the length of what lies outside, which is one
    number more. Maps make 0 of it, and class scores do not depend on it.
    """

    def __init__(self, source: str, target: str, spaces: Mapping[str, torch.Tensor], device: Device = "cpu") -> None:
        self.source, self.target, self.device = source, target, device
        found = (spaces.get(network) for network in (source, target))
        self.Q_A, self.Q_B = (None if space is None else space.to(device, torch.float64) for space in found)

    def rows(self, rows: pa.Table) -> pa.Table:
        """Return rows of a feature table that has the columns of both networks, as coordinates in float64.

        Without a space they stay as they are.
        """
        if self.Q_A is None and self.Q_B is None:
            return rows
        x, y = (float64_vectors(rows, network, self.device) for network in (self.source, self.target))
        if self.Q_A is not None:
            x = x @ self.Q_A
        if self.Q_B is not None:
            inside = y @ self.Q_B
            outside = (y - inside @ self.Q_B.T).norm(dim=1, keepdim=True)
            y = torch.cat([inside, outside], dim=1)
        kept = rows.select(["image_id", "label"])
        for network, vectors in ((self.source, x), (self.target, y)):
            kept = kept.append_column(network, vector_column(vectors.cpu().numpy()))
        return kept

    def classifier(self, C_T: Classifier | None) -> Classifier | None:
        """Return the target's classifier of coordinates, in float64."""
        if C_T is None or self.Q_B is None:
            return C_T
        weight = C_T.weight.to(self.Q_B) @ self.Q_B
        padded = torch.cat([weight, weight.new_zeros(len(weight), 1)], dim=1)
        return Classifier(padded, C_T.bias.to(self.Q_B), C_T.offset)

    def map(self, map_: AffineMap) -> AffineMap:
        """Return a map between the coordinates with the number more that is 0."""
        if self.Q_B is None:
            return map_
        padded = [torch.cat([part, part.new_zeros(1, *part.shape[1:])]) for part in (map_.factors[0], map_.bias)]
        return AffineMap([padded[0], *map_.factors[1:]], padded[1])

    def of_features(self, map_: AffineMap) -> AffineMap:
        """Return `map` of what lies between the spaces, for a map of the features that has them as its outer factors.

        lib.maps.spectrum.Frame makes such maps. Raises ValueError for a map with other factors.
        """
        factors, bias = list(map_.factors), map_.bias
        if self.Q_B is not None:
            if factors.pop(0).shape != self.Q_B.shape or not factors:
                raise ValueError(f"expected the target's space as a map's first factor, got {_shapes(map_)}")
            bias = (self.Q_B.T @ bias.to(self.Q_B)).to(bias.dtype)
        if self.Q_A is not None and (factors.pop().T.shape != self.Q_A.shape or not factors):
            raise ValueError(f"expected the source's space as a map's last factor, got {_shapes(map_)}")
        return self.map(AffineMap(factors, bias))


def _shapes(map_: AffineMap) -> str:
    return " @ ".join(str(tuple(factor.shape)) for factor in map_.factors)
