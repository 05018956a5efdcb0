"""Images named by a listing: a CSV or Parquet file with the columns path and label."""

from __future__ import annotations

import os
import posixpath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lib.errors import BadURI, ListingError
from lib.experiment.settings import Split
from lib.images.columns import NUMBER, STRING, check_columns
from lib.images.labels import parse_labels
from lib.images.sources import Listed, Source, Sources, images_table
from lib.storage.files import for_all
from lib.storage.uris import join_uri, refuse_credentials, resolve
from lib.storage.versions import Versioned, local_version, local_versions, version_of, versioned

SLICE_ROWS = 2**18  # of a Parquet listing, at least
SLICE_BYTES = 2**25  # of a CSV listing
LINE = 2**16  # bytes, in which a line's end is looked for
ASKED = 2000  # images of a listing in an object store whose size and time are asked for, at most: each costs a request
MAYBE_SECRET = r"://.*[?&@]|://[^/]*:"  # what lib.storage.uris.refuse_credentials could refuse
NOT_NORMAL = r"(^|/)\.{0,2}(/|$)"  # an empty part of a path, or one that is . or ..


def listing_sources(split: Split, classes: list[str] | None) -> Sources:
    """Return slices of a CSV or Parquet listing: lines or row groups that follow each other."""
    filesystem, path = resolve(split.location)
    file = versioned(filesystem.get_file_info(path), isinstance(filesystem, pafs.LocalFileSystem))
    if _is_parquet(path):
        footer = pq.read_metadata(path, filesystem=filesystem)
        sources, first, start, row = list[Source](), 0, 0, 0
        for group in range(footer.num_row_groups):
            row += footer.row_group(group).num_rows
            if row - start >= SLICE_ROWS or group == footer.num_row_groups - 1:
                sources.append(Source(file, first, group + 1, start))
                first, start = group + 1, row
    else:
        size = file.size or 0
        sources = [Source(file, at, min(at + SLICE_BYTES, size)) for at in range(0, max(size, 1), SLICE_BYTES)]
    root = path.rpartition("/")[0]
    names = None if classes is None else tuple(classes)
    return Sources(split, "listing", root, names, tuple(sources), alone=len(sources) == 1)


def list_slice(found: Sources, source: Source) -> Listed:
    """List the images that a slice of a CSV or Parquet listing names. Raises ListingError that names the row."""
    split, path = found.split, source.file.path
    if _is_parquet(path):
        with pq.ParquetFile(path, filesystem=resolve(split.location)[0]) as parquet:
            _check_names(split, parquet.schema_arrow.names)
            columns = [name for name in ("path", split.label_column) if name in parquet.schema_arrow.names]
            table = parquet.read_row_groups(list(range(source.first, source.end)), columns=columns)
    else:
        table = _read_lines(split, source)
        _check_names(split, table.column_names)
    check_columns(split.location, table.schema, {"path": (STRING,), split.label_column: (STRING, NUMBER)})

    def where(row: int) -> str:
        before = source.row if _is_parquet(path) else _rows_before(split, source)
        return f"{split.location}: row {before + row + 1}"

    names = table["path"].cast(pa.string()).combine_chunks()
    empty = pc.fill_null(pc.equal(names, ""), True)
    if pc.any(empty).as_py():
        raise ListingError(f"{where(pc.index(empty, True).as_py())} has no path")
    labelled = split.label_column in table.column_names
    labels = table[split.label_column] if labelled else pa.nulls(len(table))
    paths = _located(split.base or split.location.rpartition("/")[0] or ".", names)
    versions = _versions(paths, found.alone)
    images = images_table(
        len(table),
        image_id=names,
        label=parse_labels(where, labels, found.labels),
        path=paths,
        size=versions[0] if versions else None,
        version=versions[1] if versions else None,
    )
    return Listed(images)


def _is_parquet(path: str) -> bool:
    return path.lower().endswith(".parquet")


def _check_names(split: Split, names: list[str]) -> None:
    if "path" not in names:
        raise ListingError(f"{split.location}: expected the columns path and label, found {names}")
    if "label_column" in split.model_fields_set and split.label_column not in names:
        raise ListingError(
            f"{split.location}: no column {split.label_column!r}, which label_column names, found {names}"
        )


def _read_lines(split: Split, source: Source) -> pa.Table:
    """Return the rows of a CSV file whose lines begin in a slice."""
    filesystem, path = resolve(split.location)
    with filesystem.open_input_file(path) as file:
        size = source.file.size or 0
        start, end = (_line_start(file, at, size) for at in (source.first, source.end))
        names = None
        if source.first:
            head = pyarrow.csv.open_csv(pa.BufferReader(file.read_at(min(size, 2**20), 0)))
            names = head.schema.names
        text = file.read_at(end - start, start)
    if names is not None and not text:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    return pyarrow.csv.read_csv(
        pa.BufferReader(text),
        read_options=pyarrow.csv.ReadOptions(column_names=names, block_size=max(2**20, len(text))),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={"path": pa.string(), split.label_column: pa.string()},
            include_columns=[name for name in ("path", split.label_column) if name in names] if names else None,
        ),
    )


def _line_start(file: pa.NativeFile, at: int, size: int) -> int:
    """Return where the first line begins that begins at `at` or behind it."""
    if at in (0, size):
        return at
    at -= 1  # the line's end before it may stand right there
    while at < size:
        found = bytes(file.read_at(min(LINE, size - at), at)).find(b"\n")
        if found >= 0:
            return at + found + 1
        at += LINE
    return size


def _rows_before(split: Split, source: Source) -> int:
    """Return how many rows stand before a slice of a CSV file."""
    if not source.first:
        return 0
    earlier = (Source(source.file, at, at + SLICE_BYTES) for at in range(0, source.first, SLICE_BYTES))
    return sum(len(_read_lines(split, one)) for one in earlier)


def _located(base: str, names: pa.Array) -> pa.Array:
    """Return where the images of a listing are. Raises ListingError if an URI holds credentials."""
    for name in names.filter(pc.match_substring_regex(names, MAYBE_SECRET)).to_pylist():
        try:
            refuse_credentials(name)  # it would stand in the tables as image_id
        except BadURI as error:
            raise ListingError(f"column path: {error}") from error
    stays = pc.or_(pc.match_substring(names, "://"), pc.starts_with(names, "/"))
    if "://" in base:
        joined = pc.binary_join_element_wise(base.rstrip("/"), pc.utf8_trim(names, "/"), "/")
        return pc.if_else(stays, names, joined)
    folder = os.path.abspath(base).rstrip("/")
    joined = pc.binary_join_element_wise(folder, names, "/")
    odd = pc.and_(pc.invert(stays), pc.match_substring_regex(names, NOT_NORMAL))
    if pc.any(odd).as_py():
        normal = [posixpath.normpath(os.path.abspath(join_uri(folder, name))) for name in names.filter(odd).to_pylist()]
        joined = pc.replace_with_mask(joined, odd, pa.array(normal, pa.string()))
    return pc.if_else(stays, names, joined)


def _versions(paths: pa.Array, alone: bool) -> tuple[list[int | None], list[str | None]] | None:
    """Return sizes and versions of images that a listing names, None if none is asked for.

    Local files cost nearly nothing. Of a slice that is all of a small listing, stores are asked, too.
    """
    remote = pc.match_substring(paths, "://")
    some = pc.any(remote).as_py()
    if some and alone and len(paths) <= ASKED:
        answers = for_all(_asked, paths.to_pylist())
        return [one.size for one in answers], [one.version for one in answers]
    if some and pc.all(remote).as_py():
        return None
    return local_versions(paths.to_pylist())


def _asked(uri: str) -> Versioned:
    if "://" not in uri:
        return local_version(uri)
    filesystem, path = resolve(uri)
    try:
        info = filesystem.get_file_info(path)
    except OSError:
        return Versioned(uri)
    return Versioned(uri, info.size, version_of(info, isinstance(filesystem, pafs.LocalFileSystem)))
