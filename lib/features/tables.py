"""The finished feature tables of one split: which table holds which network's column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lib.errors import TableError
from lib.experiment.layout import manifest_in
from lib.storage.files import folders_in, is_file
from lib.storage.manifests import digest, read_manifest
from lib.storage.parquet import read_schema
from lib.storage.uris import uri_beside


@dataclass(frozen=True)
class FeatureTable:
    """A finished table: one pass over a split's images, with a column of vectors for each of its networks."""

    folder: str  # URI
    sizes: dict[str, int]  # network -> d
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: str) -> FeatureTable | None:
        """Read the manifest and the schema of the table in `folder`. Return None if the table is not finished."""
        if not is_file(manifest_in(folder)):
            return None
        manifest = read_manifest(manifest_in(folder))
        if manifest is None:
            return None
        schema = read_schema(folder)
        sizes = {field.name: field.type.list_size for field in schema if pa.types.is_fixed_size_list(field.type)}
        return cls(folder, sizes, manifest)

    @property
    def rows(self) -> int:
        """n, the number of images with features."""
        return int(self.manifest["rows"])

    def made_from(self, network: str) -> dict[str, Any]:
        """Return what one network's column was made from."""
        made_from: dict[str, Any] = self.manifest["made_from"]
        return made_from | {"networks": {network: made_from["networks"][network]}}


@dataclass(frozen=True)
class FeatureTables:
    """All finished feature tables of one split.

    `open` asks the store once; afterwards sizes, counts and digests cost no request. Tables that are finished later
    are not seen.
    """

    folder: str  # <root>/<experiment>/features/<split>
    tables: Mapping[str, FeatureTable]  # network -> the table with its column

    @classmethod
    def open(cls, folder: str) -> FeatureTables:
        """Find the finished tables under `folder`, which need not exist."""
        found: dict[str, FeatureTable] = {}
        for path in folders_in(folder):
            table = FeatureTable.open(uri_beside(folder, path))
            if table is not None:
                found = dict.fromkeys(table.sizes, table) | found
        return cls(folder, found)

    def table(self, network: str) -> FeatureTable:
        """Return the table that has the network's column. Raises TableError if there is none."""
        if network not in self.tables:
            raise TableError(
                f"no finished feature table of {network!r} under {self.folder}: run `python -m jobs.extract` first"
            )
        return self.tables[network]

    def sizes(self, networks: Sequence[str]) -> dict[str, int]:
        """Return each network's feature size d. Raises TableError if a network has no finished table."""
        return {network: self.table(network).sizes[network] for network in networks}

    def rows(self, network: str) -> int:
        """Return n, the number of images with features. Raises TableError if the network has no finished table."""
        return self.table(network).rows

    def digest(self, network: str) -> str:
        """Return a digest of what the network's features were made from, for manifests of what is made from them."""
        made_from = self.table(network).manifest["made_from"]
        return digest(made_from | {"networks": made_from["networks"][network]})

    def by_table(self, networks: Sequence[str]) -> list[tuple[FeatureTable, list[str]]]:
        """Return the tables that hold these networks, each with the networks it holds.

        Raises TableError if a network has no finished table.
        """
        found: dict[str, tuple[FeatureTable, list[str]]] = {}
        for network in networks:
            table = self.table(network)
            found.setdefault(table.folder, (table, []))[1].append(network)
        return list(found.values())
