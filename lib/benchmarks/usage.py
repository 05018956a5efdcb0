"""Run a command as its user would, and tell what it took: time, the CPU time and the memory of all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from lib.errors import RunError

LOOK = 0.2  # seconds between two looks at a command's processes
TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
BUSY = "while True: pass"


@dataclass(frozen=True)
class Usage:
    """What a command took."""

    seconds: float
    cpu: float  # seconds of a core
    memory: float  # bytes, the most at once: what each process has alone, and the most that one shares with others

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s ({self.cpu:.1f} s of a core, {self.memory / 1e9:.2f} GB)"


def usage_of(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Usage:
    """Run a command in `folder`. CPU time and memory are 0 where there is no /proc. Raises RunError if it fails."""
    cpu: dict[int, float] = {}
    most, ended = [0.0], threading.Event()
    begin = perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:

        def watch() -> None:
            """Look at all processes that the command has started, now and then."""
            while not ended.wait(LOOK):
                found = descendants(process.pid, set(cpu))
                cpu.update({pid: max(cpu.get(pid, 0.0), seconds) for pid, seconds in found.items()})
                most[0] = max(most[0], memory_of(found))

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        said, _ = process.communicate()
        seconds = perf_counter() - begin
    ended.set()
    thread.join()
    if process.returncode:
        raise RunError(f"{' '.join(command)}: exit code {process.returncode}; {said[-2000:]}")
    return Usage(seconds, sum(cpu.values()), most[0])


def descendants(ancestor: int, known: set[int]) -> dict[int, float]:
    """Return the seconds of a core that a process, and each that it or one of the `known` ones has started, had."""
    children: dict[int, list[int]] = {}
    cpu: dict[int, float] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(folder.name))
        cpu[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    found, waiting = set[int](), [pid for pid in {ancestor, *known} if pid in cpu]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, [])
    return {pid: cpu[pid] for pid in found}


def memory_of(pids: Iterable[int]) -> float:
    """Return the bytes that processes have together: what each has alone, and the most that one of them shares.

    The exact sum (proc(5), Pss of smaps_rollup) takes milliseconds for each process, in which it has to wait, and a
    whole core for a Ray: a command would look slower the more processes it has.
    """
    alone, shared = 0.0, [0.0]
    for pid in pids:
        try:
            resident, with_others = map(int, Path(f"/proc/{pid}/statm").read_text().split()[1:3])
        except OSError:  # it has ended
            continue
        alone += PAGE * (resident - with_others)
        shared.append(PAGE * with_others)
    return alone + max(shared)


@contextmanager
def beside_a_busy_process(busy: bool) -> Iterator[None]:
    """Let a process compute and do nothing else meanwhile, if `busy`."""
    if not busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()
