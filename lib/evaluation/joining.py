"""Join prediction tables on image_id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.errors import TableError
from lib.evaluation.labelling import Labelling
from lib.evaluation.prediction_tables import maps_in

NO_ANSWER = -2  # in place of a class, where a network has no classifier: no label, and no background


class Reference:
    """A target's own predictions, with which those of all its sources are joined: image after image by image_id.

    Raises TableError if an id stands there twice.
    """

    def __init__(self, name: str, own: pa.Table) -> None:
        self.name, self.ids = name, own["image_id"]
        self.order = pc.sort_indices(self.ids)
        self.own = own.take(self.order)
        ordered = self.own["image_id"]
        if len(own) > 1 and pc.any(pc.equal(ordered[1:], ordered[:-1])).as_py():
            raise TableError(f"predictions {name}: an image_id stands there twice")

    def join(self, name: str, table: pa.Table) -> pa.Table:
        """Return another table of the same images in the order of this one's sorted ids.

        Raises TableError if an id is missing on either side, or has another label.
        """
        joined = table.take(self.order) if table["image_id"].equals(self.ids) else table.sort_by("image_id")
        if not joined["image_id"].equals(self.own["image_id"]):
            raise TableError(self._mismatch(name, joined))
        if not joined["label"].equals(self.own["label"]):
            raise TableError(f"predictions {self.name} and {name} have different labels for one image")
        return joined

    @property
    def answers(self) -> bool:
        """Whether the target has a classifier."""
        return self.own["predicted"].null_count < len(self.own)

    def _mismatch(self, name: str, other: pa.Table) -> str:
        ours, theirs = set(self.ids.to_pylist()), set(other["image_id"].to_pylist())
        few = sorted(ours ^ theirs)[:5]
        return (
            f"predictions {self.name} and {name} do not hold the same images: {len(ours - theirs)} only in the "
            f"first, {len(theirs - ours)} only in the second, such as {few}. Run `python -m jobs.predict` with "
            "--overwrite"
        )


@dataclass(frozen=True)
class Judged:
    """The answers of one pair's compositions for the same labelled images in the same order."""

    label: np.ndarray  # (n,)
    image_id: np.ndarray  # (n,) str
    target: np.ndarray  # (n,) class by C_T(F_T)
    source: np.ndarray  # (n,) class by C_S(F_S)
    mapped: dict[str, np.ndarray]  # map's column -> (n,) class by C_T(M F_S)
    error: dict[str, float]  # map's column -> mean E, over all images
    cosine: dict[str, float]  # the same, over images both of whose vectors have a direction, as has the next
    error_se: dict[str, float]  # standard error of the mean E over all images; NaN for one image
    length_ratio: dict[str, float]
    undirected: dict[str, int]  # images with a vector of zeros, the target's or the mapped one
    labels: np.ndarray | None = None  # (n, k) all right labels, if an image may have several

    def right(self, answers: np.ndarray) -> np.ndarray:
        """Return whether the answers (n,) are the label, or one of the right labels, (n,) bool."""
        return answers == self.label if self.labels is None else (answers[:, None] == self.labels).any(axis=1)


def judge_pair(
    target: Reference,
    source: tuple[str, pa.Table],
    mapped: Sequence[tuple[str, pa.Table]],
    labelling: Labelling | None = None,
) -> Judged:
    """Join a pair's predictions: the target's own, the source's own, and those of tables with the maps as columns.

    Tables come with their names. Images without a label are left out of all counts, but their E counts. A network
    without a classifier answers NO_ANSWER. `labelling`, of the target's own table, says which images are counted, if
    not those with a label. Raises TableError as Reference.join does, and if the target has a classifier and no image
    is counted.
    """
    labelled = pc.is_valid(target.own["label"]) if labelling is None else pa.array(labelling.counted)
    own, other = (table.filter(labelled) for table in (target.own, target.join(*source)))
    if not len(own) and target.answers:
        raise TableError("no evaluation image has a label, so that nothing can be counted")
    found = Judged(
        label=own["label"].to_numpy() if labelling is None else labelling.label,
        image_id=np.asarray(own["image_id"].to_pylist(), object),
        target=_answers(own["predicted"]),
        source=_answers(other["predicted"]),
        mapped={},
        error={},
        cosine={},
        error_se={},
        length_ratio={},
        undirected={},
        labels=None if labelling is None else labelling.right,
    )
    for name, table in mapped:
        joined = target.join(name, table)
        for column in maps_in(joined.schema):
            found.mapped[column] = _answers(joined[f"predicted_{column}"].filter(labelled))
            error, ratio = (
                joined[f"{what}_{column}"].to_numpy().astype(np.float64) for what in ("error", "length_ratio")
            )
            directed = np.isfinite(ratio) & (ratio > 0)  # 0, infinite or NaN where a vector is zero
            found.error[column] = float(error.mean())
            deviation = error.std(ddof=1) / len(error) ** 0.5 if len(error) > 1 else float("nan")
            found.error_se[column] = float(deviation)
            found.cosine[column] = float(1 - error[directed].mean() / 2) if directed.any() else float("nan")
            found.length_ratio[column] = float(ratio[directed].mean()) if directed.any() else float("nan")
            found.undirected[column] = int((~directed).sum())
    return found


def _answers(predicted: pa.ChunkedArray) -> np.ndarray:
    """Return predicted classes (n,), NO_ANSWER where there is none."""
    return pc.fill_null(predicted, NO_ANSWER).to_numpy()
