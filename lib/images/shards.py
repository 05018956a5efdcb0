"""Images in WebDataset tar shards."""

from __future__ import annotations

import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa

from lib.errors import ListingError
from lib.experiment.settings import Split
from lib.images.labels import parse_label
from lib.images.schemas import SUFFIXES, Row
from lib.images.split_files import split_files
from lib.storage.uris import resolve, uri_beside

# A shard is read from end to end to know what is in it. From an object store a request for each member's header takes
# longer than all bytes do.
SHARDS_AT_ONCE, BUFFER = 16, 2**20  # bytes
GZIP = bytes.fromhex("1f8b")  # the first bytes of a compressed file
END = 1024  # bytes of zeros that end an archive, at least


def list_shards(split: Split, classes: list[str] | None) -> list[Row]:
    """List the images of WebDataset shards. Members are grouped by key, wherever in the shard they stand."""
    rows: list[Row] = []
    shard_of: dict[str, str] = {}
    _, shards = split_files(split.location, ".tar")
    place = {name: index for index, name in enumerate(classes or [])}
    with ThreadPoolExecutor(SHARDS_AT_ONCE) as pool:
        found = list(pool.map(partial(_shard_samples, split, place), shards))
    for shard, samples in zip(shards, found, strict=True):
        for key, (image, label) in samples.items():
            if image is None:
                raise ListingError(
                    f"{shard}: sample {key!r} has no {', '.join(SUFFIXES)} member. (A member's key ends at the "
                    "first dot of its file name, and the rest is its suffix, so keys cannot contain dots)"
                )
            if key in shard_of:
                raise ListingError(f"{split.location}: sample {key!r} stands in {shard_of[key]} and in {shard}")
            shard_of[key] = shard
            rows.append((key, label, uri_beside(split.location, shard), *image, None))
    return rows


def _shard_samples(
    split: Split, place: dict[str, int], shard: str
) -> dict[str, tuple[tuple[int, int] | None, int | None]]:
    """Return for each key of one shard the start and length of the image's bytes, and the label.

    `place` has the class names that .cls members may hold. Raises ListingError if the shard is damaged.
    """
    filesystem, _ = resolve(split.location)
    samples: dict[str, tuple[tuple[int, int] | None, int | None]] = {}
    try:
        with filesystem.open_input_file(shard) as file:
            if bytes(file.read_at(2, 0)) == GZIP:
                raise ListingError(f"{shard} is compressed by gzip, so that images cannot be read by range: unpack it")
            file.seek(0)
            with tarfile.open(fileobj=io.BufferedReader(file, BUFFER), mode="r:") as tar:
                for member in tar:
                    _add_member(samples, place, shard, tar, member)
                end = tar.offset
            _check_end(shard, file, end)
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise ListingError(f"{shard} can't be read as a tar file: {error}") from error
    return samples


def _add_member(
    samples: dict[str, tuple[tuple[int, int] | None, int | None]],
    place: dict[str, int],
    shard: str,
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
) -> None:
    """Add one member to its sample. Links and sparse files are refused: their bytes are not what they stand for."""
    try:
        member.name.encode()
    except UnicodeEncodeError as error:
        raise ListingError(
            f"{shard}: the member name {os.fsencode(member.name)!r} is not UTF-8; make the shard anew"
        ) from error
    folder, _, name = member.name.rpartition("/")
    stem, _, suffix = name.partition(".")
    if not stem or not (f".{suffix.lower()}" in SUFFIXES or suffix.lower() == "cls" or member.isfile()):
        return
    if not member.isfile() or member.sparse is not None:
        kind = "is stored sparse" if member.isfile() else "is a link or no file"
        raise ListingError(f"{shard}: member {member.name!r} {kind}; shards must hold the images' whole bytes")
    key = f"{folder}/{stem}" if folder else stem
    image, label = samples.get(key, (None, None))
    if f".{suffix.lower()}" in SUFFIXES:
        if image is not None:
            raise ListingError(f"{shard}: sample {key!r} has two images")
        image = (member.offset_data, member.size)
    elif suffix.lower() == "cls":
        content = tar.extractfile(member)
        try:
            text = content.read().decode("utf-8-sig").strip() if content else ""
        except UnicodeDecodeError as error:
            raise ListingError(f"{shard}: {member.name} is no text: expected a class name or a whole number") from error
        label = parse_label(f"{shard}: {member.name}", text, place)
    samples[key] = (image, label)


def _check_end(shard: str, file: pa.NativeFile, end: int) -> None:
    """Raise ListingError unless a shard ends with the blocks of zeros that end an archive, and nothing after them.

    Python's tarfile ends quietly at a header that is cut or damaged, as if the archive ended there.
    """
    size = file.size()
    for start in range(end, size, BUFFER):
        if bytes(file.read_at(min(BUFFER, size - start), start)).strip(b"\0"):
            raise ListingError(
                f"{shard}: at byte {end} there is neither a member nor the archive's end: the shard is damaged, or "
                "several archives were concatenated. Make it anew"
            )
    if size - end < END:
        raise ListingError(
            f"{shard}: the archive's end is missing at byte {end}: the shard was cut short. Copy it again"
        )
