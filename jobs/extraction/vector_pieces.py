"""Files of vectors in pieces, which tasks look for, since one file may hold ids of any number of rows."""

from __future__ import annotations

from collections.abc import Sequence

import ray

from jobs.cluster.capacity import READ_CPUS
from jobs.cluster.in_turn import in_turn
from lib.storage.vector_files import Piece, pieces_of


def pieces_there(files: Sequence[str], key: str, vector: str | None) -> list[Piece]:
    """Return the pieces of these files, in their order. Raises TableError if one cannot be read."""
    look = ray.remote(num_cpus=READ_CPUS)(pieces_of)
    found = in_turn(lambda file: look.remote(file, key, vector), files)
    return [piece for theirs in found for piece in theirs]
