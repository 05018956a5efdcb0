"""What is known of listed images without holding them: how many there are, their labels, and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lib.images.sources import Listed, PassedOver


@dataclass(frozen=True)
class Summary:
    """What is known of the images of one source, or of several."""

    rows: int
    labelled: int  # images with a label
    largest: int | None  # label
    images: str  # digest of ids and labels
    files: str  # digest of the files that the images lie in: paths, sizes, versions
    versioned: bool  # whether images are files whose versions are known
    passed_over: PassedOver

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Summary:
        """Return what `as_json` wrote."""
        return cls(**(value | {"passed_over": PassedOver(**value["passed_over"])}))


def summarise(listed: Listed) -> Summary:
    """Return what is known of one source's images."""
    images = listed.images
    labels = images["label"]
    return Summary(
        rows=len(images),
        labelled=len(images) - labels.null_count,
        largest=pc.max(labels).as_py(),
        images=_digest(images, ("image_id", "label")),
        files=_digest(images, ("path", "size", "version")),
        versioned=images["start"].null_count > 0 and images["version"].null_count < len(images),
        passed_over=listed.passed_over,
    )


def together(parts: Sequence[Summary]) -> Summary:
    """Return what is known of the images of several sources, in this order."""
    return Summary(
        rows=sum(part.rows for part in parts),
        labelled=sum(part.labelled for part in parts),
        largest=max((part.largest for part in parts if part.largest is not None), default=None),
        images=_of_texts(part.images for part in parts if part.rows),
        files=_of_texts(part.files for part in parts if part.rows),
        versioned=any(part.versioned for part in parts),
        passed_over=sum((part.passed_over for part in parts), PassedOver()),
    )


def _of_texts(texts: Any) -> str:
    found = hashlib.sha256()
    for text in texts:
        found.update(text.encode())
    return found.hexdigest()[:16]


def _digest(images: pa.Table, names: tuple[str, ...]) -> str:
    """Return a digest of some columns that does not depend on how Arrow lays them out."""
    found = hashlib.sha256()
    for name in names:
        column = images[name].combine_chunks()
        if pa.types.is_string(column.type):
            missing = column.is_null().to_numpy(zero_copy_only=False)
            found.update(np.packbits(missing).tobytes() if column.null_count else b"")
            found.update(pc.fill_null(pc.binary_length(column), 0).to_numpy().astype("<i4").tobytes())
            found.update(text_bytes(pc.fill_null(column, "")))
        else:
            found.update(pc.fill_null(column.cast(pa.int64()), -1).to_numpy().astype("<i8").tobytes())
    return found.hexdigest()[:16]


def text_bytes(column: pa.StringArray) -> memoryview:
    """Return the bytes of all texts of a column without nulls, one behind the other."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(b"" if data is None else data)[int(ends[0]) : int(ends[-1])]
