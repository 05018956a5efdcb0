"""Draw the demo's pictures and train its networks on them. Other experiments need no preparation.

python -m jobs.prepare demo
"""

from __future__ import annotations

import itertools

import ray

from jobs.cluster.board import start_board
from jobs.cluster.commands import main
from jobs.cluster.progress import Progress
from jobs.cluster.runs import Run, say
from lib.demo.pictures import draw_split
from lib.experiment.settings import DemoSettings, NetworkSettings
from lib.storage.files import write_bytes
from lib.storage.manifests import Artifact

CHUNKS = 8  # tasks that draw one split


def prepare(run: Run) -> int:
    """Draw both splits and train each network from scratch, unless that is done. Return how many things were made."""
    if run.experiment.demo is None:
        return 0
    return draw(run, run.experiment.demo) + train(run, run.experiment.demo)


def draw(run: Run, demo: DemoSettings) -> int:
    """Draw the splits that are missing, and return how many that were."""
    made = 0
    for place, (split, count) in enumerate([("train", demo.train_pictures), ("val", demo.val_pictures)]):
        folder = run.experiment.images.split(split).location
        seed = 2 * run.experiment.seed + place  # so that neither split has pictures of the other
        artifact = Artifact(
            manifest=f"{folder}.manifest.json",
            data=(folder,),
            made_from={"pictures": count, "size": demo.picture_size, "seed": seed},
        )
        if not artifact.begin(run.overwrite):
            continue
        edges = [count * chunk // CHUNKS for chunk in range(CHUNKS + 1)]
        chunks = itertools.pairwise(edges)
        ray.get([draw_some.remote(folder, count, demo.picture_size, seed, first, last) for first, last in chunks])
        artifact.finish(count)
        say("prepare", f"{count} pictures drawn in {folder}")
        made += 1
    return made


@ray.remote(num_cpus=1)
def draw_some(folder: str, count: int, size: int, seed: int, first: int, last: int) -> None:
    """Draw the pictures `first` to `last` of a split."""
    draw_split(folder, count, size, seed, first, last)


def train(run: Run, demo: DemoSettings) -> int:
    """Train the networks that are missing, each in a task of its own, and return how many that were."""
    artifacts: dict[str, Artifact] = {}
    for place, (name, network) in enumerate(run.experiment.networks.items()):
        artifact = Artifact(
            manifest=network.weights.removesuffix("safetensors") + "manifest.json",
            data=(network.weights,),
            made_from={
                "model": network.model,
                "options": network.options,
                "demo": demo.model_dump(),
                "seed": run.experiment.seed + place,
            },
        )
        if artifact.begin(run.overwrite):
            artifacts[name] = artifact
    if not artifacts:
        return 0
    folder, board = run.experiment.images.train.location, start_board()
    tasks = [
        train_one_network.remote(
            run.experiment.networks[name], folder, demo.epochs, artifact.made_from["seed"], name, board
        )
        for name, artifact in artifacts.items()
    ]
    with Progress("prepare", "networks", len(tasks), lambda: None, lines=lambda: ray.get(board.take.remote())):
        seen = ray.get(tasks)
    for (name, artifact), pictures_seen in zip(artifacts.items(), seen, strict=True):
        artifact.finish(pictures_seen)
        say("prepare", f"network {name} is trained")
    return len(artifacts)


@ray.remote(num_cpus=1)
def train_one_network(
    network: NetworkSettings, folder: str, epochs: int, seed: int, name: str, board: ray.actor.ActorHandle
) -> int:
    """Train one network from scratch, write its weights, and return how many pictures it saw.

    How far it is stands on the board.
    """
    import safetensors.torch  # imported here, since the driver and the tasks that draw do not need torch
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
    write_bytes(network.weights, safetensors.torch.save(state))
    return len(pixels)


if __name__ == "__main__":
    main(prepare, __doc__)
