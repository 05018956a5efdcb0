"""Several right labels for an image, from a file of their own: ReaL's, or one's own.

ReaL ("Are we done with ImageNet?", arXiv 2006.07159) names all classes that are right for each image of ImageNet's
validation set. Its file is a JSON list without names, in the order of the images' numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from lib.errors import ListingError
from lib.images.labels import parse_labels
from lib.images.timm_files import file_named
from lib.storage.files import read_bytes
from lib.storage.manifests import digest
from lib.storage.records import digest_of_bytes

REAL_NAME = "ILSVRC2012_val_{:08d}"  # of image k, from 1, of ImageNet's validation set
FORMATS = (
    "a JSON list of lists of labels in the order of ImageNet's validation images (ReaL's real.json), a JSON object of "
    "such lists by image, or a .parquet or .csv file with the columns path and label, where .csv has several labels "
    "with spaces between"
)
LISTS = pa.list_(pa.int32())


@dataclass(frozen=True, eq=False)
class RightLabels:
    """All right labels of each of n images, by the images' names."""

    uri: str
    names: pa.Array  # (n,) text
    labels: pa.Array  # (n,) lists of int32
    digest: str  # of all this

    @classmethod
    def read(cls, uri: str, classes: Sequence[str] | None = None) -> RightLabels:
        """Read a file of labels, which are numbers or among `classes`, all class names in the order of their labels.

        Raises ListingError if the file is not one of FORMATS, if a label is no class, or if an image stands there
        twice.
        """
        data = read_bytes(file_named(uri))
        try:
            names, lists = _read(uri, data)
        except (ValueError, KeyError, TypeError, AttributeError, pa.ArrowException) as error:
            raise ListingError(f"{uri}: expected {FORMATS}, found something else: {error}") from error
        place = {name: label for label, name in enumerate(classes or ())}
        flat = lists.flatten()
        rows = pc.list_parent_indices(lists)
        parsed = parse_labels(lambda at: f"{uri}: image {names[rows[at].as_py()].as_py()!r}", flat, place)
        if parsed.null_count or pc.any(pc.less(parsed, 0)).as_py():
            raise ListingError(f"{uri}: a label in it is empty or below 0; leave out what is no label")
        if pc.count_distinct(names).as_py() < len(names) or names.null_count:
            raise ListingError(f"{uri}: images stand there twice, or have no names")
        labels = pa.ListArray.from_arrays(_offsets(lists), parsed)
        return cls(uri, names, labels, digest([digest_of_bytes(data), list(classes or ())]))

    def of(self, image_ids: pa.ChunkedArray | pa.Array) -> pa.Array:
        """Return the labels of images, lists in the order of `image_ids`.

        An image is found by its id, else by its file's name, else by that without its ending. Raises ListingError that
        names images that are not found.
        """
        ids = image_ids.combine_chunks() if isinstance(image_ids, pa.ChunkedArray) else image_ids
        files = pc.replace_substring_regex(ids, r"^.*/", "")
        stems = pc.replace_substring_regex(files, r"\.[^.]*$", "")
        found = pc.coalesce(*(pc.index_in(names, value_set=self.names) for names in (ids, files, stems)))
        if found.null_count:
            few = ids.filter(found.is_null())[:3].to_pylist()
            raise ListingError(
                f"{self.uri} has no labels for {found.null_count:,} of {len(ids):,} images, such as {few}. Give each "
                "image its labels there, an empty list if none is right"
            )
        return self.labels.take(found)


def _read(uri: str, data: bytes) -> tuple[pa.Array, pa.Array]:
    """Return names and lists of labels, which are numbers or texts."""
    if uri.lower().endswith((".parquet", ".csv")):
        return _read_table(uri, data)
    found: Any = json.loads(data)
    if isinstance(found, Mapping):
        return pa.array(list(found), pa.string()), _lists(list(found.values()))
    if not isinstance(found, list):
        raise ValueError(f"a JSON {type(found).__name__}")
    return pa.array([REAL_NAME.format(k) for k in range(1, len(found) + 1)], pa.string()), _lists(found)


def _lists(values: list[Any]) -> pa.Array:
    """Return lists of labels, or single labels, as lists of labels that are all numbers or all texts."""
    lists = [value if isinstance(value, list) else [value] for value in values]
    kinds = {type(label) for labels in lists for label in labels}
    texts = any(issubclass(kind, str) for kind in kinds)
    return pa.array(
        [[str(label) for label in labels] if texts else labels for labels in lists],
        pa.list_(pa.string() if texts else pa.int64()),
    )


def _read_table(uri: str, data: bytes) -> tuple[pa.Array, pa.Array]:
    if uri.lower().endswith(".parquet"):
        table = pq.read_table(pa.BufferReader(data), columns=["path", "label"])
    else:
        types = {"path": pa.string(), "label": pa.string()}
        options = pyarrow.csv.ConvertOptions(column_types=types, include_columns=list(types), strings_can_be_null=False)
        table = pyarrow.csv.read_csv(pa.BufferReader(data), convert_options=options)
    names, labels = (table[name].combine_chunks() for name in ("path", "label"))
    if pa.types.is_list(labels.type) or pa.types.is_large_list(labels.type) or pa.types.is_fixed_size_list(labels.type):
        return names.cast(pa.string()), pc.fill_null(labels.cast(pa.list_(labels.type.value_type)), [])
    if pa.types.is_string(labels.type) and uri.lower().endswith(".csv"):
        words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.fill_null(labels, "")))
        return names, pa.array([[word for word in one if word] for one in words.to_pylist()], pa.list_(pa.string()))
    return names.cast(pa.string()), pa.array([[] if one is None else [one] for one in labels.to_pylist()])


def _offsets(lists: pa.Array) -> pa.Array:
    """Return where the list of each image begins, (n + 1,), and where the last one ends."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    ends = pc.cumulative_sum(lengths.cast(pa.int32()))
    return pa.concat_arrays([pa.array([0], pa.int32()), ends])
