"""A file of another library as a Python file, for those who change how it is read."""

from __future__ import annotations

from typing import Any


class WrappedFile:
    """Everything but `read`, which a child gives."""

    def __init__(self, file: Any) -> None:
        self.file = file

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return bool(self.file.closed)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def tell(self) -> int:
        """Return the place of the next byte."""
        return int(self.file.tell())

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to another place, and return it."""
        return int(self.file.seek(offset, whence))
