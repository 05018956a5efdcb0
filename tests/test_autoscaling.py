"""A cluster that grows: from a head that runs no work, with Ray's autoscaler and nodes that are processes here."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import heads
import pytest
from conftest import TINY
from heads import Head, wait_until

from lib import pictures, storage

HEAD = {"CPU": 0, "max_cpus": 4, "max_gpus": 2}
STORE = {"object_store_memory": 150_000_000}
WORKERS = {
    "cpu": {"resources": {"CPU": 1, **STORE}, "max_workers": 2},
    "gpu": {"resources": {"CPU": 1, "GPU": 1, **STORE}, "max_workers": 2},  # torch finds none there, and takes the CPU
}
IDLE_MINUTES = 0.1


@pytest.fixture
def head() -> Iterator[Head]:
    mine = json.dumps({name: count for name, count in HEAD.items() if name != "CPU"})
    options = ("--num-cpus=0", "--num-gpus=0", "--object-store-memory=200000000", f"--resources={mine}")
    with heads.head(*options, grows=lambda gcs: heads.fake_nodes(gcs, HEAD, WORKERS, IDLE_MINUTES)) as started:
        yield started


def kinds(head: Head) -> Counter[str]:
    """How many nodes of each kind there are."""
    return Counter("gpu" if "GPU" in node else "cpu" if "CPU" in node else "head" for node in head.nodes())


@pytest.mark.timeout(1200)
def test_nodes_come_for_decoding_and_for_networks_and_go_again(head: Head, tmp_path: Path) -> None:
    pictures.draw_split(str(tmp_path / "train"), 1500, 64, 0)
    pictures.draw_split(str(tmp_path / "val"), 48, 64, 1)
    experiment = tmp_path / "tiny.toml"
    experiment.write_text(TINY.format(folder=tmp_path))
    wait_until(lambda: kinds(head) == {"head": 1}, 60, lambda: str(head.nodes()))
    most: Counter[str] = Counter()
    computing: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            nonlocal most
            most |= kinds(head)
            computing.update(head.computing())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        job = head.submit(
            str(experiment), "--root", str(tmp_path), "--set", "extract.decode_cpus=0.5", stage="extract"
        )  # fmt: skip
    finally:
        over.set()
        watcher.join()
    assert job.returncode == 0, job.stdout.decode() + job.stderr.decode()
    assert most == {"head": 1, "cpu": 2, "gpu": 2}, "decoding grows with the nodes, actors with the GPUs"
    assert any("ExtractFeatures" in name for name in computing)
    counts = storage.read_json(str(tmp_path / "tiny/features/train/a+b/manifest.json"))["images"]
    assert (counts["listed"], counts["extracted"]) == (1500, 1500)
    wait_until(lambda: kinds(head) == {"head": 1}, 120, lambda: f"the end of {head.nodes()}")
