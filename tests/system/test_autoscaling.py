"""A cluster that grows: from a head that runs no work, with Ray's autoscaler and nodes that are processes here."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import heads
import numpy as np
import pytest
from heads import Head, wait_until
from tiny import TINY

from lib.demo.pictures import draw_split
from lib.experiment.loading import load_experiment
from lib.experiment.settings import Experiment
from lib.features.extraction import ExtractFeatures
from lib.features.reading import read_features
from lib.features.tables import FeatureTables
from lib.images.batches import DecodeImages
from lib.images.listing import list_images
from lib.networks.network import Network
from lib.storage.files import read_json

pytestmark = pytest.mark.slow

HEAD = {"CPU": 0, "max_cpus": 4, "max_gpus": 2}
STORE = {"object_store_memory": 150_000_000}
WORKERS = {
    "cpu": {"resources": {"CPU": 1, **STORE}, "max_workers": 2},
    "gpu": {"resources": {"CPU": 1, "GPU": 1, **STORE}, "max_workers": 2},  # torch finds none there, and takes the CPU
}
GROWN = {"head": 1, "cpu": 2, "gpu": 2}
IDLE_MINUTES = 0.1
ROWS = 1000
# A larger network keeps both machines busy until one of them is lost.
SLOW = TINY.replace('model = "test_resnet"', 'model = "resnet18"\npreprocessing = {{ input_size = 160 }}')


@pytest.fixture
def head() -> Iterator[Head]:
    mine = json.dumps({name: count for name, count in HEAD.items() if name != "CPU"})
    options = ("--num-cpus=0", "--num-gpus=0", "--object-store-memory=200000000", f"--resources={mine}")
    with heads.head(*options, grows=lambda gcs: heads.fake_nodes(gcs, HEAD, WORKERS, IDLE_MINUTES)) as started:
        yield started


def kinds(head: Head) -> Counter[str]:
    """How many nodes of each kind there are."""
    return Counter("gpu" if "GPU" in node else "cpu" if "CPU" in node else "head" for node in head.nodes())


def raylets(head: Head, resource: str) -> list[int]:
    """Processes, one a node, of the nodes that have the resource."""
    listed = head.processes().items()
    return [pid for pid, line in listed if "raylet/raylet" in line and f"{resource}," in line]


def check_features(experiment: Experiment, folder: str) -> None:
    """Each image once, with the features that it has when nothing is lost."""
    found = read_features(FeatureTables.open(folder), ["a", "b"])
    listing = list_images(experiment.images.train).sort_by("image_id")
    assert found.image_id.tolist() == listing["image_id"].to_pylist()
    for name, network in experiment.networks.items():
        decode = DecodeImages([Network(name, network).geometry], 10**8)
        direct = ExtractFeatures({name: network}, experiment.extract, "cpu")(decode(listing))
        np.testing.assert_array_equal(found.vectors[name], np.array(direct[name].to_pylist(), np.float32))


@pytest.mark.timeout(1200)
def test_nodes_come_for_decoding_and_for_networks_one_is_lost_and_they_go_again(head: Head, tmp_path: Path) -> None:
    draw_split(str(tmp_path / "train"), ROWS, 64, 0)
    draw_split(str(tmp_path / "val"), 48, 64, 1)
    experiment = tmp_path / "tiny.toml"
    experiment.write_text(SLOW.format(folder=tmp_path))
    wait_until(lambda: kinds(head) == {"head": 1}, 60, lambda: str(head.nodes()))
    features = tmp_path / "tiny/features/train/a+b"
    most: Counter[str] = Counter()
    computing: set[str] = set()
    lost: list[int] = []
    over = threading.Event()

    def watch() -> None:
        """What there is at the most; and one node with a GPU is lost while its network computes."""
        while not over.wait(0.5):
            nonlocal most
            most |= kinds(head)
            computing.update(head.computing())
            if not lost and most == GROWN and len(list(features.glob("*.parquet"))) > 8:
                lost.extend(raylets(head, "GPU")[:1])
                os.kill(lost[0], signal.SIGKILL)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        # Ray Data asks for a second machine only where the first was busy for tens of seconds: ask for both at once.
        sets = ("--set", "extract.decode_cpus=0.5", "--set", "extract.min_actors=2")
        job = head.run("extract", str(experiment), "--root", str(tmp_path), *sets)
    finally:
        over.set()
        watcher.join()
    assert job.returncode == 0, job.stdout + job.stderr
    assert most == GROWN, "decoding grows with the nodes, and each actor has a GPU"
    assert any("ExtractFeatures" in name for name in computing)
    assert lost, "too late: lengthen the run"
    counts = read_json(str(features / "manifest.json"))["images"]
    assert (counts["listed"], counts["extracted"]) == (ROWS, ROWS)
    check_features(load_experiment(str(experiment)), str(features.parent))
    wait_until(lambda: kinds(head) == {"head": 1}, 120, lambda: f"the end of {head.nodes()}")
