"""Where workers write lines for the driver to print: their own output stays in Ray's log files."""

from __future__ import annotations

from typing import Any

import ray


class Board:
    """Notes, and the last line of each piece of work, until the driver takes them."""

    def __init__(self) -> None:
        self.lines: dict[str, str] = {}
        self.notes: list[str] = []

    def note(self, line: str) -> None:
        """Write a line that is to be printed whatever follows."""
        self.notes.append(line)

    def put(self, work: str, line: str) -> None:
        """Write the line of one piece of work, in place of an older one that nobody has taken."""
        self.lines[work] = line

    def take(self) -> list[str]:
        """Return all lines, and forget them."""
        found, self.lines = [*self.take_notes(), *self.lines.values()], {}
        return found

    def take_notes(self) -> list[str]:
        """Return the notes alone, and forget them."""
        found, self.notes = self.notes, []
        return found


def start_board() -> ray.actor.ActorHandle:
    """Start a Board as an actor, beside the driver or elsewhere."""
    actor: Any = ray.remote(num_cpus=0, max_restarts=-1)(Board)
    return actor.remote()
