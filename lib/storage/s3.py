"""S3 through pyarrow, patient with a store that throttles: endpoint, region and credentials come from the environment.

AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names another store than AWS; AWS_REGION or AWS_DEFAULT_REGION its region. AWS's
SDK finds credentials by itself: environment, profile, or the role of the instance.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

PATIENT = 11  # tries of each request, 25 ms before the second, each wait twice the last: half a minute in all
PROBING = 5  # tries, for what a command asks before it starts: an endpoint that isn't there is told soon
TIMEOUT = 20.0  # seconds, to connect and to wait for an answer's next bytes
# pyarrow reads an answer into a buffer of the size that it asked for. An error's text that is longer (than a footer's 8
# bytes, a small manifest) overflows it, which hides that the store said 503: the SDK doesn't try again.
HIDDEN = "INTERNAL_FAILURE during GetObject"


def open_s3(uri: str, attempts: int = PATIENT) -> tuple[pafs.FileSystem, str]:
    """The file system of an s3:// URI and the path in it, bucket/key. Keys are literal: nothing in them is decoded.

    s3://anonymous@bucket/key reads a public bucket without credentials. Raises OSError where there is no such bucket.
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
    """pyarrow's S3 with three differences: it keeps its patience when it is pickled, where S3FileSystem forgets its
    retry strategy; reads are tried again also where pyarrow hides why they failed; and no folders are made, since a
    store has none and their markers would be requests for nothing.
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
        return "s3"

    def normalize_path(self, path: str) -> str:
        return str(self.s3.normalize_path(path))

    def get_file_info(self, paths: Sequence[str]) -> list[pafs.FileInfo]:
        return list(self.s3.get_file_info(paths))

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        return list(self.s3.get_file_info(selector))

    def create_dir(self, path: str, recursive: bool) -> None:
        pass

    def delete_dir(self, path: str) -> None:
        self.s3.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:
        self.s3.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("all buckets are not ours to delete")

    def delete_file(self, path: str) -> None:
        self.s3.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        self.s3.move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        self.s3.copy_file(src, dest)

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(_Reader(self.s3.open_input_file(path), self.attempts), mode="r")

    def open_output_stream(self, path: str, metadata: dict[str, str]) -> pa.NativeFile:
        return self.s3.open_output_stream(path, compression=None, metadata=metadata)

    def open_append_stream(self, path: str, metadata: dict[str, str]) -> pa.NativeFile:
        raise NotImplementedError("objects can't be appended to")


class _Reader:
    """An object as a Python file, whose reads are tried again."""

    def __init__(self, file: pa.NativeFile, attempts: int) -> None:
        self.file, self.attempts = file, attempts

    @property
    def closed(self) -> bool:
        return bool(self.file.closed)

    def close(self) -> None:
        self.file.close()

    def tell(self) -> int:
        return int(self.file.tell())

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self.file.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        start = self.tell()

        def once() -> bytes:
            self.seek(start)
            return bytes(self.file.read(None if size < 0 else size))

        return retry(once, self.attempts)


def retry(work: Callable[[], bytes], attempts: int, sleep: Callable[[float], None] = time.sleep) -> bytes:
    """Do it until the store doesn't answer with an error that pyarrow hides; the waits double."""
    for attempt in range(attempts):
        try:
            return work()
        except OSError as error:
            if HIDDEN not in str(error) or attempt == attempts - 1:
                raise
        sleep(0.025 * 2**attempt)
    raise AssertionError("there is at least one attempt")
