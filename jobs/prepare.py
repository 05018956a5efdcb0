"""List the images of all splits. Before that, draw the demo's pictures and train its networks on them.

python -m jobs.prepare demo
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import ray

from jobs.cluster.board import start_board
from jobs.cluster.commands import main
from jobs.cluster.damage import search
from jobs.cluster.progress import Progress
from jobs.cluster.runs import Run, say
from jobs.listing.splits import list_splits
from lib.demo.pictures import draw_split
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import DemoSettings
from lib.images.tables import ListingTable
from lib.networks.imports import uncollected
from lib.storage.files import write_bytes
from lib.storage.manifests import Artifact, begin_all
from lib.storage.records import FileRecord

CHUNKS = 8  # tasks that draw one split


def prepare(run: Run) -> int:
    """Make the listing of each split, unless that is done. Return how many things were made.

    Of the demo, draw both splits and train each network from scratch before.
    """
    made = 0 if run.experiment.demo is None else prepare_demo(run, run.experiment.demo)
    before = {split: ListingTable.open(run.files.images(split)) for split in run.experiment.images.splits}
    tables = list_splits(run)
    return made + sum(before[split] != table for split, table in tables.items())


def prepare_demo(run: Run, demo: DemoSettings) -> int:
    """Draw both splits and train each network from scratch, unless that is done. Return how many things were made."""
    pictures, networks = picture_artifacts(run, demo), network_artifacts(run, demo)
    begun = begin_all(pictures | networks, run.overwrite, search(run, "prepare"))
    draw(run, {key: artifact for key, artifact in begun.items() if key in pictures})
    train(run, demo, {key: artifact for key, artifact in begun.items() if key in networks})
    return len(begun)


def picture_artifacts(run: Run, demo: DemoSettings) -> dict[tuple[str, str], Artifact]:
    """Return each split's pictures' manifest, their folder, and what they are made from."""
    found = {}
    for place, (split, count) in enumerate([("train", demo.train_pictures), ("val", demo.val_pictures)]):
        folder = run.experiment.images.split(split).location
        seed = 2 * run.experiment.seed + place  # so that neither split has pictures of the other
        made_from = {"pictures": count, "size": demo.picture_size, "seed": seed}
        found["pictures", split] = Artifact(f"{folder}.manifest.json", (folder,), made_from)
    return found


def network_artifacts(run: Run, demo: DemoSettings) -> dict[tuple[str, str], Artifact]:
    """Return each network's manifest, its file of weights, and what they are made from."""
    return {
        ("network", name): Artifact(
            manifest=network.weights.removesuffix("safetensors") + "manifest.json",
            data=(network.weights,),
            made_from={
                "model": network.model,
                "options": network.options,
                "demo": demo.model_dump(exclude={"twins"}),
                "seed": run.experiment.seed + place,
            },
        )
        for place, (name, network) in enumerate(run.experiment.networks.items())
    }


def draw(run: Run, artifacts: Mapping[tuple[str, str], Artifact]) -> None:
    """Draw the pictures of these splits."""
    for (_, split), artifact in artifacts.items():
        folder = run.experiment.images.split(split).location
        count, size, seed = (artifact.made_from[key] for key in ("pictures", "size", "seed"))
        edges = [count * chunk // CHUNKS for chunk in range(CHUNKS + 1)]
        chunks = itertools.pairwise(edges)
        ray.get([draw_some.remote(folder, count, size, seed, first, last) for first, last in chunks])
        artifact.finish(count)
        say("prepare", f"{count} pictures drawn in {folder}")


@ray.remote(num_cpus=1)
def draw_some(folder: str, count: int, size: int, seed: int, first: int, last: int) -> None:
    """Draw the pictures `first` to `last` of a split."""
    draw_split(folder, count, size, seed, first, last)


def train(run: Run, demo: DemoSettings, artifacts: Mapping[tuple[str, str], Artifact]) -> None:
    """Train these networks, each in a task of its own."""
    if not artifacts:
        return
    folder, board = run.experiment.images.train.location, start_board()
    tasks = [
        train_one_network.remote(
            run.experiment.networks[name], folder, demo.epochs, artifact.made_from["seed"], name, board
        )
        for (_, name), artifact in artifacts.items()
    ]
    with Progress("prepare", "networks", len(tasks), lambda: None, lines=lambda: ray.get(board.take.remote())):
        trained = ray.get(tasks)
    for ((_, name), artifact), (pictures_seen, record) in zip(artifacts.items(), trained, strict=True):
        artifact.finish(pictures_seen, records={run.experiment.networks[name].weights: record})
        say("prepare", f"network {name} is trained")


@ray.remote(num_cpus=1)
def train_one_network(
    network: NetworkSettings, folder: str, epochs: int, seed: int, name: str, board: ray.actor.ActorHandle
) -> tuple[int, FileRecord]:
    """Train one network from scratch, write its weights, and return how many pictures it saw, and the file's record.

    How far it is stands on the board.
    """
    with uncollected():  # imported here, since the driver and the tasks that draw do not need torch
        import safetensors.torch
        import timm
        import torch

        from lib.demo.networks import read_pictures, train_network
        from lib.networks.devices import compute_on_cpu

    compute_on_cpu(1)
    torch.manual_seed(seed)
    model = timm.create_model(network.model, **network.options)
    pixels, labels = read_pictures(folder)
    train_network(model, pixels, labels, epochs, seed, lambda line: board.put.remote(name, f"{name}: {line}"))
    state = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    weights = safetensors.torch.save(state)
    write_bytes(network.weights, weights)
    return len(pixels), FileRecord.of(weights)


if __name__ == "__main__":
    main(prepare, __doc__, reads_images=True)
