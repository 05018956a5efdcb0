"""Every Parquet schema, the manifests that say a table or map is finished, and reading features back into memory.

A manifest is written last: where there is none, the work isn't finished. Beside an unfinished table `started.json`
holds what it is being made from, so that a run never goes on with a table that other settings began.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lib import storage

IMAGES = pa.schema([("image_id", pa.string()), ("label", pa.int32())])
REJECTS = pa.schema([("image_id", pa.string()), ("reason", pa.string())])
PREDICTIONS = pa.schema([("image_id", pa.string()), ("label", pa.int32()), ("predicted", pa.int32())])
# For mapped features also E of each image (squared distance of unit vectors) and the length ratio |M F_S| / |F_T|.
MAPPED_PREDICTIONS = PREDICTIONS.append(pa.field("error", pa.float32())).append(pa.field("length_ratio", pa.float32()))
CURVE = pa.schema([("iteration", pa.int64()), ("error", pa.float32())])

MAGIC = b"PAR1"  # a Parquet file's last bytes
PACKAGES = ("ray", "torch", "torchvision", "timm", "pyarrow", "numpy", "pillow", "safetensors")

FITTING = 128  # rows whose vectors fit into a core's cache: there they are unpacked and put into place


class ManifestMismatch(ValueError):  # noqa: N818 - the name says what is wrong
    """What lies on disk was made from something else; the message says what differs and what to do."""


class TableError(ValueError):
    """A table doesn't hold what it must; the message names it."""


def feature_schema(sizes: dict[str, int], dtype: str) -> pa.Schema:
    """Schema of a pass's feature table: `sizes` maps network name to d, `dtype` is "float32" or "float16"."""
    number = pa.float16() if dtype == "float16" else pa.float32()
    columns = [pa.field(name, pa.list_(number, d)) for name, d in sizes.items()]
    return pa.schema([pa.field("image_id", pa.string()), pa.field("label", pa.int32()), *columns])


def versions() -> dict[str, str]:
    """What made a result: Python and the packages whose numbers end up in it."""
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}


def digest(value: Any) -> str:
    """Short sha256 of a JSON value, the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def file_digest(uri: str) -> str:
    """Short sha256 of a file's bytes."""
    return hashlib.sha256(storage.read_bytes(uri)).hexdigest()[:16]


@dataclass(frozen=True)
class Product:
    """Something a stage makes: its manifest, all that is deleted where it is made anew, and what it is made from."""

    manifest: str  # URI
    data: tuple[str, ...]  # URIs of files and folders
    made_from: dict[str, Any]

    @property
    def started(self) -> str:
        return self.manifest.removesuffix("manifest.json") + "started.json"

    def begin(self, overwrite: bool = False) -> bool:
        """Whether the work is still to be done; False where a matching manifest says that it is finished.

        Raises ManifestMismatch where it was made, or begun, from something else and `overwrite` isn't set.
        """
        for record in (self.manifest, self.started):
            if not storage.is_file(record):
                continue
            if matches(record, storage.read_json(record)["made_from"], self.made_from, overwrite):
                return record == self.started
            self.remove()
            break
        storage.write_json(self.started, {"made_from": self.made_from})
        return True

    def finish(self, rows: int, schema: pa.Schema | None = None, **more: Any) -> None:
        """Write the manifest: from now on the product counts as finished."""
        described = {} if schema is None else {"schema": {field.name: str(field.type) for field in schema}}
        manifest = {"rows": rows, **described, "made_from": self.made_from, **more, "versions": versions()}
        storage.write_json(self.manifest, manifest)
        storage.delete(self.started)

    def remove(self) -> None:
        """Delete it, the manifest first: half a product never looks finished."""
        for uri in (self.manifest, *self.data, self.started):
            storage.delete(uri)


def matches(record: str, found: dict[str, Any], wanted: dict[str, Any], overwrite: bool) -> bool:
    """Whether what `record` says fits what is wanted; False only under `overwrite`, else ManifestMismatch is raised."""
    differing = differences(found, wanted)
    if differing and not overwrite:
        raise ManifestMismatch(
            f"{record} was made from other settings: {'; '.join(differing)}. "
            "Use --overwrite to make it anew, or another --root to keep both"
        )
    return not differing


def differences(found: Any, expected: Any, path: str = "") -> list[str]:
    """What differs between two JSON values, one "key: found, now expected" each."""
    if isinstance(found, dict) and isinstance(expected, dict):
        keys = sorted(found.keys() | expected.keys())
        return [line for key in keys for line in differences(found.get(key), expected.get(key), f"{path}.{key}")]
    return [] if found == expected else [f"{path.lstrip('.')} was {found!r}, now {expected!r}"]


def write_table(uri: str, table: pa.Table) -> None:
    """Write one Parquet file that no reader sees half of; zstd, no dictionary (features compress worse with one)."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=1, use_dictionary=False)
    storage.write_bytes(uri, sink.getvalue())


def parquet_files(folder: str) -> tuple[pafs.FileSystem, list[str]]:
    return storage.resolve(folder)[0], storage.files_below(folder, ".parquet")


def read_schema(folder: str) -> pa.Schema:
    """The schema of the Parquet files in `folder`. Raises TableError where there are none."""
    filesystem, files = parquet_files(folder)
    if not files:
        raise TableError(f"{folder} has no rows")
    return pq.read_schema(files[0], filesystem=filesystem)


def read_rows(folder: str, schema: pa.Schema, prefix: str = "") -> pa.Table:
    """The columns of `schema` from all Parquet files directly in `folder` whose names begin with `prefix`, in their
    order; several files are read at once.
    """
    filesystem, files = parquet_files(folder)
    named = [file for file in files if os.path.basename(file).startswith(prefix)]
    return ds.dataset(named, schema, "parquet", filesystem).to_table() if named else schema.empty_table()


def read_file(uri: str, schema: pa.Schema) -> pa.Table:
    """One Parquet file of this schema."""
    return pq.read_table(pa.BufferReader(storage.read_bytes(uri)), schema=schema)


def read_curve(uri: str) -> pa.Table:
    """The error curve of one fit, tables.CURVE."""
    return read_file(uri, CURVE)


def remove_broken(folder: str) -> int:
    """Delete Parquet files without their end, left where a writer was killed; how many there were."""
    filesystem, files = parquet_files(folder)
    broken = 0
    for file in files:
        if not _has_end(filesystem, file):
            filesystem.delete_file(file)
            broken += 1
    return broken


def _has_end(filesystem: pafs.FileSystem, file: str) -> bool:
    """Whether a Parquet file ends as one. What can't be read raises OSError, and isn't taken for broken."""
    with filesystem.open_input_file(file) as stream:
        size = stream.size()
        return size > len(MAGIC) and bytes(stream.read_at(len(MAGIC), size - len(MAGIC))) == MAGIC


@dataclass(frozen=True)
class Features:
    """Feature vectors of some networks for the same images, sorted by image_id."""

    image_id: np.ndarray  # (n,) str
    label: np.ndarray  # (n,) int32, -1 where unknown
    vectors: dict[str, np.ndarray]  # (n, d) each


def feature_size(features: str, network: str) -> int:
    """d of a network's column. Raises TableError where there is no finished table with one."""
    return int(read_schema(find_pass(features, network)).field(network).type.list_size)


def row_count(features: str, network: str) -> int:
    """n of a network's finished feature table, as its manifest says."""
    return int(storage.read_json(storage.join(find_pass(features, network), "manifest.json"))["rows"])


def finished_pass(features: str, network: str) -> str | None:
    """URI of the finished feature table under `features` (`<root>/features/<split>`) that has `network`'s column."""
    filesystem, path = storage.resolve(features)
    for info in filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True)):
        folder = storage.join(features, info.base_name)
        if network in info.base_name.split("+") and storage.is_file(storage.join(folder, "manifest.json")):
            return folder
    return None


def find_pass(features: str, network: str) -> str:
    """As finished_pass. Raises TableError where there is none."""
    folder = finished_pass(features, network)
    if folder is None:
        raise TableError(
            f"no finished feature table of {network!r} under {features}: run `python -m jobs.extract` first"
        )
    return folder


def features_digest(features: str, network: str) -> str:
    """What `network`'s features were made from, in short: what is made from them records it."""
    made_from = storage.read_json(storage.join(find_pass(features, network), "manifest.json"))["made_from"]
    return digest(made_from | {"networks": made_from["networks"][network]})


def read_features(features: str, networks: list[str], dtype: str = "float32") -> Features:
    """The columns of `networks`, from one pass or several, matched by image_id; nothing is read twice.

    Raises TableError where an id is missing in one of the passes or stands in one twice.
    """
    passes: dict[str, list[str]] = {}
    for network in networks:
        passes.setdefault(find_pass(features, network), []).append(network)
    ids, label = np.empty(0, object), np.empty(0, np.int32)
    vectors: dict[str, np.ndarray] = {}
    for folder, columns in passes.items():
        groups = _row_groups(folder)
        table = pa.concat_tables(_on_all_cores(partial(_read_group, columns=IMAGES.names), groups))
        order = pc.sort_indices(table["image_id"])
        found = table["image_id"].take(order).to_numpy()
        if not vectors:
            ids, label = found, table["label"].fill_null(-1).take(order).to_numpy()
            if (ids[1:] == ids[:-1]).any():
                raise TableError(f"{folder}: an image_id stands there twice")
        elif not np.array_equal(ids, found):
            raise TableError(f"{folder}: its image_ids aren't those of {networks[0]!r}")
        vectors |= _read_vectors(groups, columns, np.argsort(order.to_numpy()), dtype)
    return Features(ids, label, {network: vectors[network] for network in networks})


@dataclass(frozen=True)
class _RowGroup:
    file: str
    filesystem: pafs.FileSystem
    footer: pq.FileMetaData  # the file's
    number: int
    start: int  # the first row's place among all files' rows


def _row_groups(folder: str) -> list[_RowGroup]:
    """Of all Parquet files in `folder`, in their order. Raises TableError where there are none."""
    filesystem, files = parquet_files(folder)
    if not files:
        raise TableError(f"{folder} has no rows")
    footers = _on_all_cores(partial(pq.read_metadata, filesystem=filesystem), files)
    groups, start = list[_RowGroup](), 0
    for file, footer in zip(files, footers, strict=True):
        for number in range(footer.num_row_groups):
            groups.append(_RowGroup(file, filesystem, footer, number, start))
            start += footer.row_group(number).num_rows
    return groups


def _read_group(group: _RowGroup, columns: list[str]) -> pa.Table:
    with pq.ParquetFile(group.file, metadata=group.footer, filesystem=group.filesystem) as file:
        return file.read_row_group(group.number, columns=columns, use_threads=False)


def _on_all_cores(work: Callable[[Any], Any], over: Sequence[Any]) -> list[Any]:
    """In threads: pyarrow and numpy's copies let others run."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, over))


def _read_vectors(groups: list[_RowGroup], networks: list[str], rank: np.ndarray, dtype: str) -> dict[str, np.ndarray]:
    """Columns (n, d) of vectors, row i of the files at place rank[i], into memory that is there from the beginning."""
    schema = groups[0].footer.schema.to_arrow_schema()
    vectors = {network: np.empty((len(rank), schema.field(network).type.list_size), dtype) for network in networks}

    def read(group: _RowGroup) -> None:
        start = group.start
        with pq.ParquetFile(group.file, metadata=group.footer, filesystem=group.filesystem) as file:
            for batch in file.iter_batches(FITTING, [group.number], columns=networks, use_threads=False):
                places = rank[start : start + len(batch)]
                start += len(batch)
                for network, into in vectors.items():
                    into[places] = batch[network].flatten().to_numpy().reshape(len(batch), -1)

    _on_all_cores(read, groups)
    return vectors
