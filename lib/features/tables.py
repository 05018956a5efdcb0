"""The finished feature tables of one split: which pass holds which network's column."""

from __future__ import annotations

import pyarrow.fs as pafs

from lib.errors import TableError
from lib.storage.files import is_file, read_json
from lib.storage.manifests import digest
from lib.storage.parquet import read_schema
from lib.storage.uris import join_uri, resolve


def feature_size(features: str, network: str) -> int:
    """d of a network's column. Raises TableError where there is no finished table with one."""
    return int(read_schema(find_pass(features, network)).field(network).type.list_size)


def row_count(features: str, network: str) -> int:
    """n of a network's finished feature table, as its manifest says."""
    return int(read_json(join_uri(find_pass(features, network), "manifest.json"))["rows"])


def finished_pass(features: str, network: str) -> str | None:
    """URI of the finished feature table under `features` (`<root>/features/<split>`) that has `network`'s column."""
    filesystem, path = resolve(features)
    for info in filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True)):
        folder = join_uri(features, info.base_name)
        if network in info.base_name.split("+") and is_file(join_uri(folder, "manifest.json")):
            return folder
    return None


def find_pass(features: str, network: str) -> str:
    """As finished_pass. Raises TableError where there is none."""
    folder = finished_pass(features, network)
    if folder is None:
        raise TableError(
            f"no finished feature table of {network!r} under {features}: run `python -m jobs.extract` first"
        )
    return folder


def features_digest(features: str, network: str) -> str:
    """What `network`'s features were made from, in short: what is made from them records it."""
    made_from = read_json(join_uri(find_pass(features, network), "manifest.json"))["made_from"]
    return digest(made_from | {"networks": made_from["networks"][network]})
