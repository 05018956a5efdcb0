"""S3 through pyarrow, with patience for a store that throttles.

The environment names endpoint, region and credentials. AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names a store other than
AWS; AWS_REGION or AWS_DEFAULT_REGION names its region. AWS's SDK finds credentials by itself: in the environment, in a
profile, or from the role of the instance.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from lib.storage.wrapped_files import WrappedFile

PATIENT = 11  # tries of each request, 25 ms before the second, each wait twice the last: half a minute in all
PROBING = 5  # tries, for what a command asks before it starts: an endpoint that isn't there is told soon
TIMEOUT = 20.0  # seconds, to connect and to wait for an answer's next bytes
# pyarrow reads an answer into a buffer of the size that it asked for. An error's text that is longer (than a footer's 8
# bytes, a small manifest) overflows it, which hides that the store said 503: the SDK doesn't try again.
HIDDEN = "INTERNAL_FAILURE during GetObject"


def open_s3(uri: str, attempts: int = PATIENT) -> tuple[pafs.FileSystem, str]:
    """Return the file system of an s3:// URI and the path in it, bucket/key. Nothing in keys is decoded.

    s3://anonymous@bucket/key reads a public bucket without credentials. Raises OSError if there is no such bucket.
    """
    path = uri.partition("://")[2].rstrip("/")
    anonymous = path.startswith("anonymous@")
    path = path.removeprefix("anonymous@")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        region = "us-east-1" if endpoint else _region(path.partition("/")[0])
    return _opened(region, endpoint, anonymous, attempts), path


@functools.lru_cache(maxsize=64)
def _region(bucket: str) -> str:
    return str(pafs.resolve_s3_region(bucket))


@functools.lru_cache(maxsize=16)
def _opened(region: str, endpoint: str | None, anonymous: bool, attempts: int) -> pafs.FileSystem:
    return pafs.PyFileSystem(PatientS3(region, endpoint, anonymous, attempts))


class PatientS3(pafs.FileSystemHandler):
    """pyarrow's S3 with three differences.

    It keeps its retry strategy when it is pickled, which S3FileSystem forgets. It repeats reads also where pyarrow
    hides why they failed. It makes no folders, since a store has none, and their markers would cost requests.
    """

    def __init__(self, region: str, endpoint: str | None, anonymous: bool, attempts: int) -> None:
        self.settings = (region, endpoint, anonymous, attempts)
        self.attempts = attempts
        self.s3 = pafs.S3FileSystem(
            region=region,
            endpoint_override=endpoint,
            anonymous=anonymous,
            connect_timeout=TIMEOUT,
            request_timeout=TIMEOUT,
            # The standard strategy has a budget that pyarrow never refills: after 100 retries it gives up for good.
            retry_strategy=pafs.AwsDefaultS3RetryStrategy(max_attempts=attempts),
            allow_delayed_open=True,  # up to 10 MB: one PutObject instead of a multipart upload's three requests
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return PatientS3, self.settings

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PatientS3) and self.settings == other.settings

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.settings)

    def get_type_name(self) -> str:
        """Return "s3"."""
        return "s3"

    def normalize_path(self, path: str) -> str:
        """Return the path as pyarrow's S3 writes it."""
        return str(self.s3.normalize_path(path))

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        """Return what is known of each path."""
        return list(self.s3.get_file_info(paths))

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        """Return what is known of the paths that a selector finds."""
        return list(self.s3.get_file_info(selector))

    def create_dir(self, path: str, recursive: bool) -> None:
        """Do nothing: a store has no folders."""
        pass

    def delete_dir(self, path: str) -> None:
        """Delete all objects below a path."""
        self.s3.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        """Delete all objects below a path."""
        self.s3.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        """Refuse: the buckets are not ours to delete."""
        raise NotImplementedError("all buckets are not ours to delete")

    def delete_file(self, path: str) -> None:
        """Delete one object."""
        self.s3.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        """Copy an object, then delete the original."""
        self.s3.move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        """Copy an object."""
        self.s3.copy_file(src, dest)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """Open an object for reading."""
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        """Open an object for reading at any place."""
        return pa.PythonFile(_Reader(self.s3.open_input_file(path), self.attempts), mode="r")

    def open_with_time(self, path: str) -> tuple[pa.NativeFile, int, str | None]:
        """Open an object for reading, and return its size and the second of its writing, without a request more."""
        file = self.s3.open_input_file(path)
        said = dict(file.metadata() or {}).get("Last-Modified")
        second = str(int(datetime.fromisoformat(said.decode()).timestamp())) if said else None
        return pa.PythonFile(_Reader(file, self.attempts), mode="r"), int(file.size()), second

    def open_output_stream(self, path: str, metadata: dict[str, str]) -> pa.NativeFile:
        """Open an object for writing; closing uploads it."""
        return self.s3.open_output_stream(path, compression=None, metadata=metadata)

    def open_append_stream(self, path: str, metadata: dict[str, str]) -> pa.NativeFile:
        """Open an object for appending, as far as pyarrow's S3 can."""
        raise NotImplementedError("objects can't be appended to")


class _Reader(WrappedFile):
    """An object as a Python file whose reads are repeated when they fail."""

    def __init__(self, file: pa.NativeFile, attempts: int) -> None:
        super().__init__(file)
        self.attempts = attempts

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, all that follow if `size` is negative."""
        start = self.tell()

        def once() -> bytes:
            self.seek(start)
            return bytes(self.file.read(None if size < 0 else size))

        return retry(once, self.attempts)


def retry(work: Callable[[], bytes], attempts: int, sleep: Callable[[float], None] = time.sleep) -> bytes:
    """Do the work, and repeat it while the store answers with an error that pyarrow hides. Each wait is twice the last
    one.
    """
    for attempt in range(attempts):
        try:
            return work()
        except OSError as error:
            if HIDDEN not in str(error) or attempt == attempts - 1:
                raise
        sleep(0.025 * 2**attempt)
    raise AssertionError("there is at least one attempt")
