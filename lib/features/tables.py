"""The finished feature tables of one split: which table holds which network's column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lib.errors import TableError
from lib.experiment.layout import manifest_in
from lib.experiment.network_settings import feature_fingerprint
from lib.storage.files import folders_in, is_file
from lib.storage.manifests import digest, read_manifest, read_manifests
from lib.storage.parquet import parquet_files
from lib.storage.parts import Part, check_listed, read_footer
from lib.storage.uris import resolve, uri_beside

FILES = "files"  # a manifest's key: what is recorded of each file
CONTENTS = "contents"  # a manifest's key: the digest of what is recorded of all files
COLUMNS = "columns"  # a manifest's key: each network's feature size


def describe_parts(folder: str, parts: Sequence[Part], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return what a feature table's manifest says of its files, and of its columns' sizes d."""
    files = {part.path.rpartition("/")[2]: part.as_json() for part in parts}
    return {COLUMNS: dict(sizes), CONTENTS: digest(files), FILES: files}


def _recorded(folder: str, files: Mapping[str, Any]) -> dict[str, Part]:
    """Return the parts that a manifest records, by the files' names."""
    path = resolve(folder)[1]
    return {name: Part(f"{path}/{name}", **record) for name, record in files.items()}


def _first_schema(folder: str) -> pa.Schema:
    """Return the schema of a table's first file. Raises TableError if there is none, DamagedFile if it has none."""
    files = parquet_files(folder)[1]
    if not files:
        raise TableError(f"{folder} has no rows")
    return read_footer(folder, Part(files[0])).schema.to_arrow_schema()


@dataclass(frozen=True)
class FeatureTable:
    """A finished table: one pass over a split's images, with a column of vectors for each of its networks."""

    folder: str  # URI
    sizes: dict[str, int]  # network -> d
    manifest: dict[str, Any]  # without the files that it lists, which `parts` returns

    @classmethod
    def open(cls, folder: str, check: bool = True) -> FeatureTable | None:
        """Read the manifest of the table in `folder`, and `check` whether all its files are there.

        Return None if the table is not finished. Raises DamagedFile if a file is missing, or has another size.
        """
        if not is_file(manifest_in(folder)):
            return None
        manifest = read_manifest(manifest_in(folder))
        if manifest is None:
            return None
        recorded = _recorded(folder, manifest.pop(FILES, {}))
        if check:
            check_listed(folder, recorded)
        if COLUMNS in manifest:
            sizes = dict(manifest[COLUMNS])
        else:  # an earlier version wrote it
            schema = _first_schema(folder)
            sizes = {field.name: field.type.list_size for field in schema if pa.types.is_fixed_size_list(field.type)}
        return cls(folder, sizes, manifest)

    @property
    def has_digests(self) -> bool:
        """Whether damage in the table is found: an earlier version recorded none of its files."""
        return CONTENTS in self.manifest

    def parts(self) -> list[Part]:
        """Return the table's files, sorted, with what the manifest records of each. It is read for that.

        Raises DamagedFile if the manifest is damaged.
        """
        if not self.has_digests:
            return [Part(path) for path in parquet_files(self.folder)[1]]
        manifest = read_manifests({"": manifest_in(self.folder)})[""]
        return [part for _, part in sorted(_recorded(self.folder, manifest[FILES]).items())]

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
    def open(cls, folder: str, check: bool = True) -> FeatureTables:
        """Find the finished tables under `folder`, which need not exist, and `check` whether all their files are there.

        Raises DamagedFile if a file is missing, or has another size.
        """
        found: dict[str, FeatureTable] = {}
        for path in folders_in(folder):
            table = FeatureTable.open(uri_beside(folder, path), check)
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
        """Return a digest of what the network's features were made from, for manifests of what is made from them.

        It has the table's own bytes in it, if they were recorded: features that are made anew and come out otherwise
        are others.
        """
        table = self.table(network)
        made_from = table.manifest["made_from"]
        contents = {CONTENTS: table.manifest[CONTENTS]} if table.has_digests else {}
        return digest(made_from | {"networks": made_from["networks"][network]} | contents)

    def weights(self, network: str) -> str | None:
        """Return the fingerprint of the weights by which the network's features were computed; None if unknown."""
        found: str | None = self.table(network).made_from(network)["networks"][network].get("weights")
        return found

    def fingerprint(self, network: str) -> str | None:
        """Return what tells a network's features from others, as Network.feature_fingerprint; None if unknown."""
        described = self.table(network).made_from(network)["networks"][network]
        chosen = {key: described[key] for key in ("pool", "layer") if key in described}
        return feature_fingerprint(described["weights"], chosen) if described.get("weights") else None

    def origin(self, source: str, target: str, variant: str, error: float | None = None) -> dict[str, Any]:
        """Return what a map's file says that the map was made from; `error` is E of the last training batch."""
        return {
            "source": source,
            "target": target,
            "variant": variant,
            "source_fingerprint": self.fingerprint(source),
            "target_fingerprint": self.fingerprint(target),
            "fit_error": error,
        }

    def by_table(self, networks: Sequence[str]) -> list[tuple[FeatureTable, list[str]]]:
        """Return the tables that hold these networks, each with the networks it holds.

        Raises TableError if a network has no finished table.
        """
        found: dict[str, tuple[FeatureTable, list[str]]] = {}
        for network in networks:
            table = self.table(network)
            found.setdefault(table.folder, (table, []))[1].append(network)
        return list(found.values())
