"""Indexes beside shards, by which a shard is listed without being read.

This project writes `<shard>.index.parquet` if the experiment asks for it (`write_indexes`). wids' `<shard>.index` is
taken, too, where it says all that a listing needs: it has names and places, and no labels, so that a shard with .cls
members is read all the same. (wids' .json has no places of members, only the number of samples.)
"""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lib.errors import ListingError
from lib.storage.files import read_bytes
from lib.storage.parquet import write_table
from lib.storage.versions import Versioned

# A member that counts: its name, where its bytes begin, how many there are, and the text of a .cls member.
MEMBERS = pa.schema([("name", pa.string()), ("start", pa.int64()), ("length", pa.int64()), ("text", pa.string())])
OWN, WIDS = INDEXES = (".index.parquet", ".index")  # behind a shard's name
SHARD = b"shard"  # the key in an index's metadata of the shard's size and version
NUMPY = {"_reconstruct", "ndarray", "dtype", "_frombuffer"}  # what wids' pickles are made of


def read_index(index: str, shard: Versioned) -> pa.Table | None:
    """Return the MEMBERS of a shard, as the index at the URI `index` has them; None if it does not fit the shard."""
    if index.endswith(WIDS):
        return _of_wids(index, shard)
    members = pq.read_table(pa.BufferReader(read_bytes(index)))
    size, version = json.loads((members.schema.metadata or {}).get(SHARD, b"[null, null]"))
    fits = size == shard.size and not Versioned(index, size, version).changed(shard)
    return members.select(MEMBERS.names) if fits else None


def write_index(uri: str, shard: Versioned, members: pa.Table) -> None:
    """Write the index of the shard at `uri` beside it."""
    write_table(f"{uri}{OWN}", members.replace_schema_metadata({SHARD: json.dumps([shard.size, shard.version])}))


def _of_wids(uri: str, shard: Versioned) -> pa.Table | None:
    """Return the MEMBERS of a shard as wids' pickle has them; None if labels are missing or it is of another shard.

    Raises ListingError if the file holds anything but names and numbers: nothing that a pickle says is run.
    """
    try:
        names, places = _NumbersAlone(io.BytesIO(read_bytes(uri))).load()
        starts, lengths = np.asarray(places, np.int64).reshape(-1, 2).T
        members = pa.table(
            [pa.array(names, pa.string()), starts, lengths, pa.nulls(len(names), pa.string())], MEMBERS.names
        )
    except (pickle.UnpicklingError, pa.ArrowException, ValueError, TypeError, EOFError, IndexError) as error:
        raise ListingError(f"{uri} is no index as wids writes it: {error}. Delete it, or make it anew") from error
    if any(name.lower().endswith(".cls") for name in names):
        return None
    end = int((starts + lengths).max(initial=0))
    return members.cast(MEMBERS) if shard.size is None or end < shard.size else None


class _NumbersAlone(pickle.Unpickler):
    """Loads arrays of numbers and texts, and refuses to look up anything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return numpy's own constructors of arrays. Raises UnpicklingError for anything else."""
        if module.split(".")[0] == "numpy" and name in NUMPY:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
