"""Join prediction tables on image_id."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import TableError


@dataclass(frozen=True)
class Judged:
    """All prediction tables, joined: the same labelled images in the same order."""

    label: np.ndarray  # (n,)
    image_id: np.ndarray  # (n,) str
    predicted: dict[str, np.ndarray]  # table's name -> (n,) class
    error: dict[str, float]  # mapped table's name -> mean E, over all images
    length_ratio: dict[str, float]

    def right(self, name: str) -> np.ndarray:
        """Return whether the top-1 class is the label, (n,) bool."""
        return self.predicted[name] == self.label


def join_predictions(predictions: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """Return the tables by name, each sorted by image_id, so that all have the same ids in the same order.

    Raises TableError if an id is missing in a table, stands there twice, or has another label than elsewhere.
    """
    ordered = {name: table.sort_by("image_id") for name, table in predictions.items()}
    first, reference = next(iter(ordered.items()))
    if pc.count_distinct(reference["image_id"]).as_py() != len(reference):
        raise TableError(f"predictions {first}: an image_id stands there twice")
    for name, table in ordered.items():
        if not table["image_id"].equals(reference["image_id"]):
            raise TableError(_mismatch(first, reference, name, table))
        if not table["label"].equals(reference["label"]):
            raise TableError(f"predictions {first} and {name} have different labels for one image")
    return ordered


def _mismatch(first: str, reference: pa.Table, other: str, table: pa.Table) -> str:
    ours, theirs = set(reference["image_id"].to_pylist()), set(table["image_id"].to_pylist())
    few = sorted(ours ^ theirs)[:5]
    return (
        f"predictions {first} and {other} do not hold the same images: {len(ours - theirs)} only in the "
        f"first, {len(theirs - ours)} only in the second, such as {few}. Run `python -m jobs.predict` with --overwrite"
    )


def join_and_judge(predictions: dict[str, pa.Table]) -> Judged:
    """Join the tables. Images without a label are left out of all counts, but their E counts.

    Raises TableError as join_predictions does, and if no image has a label.
    """
    joined = join_predictions(predictions)
    labelled = {name: table.filter(pc.is_valid(table["label"])) for name, table in joined.items()}
    reference = next(iter(labelled.values()))
    if not len(reference):
        raise TableError("no evaluation image has a label, so that nothing can be counted")
    mapped = [name for name, table in joined.items() if "error" in table.column_names]
    return Judged(
        label=reference["label"].to_numpy(),
        image_id=np.asarray(reference["image_id"].to_pylist(), object),
        predicted={name: table["predicted"].to_numpy() for name, table in labelled.items()},
        error={name: _mean(joined[name]["error"]) for name in mapped},
        length_ratio={name: _mean(joined[name]["length_ratio"]) for name in mapped},
    )


def _mean(column: pa.ChunkedArray) -> float:
    return float(np.mean(column.to_numpy(), dtype=np.float64))
