"""Where Ray Data writes: Parquet parts that no reader sees half of, rejected rows in a table of their own."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from ray.data import Datasink
from ray.data._internal.execution.interfaces import TaskContext
from ray.data.block import Block, BlockAccessor

from lib import storage, tables


class TableSink(Datasink[None]):
    """Writes each task's rows as one file a split, named after this run and the task: a task that Ray tries again
    overwrites its own files. `folders` are each split's, of features and of rejects: rows with a non-empty `reason` go
    to the second, as tables.REJECTS.
    """

    def __init__(self, folders: dict[str, tuple[str, str]], prefix: str, rows_per_file: int) -> None:
        self.folders = folders
        self.name = tables.part_name(prefix)
        self.rows_per_file = rows_per_file

    @property
    def min_rows_per_write(self) -> int:
        return self.rows_per_file

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> None:
        table = pa.concat_tables(BlockAccessor.for_block(block).to_arrow() for block in blocks)
        file = f"{self.name}-{ctx.task_idx:06d}.parquet"
        for split, (features, rejects) in self.folders.items():
            rows = table.filter(pc.equal(table["split"], split)).drop_columns(["split"])
            rejected = pc.not_equal(rows["reason"], "")
            self._write(storage.join(rejects, file), rows.filter(rejected).select(tables.REJECTS.names))
            self._write(storage.join(features, file), rows.filter(pc.invert(rejected)).drop_columns(["reason"]))

    def _write(self, uri: str, table: pa.Table) -> None:
        if len(table):
            tables.write_table(uri, table)
