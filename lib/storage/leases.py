"""A lease says who is at work under a folder, so that two runs never write there at once.

It is a small file with a heartbeat: its holder writes it anew every few seconds. Whoever finds one looks whether its
process is still there, or, if that is on another machine, whether the file still changes. No clocks are compared, but
that a heartbeat of long ago needs no watching.

On a local disk a lock on the folder makes reading and writing one step. A store has no such lock, and pyarrow's S3 no
conditional writes, so that a holder reads its lease again after it wrote it, and before each heartbeat: of two that
write at once, the last one keeps it and the other one ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow.fs as pafs

from lib.errors import FolderInUse, StorageError
from lib.storage.files import delete, is_file, read_bytes, write_bytes
from lib.storage.uris import join_uri, resolve

BEAT = 10.0  # seconds between two heartbeats
LIMIT = 60.0  # seconds without a heartbeat, after which a lease of another machine is taken over
OLD = 600.0  # seconds after a heartbeat by this machine's clock, after which nobody has to watch
SETTLE = 1.0  # seconds after which a lease in a store is read again


@dataclass(frozen=True)
class Holder:
    """A process that works under a folder."""

    host: str
    pid: int
    process: str  # tells the process from one that has its number later, and machines from each other
    command: str
    since: str  # UTC
    token: str  # of this lease alone
    beat: int = 0  # heartbeats so far
    time: float = 0.0  # of the last heartbeat, seconds since 1970

    @classmethod
    def this(cls, command: str) -> Holder:
        """Return this process as a holder."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        pid = os.getpid()
        return cls(platform.node(), pid, process_identity(pid) or "", command, since, uuid.uuid4().hex)

    def is_here(self) -> bool:
        """Return whether the process is, or was, one of this machine."""
        return self.host == platform.node() and self.process.partition(" ")[0] == _machine()

    def is_alive(self) -> bool:
        """Return whether a process of this machine is still there."""
        return process_identity(self.pid) == self.process


def process_identity(pid: int) -> str | None:
    """Return the machine and the time at which a process of it began; None if there is no such process.

    Where there is no /proc, the number alone has to do.
    """
    if not os.path.isdir("/proc/self"):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return f"{_machine()} {pid}"
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else f"{_machine()} {fields[19]}"


def _machine() -> str:
    """Return what tells this machine, since it was started, and this container from others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


@contextmanager
def hold(
    folder: str,
    command: str,
    lost: Callable[[str], object],
    say: Callable[[str], object] = print,
    beat: float = BEAT,
    limit: float = LIMIT,
) -> Iterator[None]:
    """Hold the folder's lease while the body works, and give it back.

    `command` is what others are told. A stale lease is taken over, and `say` told of it. `lost` is called, in a thread,
    with what happened if another process took this lease over, as after a long sleep. Raises FolderInUse if another
    process is at work there.
    """
    lease = Lease(folder, Holder.this(command))
    lease.take(say, limit)
    ended = threading.Event()

    def live() -> None:
        """Give a sign of life now and then."""
        while not ended.wait(beat):
            try:
                taken = lease.renew()
            except StorageError:
                continue  # the store may answer next time
            if taken is not None and not ended.is_set():
                lost(f"{describe(folder, taken)}, since this run gave no sign of life for too long: it ends here")
                return

    thread = threading.Thread(target=live, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(limit)
        lease.give_back()


class Lease:
    """The lease of a folder, as one process takes, renews and gives it back."""

    def __init__(self, folder: str, holder: Holder) -> None:
        self.folder, self.holder, self.uri = folder, holder, lease_in(folder)
        filesystem, self.path = resolve(folder)
        self.local = isinstance(filesystem, pafs.LocalFileSystem)

    def take(
        self, say: Callable[[str], object], limit: float = LIMIT, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Take the lease. Raises FolderInUse if its holder lives."""
        found = read_holder(self.uri)
        if found is not None:
            refuse_living(self.folder, found, say, limit, sleep)
            say(f"takes over from `{found.command}`, process {found.pid} on {found.host}, which ended without a word")
        with self._locked():
            now = read_holder(self.uri)
            if now is not None and (found is None or now.token != found.token):
                raise FolderInUse(f"{describe(self.folder, now)}: {CURE}")
            self._write()
        if self.local:
            return
        sleep(SETTLE)
        now = read_holder(self.uri)
        if now is not None and now.token != self.holder.token:
            raise FolderInUse(f"{describe(self.folder, now)}: {CURE}")

    def renew(self) -> Holder | None:
        """Give a sign of life. Return who has the lease if somebody took it over."""
        with self._locked():
            now = read_holder(self.uri)
            if now is not None and now.token != self.holder.token:
                return now
            self.holder = replace(self.holder, beat=self.holder.beat + 1)
            self._write()
        return None

    def give_back(self) -> None:
        """Delete the lease, unless somebody took it over. A store that does not answer keeps it: it becomes stale."""
        try:
            with self._locked():
                now = read_holder(self.uri)
                if now is not None and now.token == self.holder.token:
                    delete(self.uri)
        except StorageError:
            return

    def _write(self) -> None:
        self.holder = replace(self.holder, time=time.time())
        write_bytes(self.uri, json.dumps(asdict(self.holder), indent=2).encode())

    def _locked(self) -> AbstractContextManager[None]:
        return _folder_lock(self.path) if self.local else nullcontext()


CURE = (
    "two runs at once would undo each other's work. Wait until it has ended, or use another --root. A run that was "
    "killed on another machine needs no more than a minute to be noticed"
)


def describe(folder: str, holder: Holder) -> str:
    """Return who is at work under a folder, and since when."""
    return (
        f"`{holder.command}`, process {holder.pid} on {holder.host}, has been at work in {folder} since {holder.since} "
        "UTC"
    )


def refuse_living(
    folder: str, found: Holder, say: Callable[[str], object], limit: float, sleep: Callable[[float], None]
) -> None:
    """Raise FolderInUse if the holder of a lease lives. On another machine, watch it for `limit` seconds at most."""
    if found.is_here():
        if found.is_alive():
            raise FolderInUse(f"{describe(folder, found)}: {CURE}")
        return
    if time.time() - found.time > OLD:
        return
    say(f"{describe(folder, found)}: waiting up to {limit:.0f} s for a sign of life")
    begin = time.monotonic()
    while time.monotonic() - begin < limit:
        sleep(min(1.0, limit / 10))
        now = read_holder(lease_in(folder))
        if now is None:
            return
        if (now.token, now.beat) != (found.token, found.beat):
            raise FolderInUse(f"{describe(folder, now)}: {CURE}")


def lease_in(folder: str) -> str:
    """Return the file with the lease of a folder."""
    return join_uri(folder, "lease.json")


def read_holder(uri: str) -> Holder | None:
    """Return who has the lease in a file; None if there is none, or if a loss of power damaged it."""
    if not is_file(uri):
        return None
    try:
        return Holder(**json.loads(read_bytes(uri)))
    except (ValueError, TypeError):
        return None
    except StorageError:
        if is_file(uri):
            raise
        return None  # it was given back just now


@contextmanager
def _folder_lock(path: str) -> Iterator[None]:
    """Hold the operating system's lock of a local folder, which is made if it is not there."""
    os.makedirs(path, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
