"""How fast images become features: the extraction's own command, timed beside a bare loop without Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch

from jobs.cluster.capacity import WRITE_CPUS
from jobs.cluster.starting import start_ray
from jobs.extraction.checks import describe_all
from jobs.extraction.parts import blocks, part_size
from jobs.extraction.sink import TableSink
from jobs.extraction.stream import stream_features
from lib.benchmarks.decoding import LIMIT
from lib.benchmarks.timing import Timing
from lib.errors import RunError
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings, Split
from lib.features.extraction import CPU_BATCH, in_full_batches
from lib.images.batches import DecodeImages, pixels_of
from lib.images.listing import list_images
from lib.networks.descriptions import Description
from lib.networks.devices import best_device, compute_on_cpu
from lib.networks.network import Network

# Random weights cost what others cost. The second two have one geometry, and together cost what decoding costs.
HEAVY = {"lite0": "tf_efficientnet_lite0", "lite2": "tf_efficientnet_lite2"}
LIGHT = {"one": "lcnet_050", "two": "mobilenetv3_small_050"}
START = 12.0  # seconds to the first image, the goal
PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Sizes:
    """How many images are extracted."""

    short: int = 384  # decoded ahead while the networks load, in this run as in the other
    long: int = 1408
    light: int = 2048  # with the light networks


def time_extraction(images: list[bytes], repeats: int) -> list[Timing]:
    """Return the benchmark's rows: some 12 minutes on two cores with five repeats."""
    sizes = Sizes()
    with TemporaryDirectory() as folder:
        photographs = Photographs(Path(folder), images, max(sizes.long, sizes.light))
        return [*steady(photographs, repeats, sizes), two_networks(photographs, repeats, sizes.light)]


class Photographs:
    """A folder of `number` images: the given ones again and again."""

    def __init__(self, folder: Path, images: list[bytes], number: int) -> None:
        self.folder = folder
        self.names = [f"{place:06d}.JPEG" for place in range(number)]
        for place, name in enumerate(self.names):
            if place < len(images):
                (folder / name).write_bytes(images[place])
            else:
                os.link(folder / self.names[place % len(images)], folder / name)

    def written(self, number: int) -> str:
        """Write a CSV listing of the first `number` images, and return its path."""
        path = self.folder / f"{number}.csv"
        path.write_text("path,label\n" + "".join(f"{name},0\n" for name in self.names[:number]))
        return str(path)

    def listed(self, number: int) -> pa.Table:
        """List the first `number` images."""
        return list_images(Split(location=self.written(number)))


@dataclass(frozen=True)
class Extraction:
    """One run of `python -m jobs.extract`: seconds from its start until each of these points."""

    ray: float  # Ray is there
    listed: float  # images are listed, networks loaded once and checked
    first: float  # the first batch is computed
    last: float  # all is written

    @property
    def rest(self) -> float:
        """Seconds after the first batch."""
        return self.last - self.first


def steady(photographs: Photographs, repeats: int, sizes: Sizes) -> list[Timing]:
    """Return the images/s of the images that a long run has more than a short one, and each run's start.

    Both runs have decoded as much when their first batch is done, so that the decoding ahead costs neither anything.
    """
    listing = photographs.listed(sizes.long - sizes.short)
    device = best_device().type
    size = CPU_BATCH if device == "cpu" else ExtractSettings().batch_size
    networks = networks_of(HEAVY, device)
    runs: list[Extraction] = []
    project, reference, least = [], [], []
    for _ in range(repeats):
        short, long = (extract(photographs, number) for number in (sizes.short, sizes.long))
        runs += [short, long]
        project.append((sizes.long - sizes.short) / max(long.rest - short.rest, 1e-9))
        reference.append(bare_loop(listing, networks, size))
        least.append(least_start(photographs.written(sizes.short)))
    note = (
        f"lite0 + lite2: {sizes.long} images' time from the first batch on, less that of {sizes.short}; the loop "
        f"decodes in {cores()} threads, computes batches of {size} on the {device.upper()} in memory it keeps, "
        "writes nothing"
    )
    loop = "a bare loop in one process"
    return [
        Timing("extract", "images/s", loop, tuple(project), tuple(reference), goal=0.95, note=note),
        start(runs),
        beside_bare_ray(runs, least),
    ]


def start(runs: list[Extraction]) -> Timing:
    """Return where the seconds to the first batch go."""
    ray_there, listed, first = (median(getattr(run, name) for run in runs) for name in ("ray", "listed", "first"))
    note = (
        f"{first:.1f} s: {ray_there:.1f} s imports and Ray's start, {listed - ray_there:.1f} s more until the images "
        f"are listed and the networks described, {first - listed:.1f} s the actor's start and its first batch"
    )
    project = tuple(1 / run.first for run in runs)
    reference = (1 / START,) * len(runs)
    return Timing("extract, start to first image", "1/s", f"{START:g} s", project, reference, goal=1.0, note=note)


def beside_bare_ray(runs: list[Extraction], least: list[float]) -> Timing:
    """Compare the start with a bare Ray Data program's. A repeat's two runs have the same start."""
    pairs = zip(runs[::2], runs[1::2], strict=True)
    return Timing(
        "extract, start beside bare Ray Data", "1/s",
        "jobs.benchmarks.bare_start: Ray, decoding, an actor with the networks",
        tuple(2 / (short.first + long.first) for short, long in pairs), tuple(1 / seconds for seconds in least),
        note=f"its first batch is there after {median(least):.1f} s; it describes, checks, counts and writes nothing",
    )  # fmt: skip


def least_start(listing: str) -> float:
    """Return the seconds of a bare Ray Data program to its first batch. Raises RunError if it fails."""
    with TemporaryDirectory() as folder:
        done = Path(folder) / "done"
        begin = time.time()
        command = [sys.executable, "-m", "jobs.benchmarks.bare_start", listing, str(done)]
        ended = subprocess.run(command, cwd=PROJECT, env=environment(), capture_output=True, text=True)
        if ended.returncode or not done.is_file():
            raise RunError(f"{' '.join(command)}: exit code {ended.returncode}; {ended.stderr[-2000:]}")
        return done.stat().st_mtime - begin


def environment() -> dict[str, str]:
    """Return the environment for commands that are timed.

    Ray's workers give way to other processes and the bare loop does not, which on a shared machine would be compared.
    """
    path = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "RAY_worker_niceness": "0"}


def extract(photographs: Photographs, number: int) -> Extraction:
    """Run the command on `number` images, into a new root. Raises RunError if it fails."""
    with TemporaryDirectory() as root:
        file = Path(root) / "timed.toml"
        sections = [f'[networks.{name}]\nmodel = "{model}"\nweights = "random"\n' for name, model in HEAVY.items()]
        splits = f'[images]\ntrain = "{photographs.written(number)}"\nval = "{photographs.written(1)}"\n'
        splits += "max_shared = 1\n"  # nothing is judged
        file.write_text(splits + "".join(sections))
        command = [sys.executable, "-m", "jobs.extract", str(file), "--root", root]
        return follow([*command, "--verbose"], Path(root) / "timed")  # Ray says when it is up


def follow(command: list[str], folder: Path) -> Extraction:
    """Run a command, and return when it says and writes what an Extraction holds. Raises RunError if it fails."""
    begin, said = time.time(), dict[str, float]()
    lines: list[str] = []
    with subprocess.Popen(
        command, cwd=PROJECT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        watch = threading.Thread(target=watch_first, args=(folder, process, begin, said))
        watch.start()
        for line in process.stdout or ():
            lines.append(line)
            for key, words in {"ray": "Started a local Ray", "listed": "images to do"}.items():
                if words in line:
                    said.setdefault(key, time.time() - begin)
        watch.join()
    written = [file.stat().st_mtime for file in folder.glob("features/*/*/*.parquet")]
    if process.returncode or not written or len(said) < 3:
        raise RunError(f"{' '.join(command)}: exit code {process.returncode}; {''.join(lines[-20:])}")
    return Extraction(said["ray"], said["listed"], said["first"], max(written) - begin)


def watch_first(folder: Path, process: subprocess.Popen[str], begin: float, said: dict[str, float]) -> None:
    """Note when the tally writes its first file, which it does as soon as one batch is computed."""
    while "first" not in said and process.poll() is None:
        if any(folder.glob("features/train/*/computed.json")):
            said["first"] = time.time() - begin
        time.sleep(0.02)


def cores() -> int:
    """Return the number of cores."""
    return os.cpu_count() or 1


def networks_of(models: dict[str, str], device: str = "cpu") -> dict[str, Network]:
    """Load these models with random weights."""
    random = {name: NetworkSettings(model=model, weights="random") for name, model in models.items()}
    found = {name: Network(name, network, device) for name, network in random.items()}
    for network in found.values():
        network.model.to(memory_format=torch.channels_last)
    return found


def bare_loop(listing: pa.Table, networks: dict[str, Network], size: int) -> float:
    """Return the images/s of the least that could do it: threads decode ahead, this thread computes, nothing is
    written.
    """
    geometries = list(dict.fromkeys(network.geometry for network in networks.values()))
    decode = DecodeImages(geometries, LIMIT)
    compute_on_cpu(cores())
    with torch.inference_mode(), ThreadPoolExecutor(cores()) as pool:
        begin = time.perf_counter()
        pieces = -(-size // cores())
        work = deque(
            [listing.slice(place, min(pieces, batch + size - place)) for place in range(batch, batch + size, pieces)]
            for batch in range(0, len(listing), size)
        )
        ahead = deque([pool.submit(decode, piece) for piece in work.popleft()] for _ in range(min(3, len(work))))
        while ahead:
            decoded = [piece.result() for piece in ahead.popleft()]
            if work:
                ahead.append([pool.submit(decode, piece) for piece in work.popleft()])
            for network in networks.values():
                place = geometries.index(network.geometry)
                pixels = np.concatenate([pixels_of(piece, place, network.geometry) for piece in decoded])
                compute = lambda batch, network=network: network.features(network.normalise(batch)).cpu().numpy()  # noqa: E731
                list(in_full_batches(compute, pixels, size))
        return len(listing) / (time.perf_counter() - begin)


def two_networks(photographs: Photographs, repeats: int, number: int) -> Timing:
    """Time two networks in one pass beside two passes with one each, all in one Ray and from the first file on."""
    here = not ray.is_initialized()
    start_ray(None)
    models = {name: NetworkSettings(model=model, weights="random") for name, model in LIGHT.items()}
    described = describe_all(models)
    listing = photographs.listed(number)
    project, reference = [], []
    for _ in range(repeats):
        project.append(1 / one_pass(listing, models, described))
        passes = [one_pass(listing, {name: model}, described) for name, model in models.items()]
        reference.append(1 / sum(passes))
    if here:
        ray.shutdown()
    share = median(theirs / mine for mine, theirs in zip(project, reference, strict=True))
    note = f"{', '.join(LIGHT.values())}: {share:.2f} of two passes' time, without their starts; the goal is 0.75"
    return Timing(
        "extract, two networks", "images/s", "two passes, one network each", tuple(project), tuple(reference),
        goal=1 / 0.75, note=note,
    )  # fmt: skip


def one_pass(listing: pa.Table, networks: dict[str, NetworkSettings], described: dict[str, Description]) -> float:
    """Return the seconds for each image, from the first file written to the last."""
    options = ExtractSettings()
    size = part_size(len(listing), options)
    row = pa.array(range(len(listing)))
    rows = listing.append_column("row", row).append_column("split", pa.array(["train"] * len(row)))
    with TemporaryDirectory() as folder:
        sink = TableSink({"train": (f"{folder}/features", f"{folder}/rejects")}, "+".join(networks), size)
        work = blocks(rows, size, options.batch_size)
        stream_features(work, networks, described, options, LIMIT).write_datasink(
            sink, ray_remote_args={"num_cpus": WRITE_CPUS}
        )
        files = sorted((file.stat().st_mtime, file) for file in Path(folder).glob("features/*.parquet"))
        first, last = files[0], files[-1]
        return (last[0] - first[0]) / (len(listing) - pq.read_metadata(first[1]).num_rows)
