"""What classifiers are fed with: a network's own features, or those of another through maps. No torch is imported."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from lib.evaluation.prediction_tables import PREDICTIONS, mapped_schema
from lib.experiment.variants import Variant
from lib.storage.records import FileRecord

MapRecords = dict[str, tuple[str, FileRecord | None]]  # by column: a map's file, and what is recorded of it


@dataclass(frozen=True)
class Composition:
    """C_target on the features of source: its own, or mapped by each of some kinds of map."""

    source: str
    target: str
    variants: tuple[Variant, ...] = ()  # none for a network's own features
    split: str = "val"

    def schema(self) -> pa.Schema:
        """Return the schema of the prediction table."""
        if self.source == self.target:
            return PREDICTIONS
        return mapped_schema(variant.column for variant in self.variants)


# How many rows a part of each prediction table has, and the record of its file.
Written = tuple[dict[Composition, int], dict[Composition, dict[str, FileRecord]]]
