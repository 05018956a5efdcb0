"""Images -> feature tables, one column for each network: Ray Data decodes on CPUs and computes features on GPUs.

python -m jobs.extract lite --set images.train=photos/train.csv --set images.val=photos/val.csv
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray

from jobs.command import Run, RunError, gpus, main, say
from jobs.sink import TableSink
from lib import experiment as settings
from lib import storage, tables
from lib.experiment import ExperimentError
from lib.features import ExtractFeatures
from lib.images import DecodeImages, Geometry
from lib.listing import detect_format, list_images, read_classes, tree_classes
from lib.networks import Network

SPLITS = ("train", "val")


@dataclass(frozen=True)
class Description:
    """What the driver has to know of a network without holding it."""

    fingerprint: str
    classes: int
    offset: int
    geometry: Geometry
    preprocessing: dict[str, Any]


@ray.remote(num_cpus=1)
def describe(name: str, network: settings.Network, classifier: str) -> Description:
    """Load a network once, check its split, and write its classifier C to the URI `classifier`."""
    loaded = Network(name, network)
    loaded.classifier.save(classifier)
    config = {**vars(loaded.geometry), "mean": loaded.mean, "std": loaded.std}
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    return Description(loaded.fingerprint(), len(loaded.classifier.bias), network.class_offset, loaded.geometry, config)


def extract(run: Run) -> int:
    """Make what is missing of the feature tables; a network that has a column in a finished table needs none."""
    experiment = run.experiment
    listings = {split: list_split(experiment, split) for split in SPLITS}
    described = dict(
        zip(
            experiment.networks,
            ray.get(
                [
                    describe.remote(name, network, run.path("classifiers", f"{name}.safetensors"))
                    for name, network in experiment.networks.items()
                ]
            ),
            strict=True,
        )
    )
    for split in SPLITS:
        check_labels(experiment, split, listings[split], described)
    return sum(extract_split(run, split, listings[split], described) for split in SPLITS)


def list_split(experiment: settings.Experiment, split: str) -> pa.Table:
    classes = read_classes(experiment.images.classes) if experiment.images.classes else None
    return list_images(experiment.images.split(split), classes, experiment.limit)


def check_labels(
    experiment: settings.Experiment, split: str, listing: pa.Table, described: dict[str, Description]
) -> None:
    """Raise ExperimentError where a label can't be one of a network's classes: they would all count as wrong."""
    labels = listing["label"].drop_null()
    if not len(labels):
        if split == "val":
            raise ExperimentError("images.val: no image there has a label, so that nothing can be evaluated")
        return
    largest = pc.max(labels).as_py()
    folders = None if experiment.images.classes else tree_size(experiment.images.split(split))
    for name, network in described.items():
        classes = network.classes - network.offset
        if largest >= classes:
            raise ExperimentError(
                f"images.{split}: label {largest}, but network {name!r} has {classes} classes (0 to {classes - 1})"
            )
        if folders is not None and folders != classes:
            raise ExperimentError(
                f"images.{split}: {folders} class folders, but network {name!r} has {classes} classes. "
                "A folder's place among all classes is its label: give images.classes, a file of all class names"
            )


def tree_size(split: settings.Split) -> int | None:
    """How many class folders a tree has; None for the other formats, which carry their labels."""
    return len(tree_classes(split)) if detect_format(split) == "tree" else None


def extract_split(run: Run, split: str, listing: pa.Table, described: dict[str, Description]) -> int:
    wanted = {name: made_from(run.experiment, listing, {name: described[name]}) for name in described}
    missing = [name for name in described if not finished(run, split, name, wanted[name])]
    if not missing:
        say("extract", f"{split}: features of {', '.join(described)} are finished, skipped")
        return 0
    name = "+".join(missing)
    folder, rejects = run.path("features", split, name), run.path("rejects", split)
    product = tables.Product(
        manifest=storage.join(folder, "manifest.json"),
        data=(folder,),
        made_from=made_from(run.experiment, listing, {network: described[network] for network in missing}),
    )
    product.begin(run.overwrite)
    sink = TableSink(folder, f"{name}@", run.experiment.extract.rows_per_file, rejects)
    remaining = thin(listing, folder, rejects, name)
    done = len(listing) - len(remaining)
    say("extract", f"{split}: {len(remaining)} images to do" + (f", {done} are already done" if done else ""))
    if len(remaining):
        stream(run, remaining, missing, described, sink)
    counts = count(listing, folder, rejects, name)
    check_rejected(run.experiment, split, counts, tables.read_rows(rejects, tables.REJECTS, f"{name}@"))
    product.finish(counts["extracted"], tables.read_schema(folder), images=counts)
    say("extract", f"{split}: {counts['extracted']} extracted, {counts['rejected']} rejected of {counts['listed']}")
    return 1


def made_from(experiment: settings.Experiment, listing: pa.Table, described: dict[str, Description]) -> dict[str, Any]:
    """What a feature table depends on, as its manifest records it."""
    extract = experiment.extract
    return {
        "images": tables.digest([listing["image_id"].to_pylist(), listing["label"].to_pylist()]),
        "precision": extract.precision,
        "tf32": extract.tf32,
        "dtype": extract.dtype,
        "max_pixels": experiment.images.max_pixels,
        "networks": {
            name: {"weights": network.fingerprint, "preprocessing": network.preprocessing}
            for name, network in described.items()
        },
    }


def finished(run: Run, split: str, network: str, wanted: dict[str, Any]) -> bool:
    """Whether a finished table has the network's column, made from what is wanted now."""
    folder = tables.finished_pass(run.path("features", split), network)
    if folder is None:
        return False
    record = storage.join(folder, "manifest.json")
    found = storage.read_json(record)["made_from"]
    found["networks"] = {network: found["networks"][network]}
    if tables.matches(record, found, wanted, run.overwrite):
        return True
    storage.delete(folder)
    return False


def thin(listing: pa.Table, folder: str, rejects: str, name: str) -> pa.Table:
    """The images that an earlier, interrupted run didn't write. Rejected ones are tried again: they may be mended."""
    tables.remove_broken(folder)
    for file in storage.files_below(rejects, ".parquet"):
        if file.rpartition("/")[2].startswith(f"{name}@"):
            storage.resolve(rejects)[0].delete_file(file)
    written = tables.read_rows(folder, tables.IMAGES)["image_id"]
    return listing.filter(pc.invert(pc.is_in(listing["image_id"], value_set=written.combine_chunks())))


def stream(run: Run, listing: pa.Table, names: list[str], described: dict[str, Description], sink: TableSink) -> None:
    """Fetch, decode, compute, write: all at once, each with the resources that it asks for.

    Decoding asks for other resources than the networks, since Ray Data would fuse equal ones and decode in the actor.
    """
    experiment = run.experiment
    options = experiment.extract
    actor, actors = actor_resources(options)
    distinct = list(dict.fromkeys(described[name].geometry for name in names))
    geometries = {name: distinct.index(described[name].geometry) for name in names}
    rows = min(256, max(16, len(listing) // 64))  # of a block: enough blocks for all cores, few enough for the driver
    blocks = [listing.slice(start, rows) for start in range(0, len(listing), rows)]
    images = ray.data.from_arrow(blocks).map_batches(
        DecodeImages(distinct, experiment.images.max_pixels),
        batch_format="pyarrow",
        batch_size=min(rows, options.batch_size),
        num_cpus=options.decode_cpus,
    )
    features = images.map_batches(
        ExtractFeatures,
        fn_constructor_args=({name: experiment.networks[name] for name in names}, geometries, options),
        batch_format="numpy",
        batch_size=options.batch_size,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=1),
        **actor,
    )
    features.write_datasink(sink, ray_remote_args={"num_cpus": 0.25})


def actor_resources(options: settings.Extract) -> tuple[dict[str, Any], int]:
    """What an actor with the networks asks for, and how many there may be. Raises RunError where none could start."""
    cpus, most_gpus = ray.cluster_resources().get("CPU", 0), gpus()
    needed = options.network_cpus + options.decode_cpus + 0.25
    if cpus < needed:
        raise RunError(
            f"the cluster has {cpus:g} CPUs, extraction needs {needed:g}: lower extract.network_cpus "
            f"({options.network_cpus:g}) or extract.decode_cpus ({options.decode_cpus:g})"
        )
    actors = most_gpus or max(1, int(cpus // 2))
    limit = min(actors, options.max_actors or actors)
    return {"num_cpus": options.network_cpus, **({"num_gpus": 1} if most_gpus else {})}, limit


def count(listing: pa.Table, folder: str, rejects: str, name: str) -> dict[str, Any]:
    """Listed, extracted, rejected, and the rejected by reason. Raises TableError unless each image stands once."""
    extracted = tables.read_rows(folder, tables.IMAGES)["image_id"]
    rejected = tables.read_rows(rejects, tables.REJECTS, f"{name}@")
    written = pa.chunked_array([*extracted.chunks, *rejected["image_id"].chunks], pa.string())
    if len(written) != len(listing) or not np.array_equal(
        np.sort(np.asarray(written.to_pylist(), object)), np.sort(np.asarray(listing["image_id"].to_pylist(), object))
    ):
        raise tables.TableError(
            f"{folder}: {len(listing)} images listed, {len(extracted)} extracted and {len(rejected)} rejected; "
            "each must stand there once. Use --overwrite to make the table anew"
        )
    reasons = [reason.partition(":")[0] for reason in rejected["reason"].to_pylist()]
    return {
        "listed": len(listing),
        "extracted": len(extracted),
        "rejected": len(rejected),
        "reasons": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
    }


def check_rejected(experiment: settings.Experiment, split: str, counts: dict[str, Any], rejected: pa.Table) -> None:
    """Raise RunError where more images are unreadable than the experiment allows."""
    allowed = experiment.images.max_rejected
    if counts["rejected"] <= allowed * counts["listed"]:
        return
    few = "; ".join(f"{row['image_id']}: {row['reason']}" for row in rejected.slice(0, 5).to_pylist())
    raise RunError(
        f"images.{split}: {counts['rejected']} of {counts['listed']} images can't be read, images.max_rejected allows "
        f"{allowed:.2%}. {few}. Mend them, or set images.max_rejected higher, and run the same command again"
    )


if __name__ == "__main__":
    main(extract, __doc__)
