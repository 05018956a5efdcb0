"""Which images a split has, with their labels: from an ImageNet tree, a listing, WebDataset shards, or Parquet."""

from __future__ import annotations

import collections
import io
import logging
import os
import posixpath
import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lib import storage
from lib.experiment import Images, Split

# One row an image. `path` is a whole file where `start` is null; a tar shard, from which bytes start..start+length are
# the image; or a Parquet file, where `column` has it in row number `start`.
LISTING = pa.schema(
    [
        ("image_id", pa.string()),
        ("label", pa.int32()),
        ("path", pa.string()),
        ("start", pa.int64()),
        ("length", pa.int64()),
        ("column", pa.string()),
    ]
)
PASSED_ON = ("split", "row")  # columns of a caller's own that decoding and networks leave as they are
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SHARD_SUFFIXES = (".jpg", ".jpeg", ".png")

# A shard is read from end to end to know what is in it. From an object store a request for each member's header takes
# longer than all bytes do.
SHARDS_AT_ONCE, BUFFER = 16, 2**20  # bytes

Format = Literal["tree", "listing", "webdataset", "parquet"]
Row = tuple[str, int | None, str, int | None, int | None, str | None]
log = logging.getLogger(__name__)


class ListingError(ValueError):
    """A split's images can't be listed; the message names the location and what is allowed there."""


def list_images(split: Split, classes: list[str] | None = None, limit: int | None = None) -> pa.Table:
    """All images of a split, LISTING rows in the order of their paths; the first `limit` of them.

    `classes` are all class names: the label of a tree's folder is its place among them when sorted; without, among the
    folders. Raises ListingError: nothing there, a damaged file, a duplicated image_id, a label that is no class.
    """
    try:
        kind = detect_format(split)
        rows = {"tree": _tree, "listing": _listing, "webdataset": _shards, "parquet": _parquet}[kind](split, classes)
    except pa.ArrowInvalid as error:
        raise ListingError(f"{split.location} can't be read: {error}") from error
    if not rows:
        raise ListingError(f"{split.location} ({kind}) has no images")
    columns = zip(zip(*rows, strict=True), LISTING, strict=True)
    table = pa.table([pa.array(column, field.type) for column, field in columns], schema=LISTING)
    _check_unique(split, table)
    smallest = pc.min(table["label"]).as_py()
    if smallest is not None and smallest < 0:
        raise ListingError(f"{split.location}: label {smallest}; labels count from 0, leave unknown ones empty")
    return table if limit is None else table.slice(0, limit)


def detect_format(split: Split) -> Format:
    """The split's format: as the experiment says, else by what is at the location. Raises ListingError."""
    if split.format != "auto":
        return split.format
    location = split.location
    if storage.is_file(location):
        if location.lower().endswith(".csv"):
            return "listing"
        if location.lower().endswith(".parquet"):
            filesystem, path = storage.resolve(location)
            names = pq.read_schema(path, filesystem=filesystem).names
            return "listing" if "path" in names and split.image_column not in names else "parquet"
    elif storage.is_folder(location):
        if storage.files_below(location, ".tar"):
            return "webdataset"
        if storage.files_below(location, ".parquet"):
            return "parquet"
        return "tree"
    else:
        raise ListingError(f"{location} is not there, or you may not read it")
    raise ListingError(
        f"{location}: expected a folder of class folders, .tar shards or .parquet files, or a .csv or .parquet file"
    )


def read_classes(uri: str) -> list[str]:
    """All class names, sorted, from a file with one on each line. Raises ListingError where one stands there twice."""
    names = [line.strip() for line in storage.read_bytes(uri).decode().splitlines() if line.strip()]
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice or not names:
        raise ListingError(f"{uri}: expected one class name on each line, each once; found twice: {twice[:5]}")
    return sorted(names)


def class_names(images: Images) -> list[str] | None:
    """The classes' names in the order of their labels, where a file or the folders of a tree tell them."""
    if images.classes:
        return read_classes(images.classes)
    return tree_classes(images.val) or None if detect_format(images.val) == "tree" else None


def tree_classes(split: Split) -> list[str]:
    """Names of a tree's class folders, sorted."""
    filesystem, path = storage.resolve(split.location)
    found = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
    return sorted(
        info.base_name for info in found if info.type == pafs.FileType.Directory and not info.base_name.startswith(".")
    )


def _tree(split: Split, classes: list[str] | None) -> list[Row]:
    place = {name: index for index, name in enumerate(classes or tree_classes(split))}
    root = storage.resolve(split.location)[1].rstrip("/")
    rows: list[Row] = []
    passed_over = 0
    for path in storage.files_below(split.location, recursive=True):
        image_id = path[len(root) + 1 :]
        folder, _, name = image_id.partition("/")
        if name.startswith(".") or not name.lower().endswith(SUFFIXES):
            passed_over += 1
            continue
        if folder not in place:
            raise ListingError(f"{split.location}: folder {folder!r} is not among the {len(place)} class names")
        rows.append((image_id, place[folder], storage.beside(split.location, path), None, None, None))
    if passed_over:
        log.warning("%s: %d files passed over, which aren't images by their names", split.location, passed_over)
    return rows


def _listing(split: Split, classes: list[str] | None) -> list[Row]:
    filesystem, path = storage.resolve(split.location)
    if path.lower().endswith(".parquet"):
        table = pq.read_table(path, filesystem=filesystem)
    else:
        text = pyarrow.csv.ConvertOptions(column_types={"path": pa.string(), "label": pa.string()})
        table = pyarrow.csv.read_csv(pa.BufferReader(storage.read_bytes(split.location)), convert_options=text)
    if "path" not in table.column_names:
        raise ListingError(f"{split.location}: expected the columns path and label, found {table.column_names}")
    base = split.base or split.location.rpartition("/")[0] or "."
    labels = table[split.label_column] if split.label_column in table.column_names else pa.nulls(len(table))
    place = {name: index for index, name in enumerate(classes or [])}
    rows: list[Row] = []
    for image, label in zip(table["path"].to_pylist(), labels.to_pylist(), strict=True):
        if not image:
            raise ListingError(f"{split.location}: row {len(rows) + 1} has no path")
        rows.append((image, _label(split, label, place), _located(base, image), None, None, None))
    return rows


def _label(split: Split, label: Any, place: dict[str, int]) -> int | None:
    if label is None or label == "":
        return None
    if isinstance(label, str) and label in place:
        return place[label]
    try:
        return int(label)
    except ValueError:
        known = f"none of the {len(place)} class names" if place else "no number, and no images.classes are given"
        raise ListingError(f"{split.location}: label {label!r} is {known}") from None


def _located(base: str, image: str) -> str:
    if "://" in image:
        try:
            storage.refuse_credentials(image)  # it would stand in the tables as image_id
        except storage.BadURI as error:
            raise ListingError(f"column path: {error}") from error
        return image
    if image.startswith("/"):
        return image
    joined = storage.join(base, image)
    return joined if "://" in joined else posixpath.normpath(os.path.abspath(joined))


def _shards(split: Split, classes: list[str] | None) -> list[Row]:
    """Images of WebDataset shards, members grouped by key wherever in the shard they stand."""
    rows: list[Row] = []
    shard_of: dict[str, str] = {}
    shards = storage.files_below(split.location, ".tar")
    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        found = list(pool.map(partial(_shard_samples, split), shards))
    for shard, samples in zip(shards, found, strict=True):
        for key, (image, label) in samples.items():
            if image is None:
                raise ListingError(f"{shard}: sample {key!r} has no {', '.join(SHARD_SUFFIXES)} member")
            if key in shard_of:
                raise ListingError(f"{split.location}: sample {key!r} stands in {shard_of[key]} and in {shard}")
            shard_of[key] = shard
            rows.append((key, label, storage.beside(split.location, shard), *image, None))
    return rows


def _shard_samples(split: Split, shard: str) -> dict[str, tuple[tuple[int, int] | None, int | None]]:
    """Key -> (start and length of the image's bytes, label) of one shard."""
    filesystem, _ = storage.resolve(split.location)
    samples: dict[str, tuple[tuple[int, int] | None, int | None]] = {}
    try:
        with filesystem.open_input_file(shard) as file, tarfile.open(fileobj=io.BufferedReader(file, BUFFER)) as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                if not member.isfile() or not stem:
                    continue
                key = f"{folder}/{stem}" if folder else stem
                image, label = samples.get(key, (None, None))
                if f".{suffix.lower()}" in SHARD_SUFFIXES:
                    if image is not None:
                        raise ListingError(f"{shard}: sample {key!r} has two images")
                    image = (member.offset_data, member.size)
                elif suffix.lower() == "cls":
                    content = tar.extractfile(member)
                    label = _label(split, content.read().decode().strip() if content else "", {})
                samples[key] = (image, label)
    except (tarfile.TarError, OSError) as error:
        raise ListingError(f"{shard} can't be read as a tar file: {error}") from error
    return samples


def _parquet(split: Split, classes: list[str] | None) -> list[Row]:
    """Images whose bytes are in Parquet, plain or as Hugging Face's struct of bytes and path."""
    filesystem, root = storage.resolve(split.location)
    files = (
        [root] if storage.is_file(split.location) else storage.files_below(split.location, ".parquet", recursive=True)
    )
    place = {name: index for index, name in enumerate(classes or [])}
    rows: list[Row] = []
    for file in files:
        schema = pq.read_schema(file, filesystem=filesystem)
        if split.image_column not in schema.names:
            raise ListingError(f"{file}: no column {split.image_column!r}, found {schema.names}; set image_column")
        image = schema.field(split.image_column).type
        names = [name for name in ("image_id", "key") if name in schema.names][:1]
        if not names and pa.types.is_struct(image) and image.get_field_index("path") >= 0:
            names = [f"{split.image_column}.path"]
        wanted = [*names, *([split.label_column] if split.label_column in schema.names else [])]
        with pq.ParquetFile(file, filesystem=filesystem) as parquet:  # reads a struct's field without its brother
            table, count = parquet.read(columns=wanted), parquet.metadata.num_rows
        ids: list[str | None] = [None] * count
        if names:
            column = table[names[0].partition(".")[0]].combine_chunks()
            ids = (pc.struct_field(column, "path") if pa.types.is_struct(column.type) else column).to_pylist()
        labels = table[split.label_column].to_pylist() if split.label_column in schema.names else [None] * count
        name = file[len(root) + 1 :] or posixpath.basename(file)
        for row, (image_id, label) in enumerate(zip(ids, labels, strict=True)):
            uri = storage.beside(split.location, file)
            rows.append((image_id or f"{name}:{row}", _label(split, label, place), uri, row, None, split.image_column))
    return rows


def _check_unique(split: Split, table: pa.Table) -> None:
    counts = table.group_by("image_id").aggregate([("path", "count")])
    twice = counts.filter(pc.greater(counts["path_count"], 1))["image_id"].to_pylist()
    if twice:
        raise ListingError(f"{split.location}: {len(twice)} image ids stand there more than once, such as {twice[:3]}")
