"""Images in WebDataset tar shards."""

from __future__ import annotations

import io
import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.labels import parse_label
from lib.images.schemas import Row
from lib.storage.files import files_below
from lib.storage.uris import resolve, uri_beside

SHARD_SUFFIXES = (".jpg", ".jpeg", ".png")
# A shard is read from end to end to know what is in it. From an object store a request for each member's header takes
# longer than all bytes do.
SHARDS_AT_ONCE, BUFFER = 16, 2**20  # bytes


def list_shards(split: Split, classes: list[str] | None) -> list[Row]:
    """List the images of WebDataset shards. Members are grouped by key, wherever in the shard they stand."""
    rows: list[Row] = []
    shard_of: dict[str, str] = {}
    shards = files_below(split.location, ".tar")
    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        found = list(pool.map(partial(_shard_samples, split), shards))
    for shard, samples in zip(shards, found, strict=True):
        for key, (image, label) in samples.items():
            if image is None:
                raise ListingError(f"{shard}: sample {key!r} has no {', '.join(SHARD_SUFFIXES)} member")
            if key in shard_of:
                raise ListingError(f"{split.location}: sample {key!r} stands in {shard_of[key]} and in {shard}")
            shard_of[key] = shard
            rows.append((key, label, uri_beside(split.location, shard), *image, None))
    return rows


def _shard_samples(split: Split, shard: str) -> dict[str, tuple[tuple[int, int] | None, int | None]]:
    """Return for each key of one shard the start and length of the image's bytes, and the label."""
    filesystem, _ = resolve(split.location)
    samples: dict[str, tuple[tuple[int, int] | None, int | None]] = {}
    try:
        with filesystem.open_input_file(shard) as file, tarfile.open(fileobj=io.BufferedReader(file, BUFFER)) as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                if not member.isfile() or not stem:
                    continue
                key = f"{folder}/{stem}" if folder else stem
                image, label = samples.get(key, (None, None))
                if f".{suffix.lower()}" in SHARD_SUFFIXES:
                    if image is not None:
                        raise ListingError(f"{shard}: sample {key!r} has two images")
                    image = (member.offset_data, member.size)
                elif suffix.lower() == "cls":
                    content = tar.extractfile(member)
                    label = parse_label(split, content.read().decode().strip() if content else "", {})
                samples[key] = (image, label)
    except (tarfile.TarError, OSError) as error:
        raise ListingError(f"{shard} can't be read as a tar file: {error}") from error
    return samples
