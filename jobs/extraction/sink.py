"""Where Ray Data writes: Parquet parts that no reader sees half of, rejected rows in a table of their own."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Datasink
from ray.data._internal.execution.interfaces import TaskContext
from ray.data.block import Block, BlockAccessor

from jobs.extraction.parts import part_name
from lib.features.schemas import REJECTS
from lib.images.schemas import PASSED_ON
from lib.storage.parquet import write_table
from lib.storage.uris import join_uri


class TableSink(Datasink[None]):
    """Writes the rows of each part (jobs.parts) as one file a split: a task that Ray tries again overwrites its own.

    `folders` are each split's, of features and of rejects: rows with a non-empty `reason` go to the second, as
    tables.REJECTS. `networks` names the pass, `size` is a part's.
    """

    def __init__(self, folders: dict[str, tuple[str, str]], networks: str, size: int) -> None:
        self.folders, self.networks, self.size = folders, networks, size

    @property
    def min_rows_per_write(self) -> int:
        return self.size

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> None:
        table = pa.concat_tables(BlockAccessor.for_block(block).to_arrow() for block in blocks)
        parts = pc.divide(table["row"], self.size)
        for part in pc.unique(parts).to_pylist():
            rows = table.filter(pc.equal(parts, part))
            for split in pc.unique(rows["split"]).to_pylist():
                self._write_part(split, part, rows.filter(pc.equal(rows["split"], split)))

    def _write_part(self, split: str, part: int, rows: pa.Table) -> None:
        features, rejects = self.folders[split]
        file = part_name(self.networks, self.size, part)
        rejected = pc.not_equal(rows["reason"], "")
        self._write(join_uri(rejects, file), rows.filter(rejected).select(REJECTS.names))
        columns = [name for name in rows.column_names if name not in ("reason", *PASSED_ON)]
        self._write(join_uri(features, file), rows.filter(pc.invert(rejected)).select(columns))

    def _write(self, uri: str, table: pa.Table) -> None:
        if len(table):
            write_table(uri, table)
