"""Errors that the person at the command line can mend. Each message says what is wrong, where, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """Base class: a command prints the message of these, without a traceback, and exits with 1."""


class ExperimentError(UserError, ValueError):
    """The experiment cannot be run as it is written, so the command exits with 2.

    The message names the field and what it allows.
    """


class StorageError(UserError, ValueError):
    """A location cannot be used. The message names its URI."""


class BadURI(StorageError):  # noqa: N818 - "bad URI" is what people call it
    """A URI holds credentials or options, so the command exits with 2. The message does not repeat them."""


class ManifestMismatch(UserError, ValueError):  # noqa: N818 - the name says what is wrong
    """What lies on disk was made from something else. The message says what differs."""


class DamagedFile(UserError, ValueError):  # noqa: N818 - "damaged file" is what it is
    """A file of a run is not what was written, or is missing. The message names it, what is wrong, and the cure."""

    def __init__(self, uri: str, wrong: str) -> None:
        super().__init__(uri, wrong)  # so that it can be pickled
        self.uri, self.wrong = uri, wrong

    def __str__(self) -> str:
        return (
            f"{self.uri} is damaged: {self.wrong}. Run the command of the stage that made it, or `python -m "
            "jobs.pipeline`, with --repair, which makes just this anew"
        )


class TableError(UserError, ValueError):
    """A table does not hold what it must. The message names the table."""


class ListingError(UserError, ValueError):
    """A split's images cannot be listed. The message names the location and what is allowed there."""


class UnreadableImage(UserError, ValueError):  # noqa: N818 - "unreadable image" is what it is
    """An image cannot be read. The message is "category: detail"; a few categories are counted."""


class NetworkError(UserError, ValueError):
    """A network cannot be loaded, or cannot be split into F and C. The message names the network."""


class CheckpointError(UserError, ValueError):
    """A file is not a TensorFlow checkpoint that can be read. The message names the file and what is wrong in it."""


class FolderInUse(UserError, RuntimeError):  # noqa: N818 - "folder in use" is what it is
    """Another run is at work in the same folder. The message says which, and since when."""


class RunError(UserError, RuntimeError):
    """The run cannot end well with the resources or images that it has."""
