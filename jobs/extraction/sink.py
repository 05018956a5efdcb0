"""Where Ray Data writes features: Parquet parts that no reader sees half of, and rejected rows in their own table."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.data import Datasink
from ray.data.block import Block, BlockAccessor

from jobs.extraction.flow import WRITTEN
from jobs.extraction.parts import part_name
from lib.features.schemas import REJECTS
from lib.images.batches import PASSED_ON, REASON, rejected
from lib.storage.parquet import write_table
from lib.storage.uris import join_uri


class TableSink(Datasink[None]):
    """Write the rows of each part (jobs.extraction.parts) as one file for each split.

    A task that Ray tries again overwrites its own files. `folders` has for each split the folder of the features and
    the folder of the rejects, which get the rejected rows as REJECTS. `networks` names the pass; `size` is the number
    of rows in a part. `tally` counts the rows that are written; None counts nothing.
    """

    def __init__(
        self,
        folders: dict[str, tuple[str, str]],
        networks: str,
        size: int,
        tally: ray.actor.ActorHandle | None = None,
    ) -> None:
        self.folders, self.networks, self.size, self.tally = folders, networks, size, tally

    @property
    def min_rows_per_write(self) -> int:
        """Rows that Ray Data gathers for each call of `write`: a whole part."""
        return self.size

    def write(self, blocks: Iterable[Block], ctx: object) -> None:
        """Write the parts that these blocks hold. `ctx` is Ray's and is not needed."""
        table = pa.concat_tables(BlockAccessor.for_block(block).to_arrow() for block in blocks)
        parts = pc.divide(table["row"], self.size)
        for part in pc.unique(parts).to_pylist():
            rows = table.filter(pc.equal(parts, part))
            for split in pc.unique(rows["split"]).to_pylist():
                self._write_part(split, part, rows.filter(pc.equal(rows["split"], split)))
        if self.tally is not None:
            self.tally.count.remote(WRITTEN, len(table))

    def _write_part(self, split: str, part: int, rows: pa.Table) -> None:
        features, rejects = self.folders[split]
        file = part_name(self.networks, self.size, part)
        self._write(join_uri(rejects, file), rows.filter(rejected(rows)).select(REJECTS.names))
        columns = [name for name in rows.column_names if name not in (REASON, *PASSED_ON)]
        self._write(join_uri(features, file), rows.filter(pc.invert(rejected(rows))).select(columns))

    def _write(self, uri: str, table: pa.Table) -> None:
        if len(table):
            write_table(uri, table)
