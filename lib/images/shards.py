"""Images in WebDataset tar shards."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import suppress

import pyarrow as pa

from lib.errors import ListingError, StorageError
from lib.experiment.settings import Split
from lib.images.labels import parse_label
from lib.images.schemas import SUFFIXES
from lib.images.shard_indexes import INDEXES, MEMBERS, read_index, write_index
from lib.images.sources import Listed, Source, Sources, images_table
from lib.images.split_files import split_files
from lib.storage.uris import resolve, uri_beside
from lib.storage.versions import Versioned
from lib.storage.walking import walk_files

# A shard is read from end to end to know what is in it. From an object store a request for each member's header takes
# longer than all bytes do.
BUFFER = 2**23  # bytes of a request
GZIP = bytes.fromhex("1f8b")  # the first bytes of a compressed file
END = 1024  # bytes of zeros that end an archive, at least

Sample = tuple[tuple[int, int] | None, int | None]  # start and length of the image's bytes; the label


def shard_sources(split: Split, classes: list[str] | None) -> Sources:
    """Return the shards of a split, each with the index beside it, if there is one."""
    root, shards = split_files(split.location, ".tar")
    beside = set[str]()
    with suppress(StorageError):  # a web server has no folders to list
        beside = {file.path for file in walk_files(uri_beside(split.location, root), recursive=False)}

    def index_of(shard: Versioned) -> str | None:
        """Return the index beside a shard."""
        names = [f"{shard.path}{suffix}" for suffix in INDEXES]
        return next((uri_beside(split.location, name) for name in names if name in beside), None)

    names = None if classes is None else tuple(classes)
    sources = tuple(Source(shard, index=index_of(shard)) for shard in shards)
    return Sources(split, "webdataset", root, names, sources)


def list_shard(found: Sources, source: Source) -> Listed:
    """List the images of a WebDataset shard in the order of their bytes.

    Members are grouped by key, wherever in the shard they stand. A shard with an index beside it is not read. Raises
    ListingError if the shard is damaged.
    """
    shard, location = source.file, found.split.location
    uri = uri_beside(location, shard.path)
    members = read_index(source.index, shard) if source.index else None
    if members is None:
        members = _read_members(location, shard.path)
        if found.split.write_indexes:
            write_index(uri, shard, members)
    samples = _samples(shard.path, found.labels, members)
    for key, (image, _) in samples.items():
        if image is None:
            raise ListingError(
                f"{shard.path}: sample {key!r} has no {', '.join(SUFFIXES)} member. (A member's key ends at the "
                "first dot of its file name, and the rest is its suffix, so keys cannot contain dots)"
            )
    rows = sorted((*(image or (0, 0)), key, label) for key, (image, label) in samples.items())
    images = images_table(
        len(rows),
        image_id=[key for _, _, key, _ in rows],
        label=[label for _, _, _, label in rows],
        path=uri,
        start=[start for start, _, _, _ in rows],
        length=[length for _, length, _, _ in rows],
        size=shard.size,
        version=shard.version,
    )
    return Listed(images)


def _read_members(location: str, shard: str) -> pa.Table:
    """Return the MEMBERS of one shard that belong to samples. Raises ListingError if it is damaged."""
    filesystem, _ = resolve(location)
    rows: list[tuple[str, int, int, str | None]] = []
    try:
        with filesystem.open_input_file(shard) as file:
            ahead = io.BufferedReader(file, BUFFER)
            if ahead.peek(len(GZIP)).startswith(GZIP):
                raise ListingError(f"{shard} is compressed by gzip, so that images cannot be read by range: unpack it")
            with tarfile.open(fileobj=ahead, mode="r:") as tar:
                for member in tar:
                    _check_member(shard, member)
                    if member.isfile() and _stem(member.name):
                        text = _label_text(shard, tar, member) if _suffix(member.name) == "cls" else None
                        rows.append((member.name, member.offset_data, member.size, text))
                    tar.members.clear()  # type: ignore[attr-defined]  # they would grow with the shard
                end = tar.offset
            _check_end(shard, ahead, end, file.size())
    except (tarfile.TarError, OSError, UnicodeDecodeError) as error:
        raise ListingError(f"{shard} can't be read as a tar file: {error}") from error
    columns = zip(*rows, strict=True) if rows else [()] * len(MEMBERS)
    return pa.table([list(column) for column in columns], schema=MEMBERS)


def _stem(name: str) -> str:
    """Return a member's key without its folder."""
    return name.rpartition("/")[2].partition(".")[0]


def _suffix(name: str) -> str:
    """Return what follows the first dot of a member's file name, in small letters."""
    return name.rpartition("/")[2].partition(".")[2].lower()


def _check_member(shard: str, member: tarfile.TarInfo) -> None:
    """Raise ListingError if a member's name is not UTF-8, or if its bytes are not what they stand for."""
    try:
        member.name.encode()
    except UnicodeEncodeError as error:
        raise ListingError(
            f"{shard}: the member name {os.fsencode(member.name)!r} is not UTF-8; make the shard anew"
        ) from error
    wanted = f".{_suffix(member.name)}" in SUFFIXES or _suffix(member.name) == "cls" or member.isfile()
    if _stem(member.name) and wanted and (not member.isfile() or member.sparse is not None):
        kind = "is stored sparse" if member.isfile() else "is a link or no file"
        raise ListingError(f"{shard}: member {member.name!r} {kind}; shards must hold the images' whole bytes")


def _label_text(shard: str, tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """Return the text of a .cls member."""
    content = tar.extractfile(member)
    try:
        return content.read().decode("utf-8-sig").strip() if content else ""
    except UnicodeDecodeError as error:
        raise ListingError(f"{shard}: {member.name} is no text: expected a class name or a whole number") from error


def _samples(shard: str, place: dict[str, int], members: pa.Table) -> dict[str, Sample]:
    """Return for each key of one shard where the image's bytes are, and the label.

    `place` has the class names that .cls members may hold.
    """
    samples: dict[str, Sample] = {}
    for name, start, length, text in zip(*(column.to_pylist() for column in members.columns), strict=True):
        if not _stem(name):
            continue
        folder = name.rpartition("/")[0]
        key = f"{folder}/{_stem(name)}" if folder else _stem(name)
        image, label = samples.get(key, (None, None))
        if f".{_suffix(name)}" in SUFFIXES:
            if image is not None:
                raise ListingError(f"{shard}: sample {key!r} has two images")
            image = (start, length)
        elif _suffix(name) == "cls":
            label = parse_label(f"{shard}: {name}", text, place)
        samples[key] = (image, label)
    return samples


def _check_end(shard: str, file: io.BufferedReader, end: int, size: int) -> None:
    """Raise ListingError unless a shard ends with the blocks of zeros that end an archive, and nothing after them.

    Python's tarfile ends quietly at a header that is cut or damaged, as if the archive ended there.
    """
    file.seek(end)
    while data := file.read(BUFFER):
        if data.strip(b"\0"):
            raise ListingError(
                f"{shard}: at byte {end} there is neither a member nor the archive's end: the shard is damaged, or "
                "several archives were concatenated. Make it anew"
            )
    if size - end < END:
        raise ListingError(
            f"{shard}: the archive's end is missing at byte {end}: the shard was cut short. Copy it again"
        )
