"""The page's section about queries of one network in another's index, and how many images their map needs."""

from __future__ import annotations

import pyarrow as pa

from lib.report.blocks import Note, Section, Table
from lib.report.cells import direction, number


def lookups_section(found: pa.Table) -> Section | None:
    """Return what mapped queries find, from the rows of retrieval.parquet; None without any."""
    if not len(found):
        return None
    text = (
        "Can the network behind an index be changed without computing the index again? Mapped vectors of the source "
        "are queries, the target's own vectors are the index, and nearness is cosine. Own image: the share of queries "
        "whose own image is nearest, or among the 10 nearest; the target's own queries find it always. Others as with "
        "own queries: the target's own query is the truth, and its own image is left out; the share of queries whose "
        "nearest image is the one that the own query finds, and the share of the own query's 10 nearest that are found "
        "among 10. Rows of few training images say how many the map needs."
    )
    header = (
        *("direction", "map", "training images", "nearest", "among 10", "mean rank", "nearest", "of 10"),
        "among images",
    )
    groups = [("", 3), ("own image, %", 3), ("others as with own queries, %", 2), ("", 1)]
    rows = [
        (
            *(direction(row), row["variant"], "all, in batches" if (n := row["training_rows"]) is None else f"{n:,}"),
            *(number(100 * row["recall_at_1"], 1), number(100 * row["recall_at_10"], 1), number(row["mean_rank"], 2)),
            *(number(100 * row["neighbours_at_1"], 1), number(100 * row["neighbours_at_10"], 1), f"{row['rows']:,}"),
        )
        for row in found.to_pylist()
    ]
    title = "Queries in another network's index"
    return Section("lookups", title, [Note(text), Table(header, rows, "What mapped queries find.", groups=groups)])
