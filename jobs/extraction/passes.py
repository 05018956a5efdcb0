"""What of one split's features is still to be made: the networks, the images, and where parts are written."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.extraction.listed import ListedSplits
from jobs.extraction.parts import Share, part_name
from lib.experiment.layout import pass_name
from lib.storage.manifests import Artifact


@dataclass(frozen=True)
class Pass:
    """One split's feature table that is still to be made or finished, with a column for each of `networks`."""

    split: str
    networks: tuple[str, ...]
    images: ListedSplits  # of all splits
    share: Share  # the split's rows among them
    folder: str
    rejects: str
    computed: str  # the tally's file: how many images were computed
    artifact: Artifact

    @property
    def name(self) -> str:
        """The pass as its folder and files are named."""
        return pass_name(self.networks)

    @property
    def rows(self) -> int:
        """The number of the split's images."""
        return self.share.end - self.share.first

    def file(self, part: int) -> str:
        """Return the name of a part's file."""
        return part_name(self.name, self.share.size, part)
