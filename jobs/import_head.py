"""Text embeddings -> a zero-shot head: a file that `classifier` names, in a [networks.NAME] section.

python -m jobs.import_head texts.npy --network vit_base_patch32_clip_quickgelu_224.openai --out heads/clip.safetensors
python -m jobs.import_head texts.npy --network foundation:clip --out heads/clip.safetensors
python -m jobs.import_head texts.parquet --projection open_clip_model.safetensors --out heads/clip.safetensors
python -m jobs.import_head texts.safetensors --no-projection --out heads/siglip.safetensors

EMBEDDINGS has a row for each class, in the order of the labels: .npy, .parquet or .safetensors, local, s3:// or gs://.
The projection is the last layer of timm's network, or is looked for in a file of weights by the names that CLIP's
implementations give it. Needs no Ray and no cluster.
"""

from __future__ import annotations

import argparse
import sys

from jobs.cluster.arguments import EXPERIMENTS
from jobs.cluster.commands import exit_code
from lib.errors import ExperimentError
from lib.experiment.loading import load_network
from lib.networks.classifiers import Classifier
from lib.networks.weight_files import cached
from lib.networks.weights import load_model, read_state
from lib.networks.zero_shot import Projection, projection_in, projection_of, read_embeddings, zero_shot_head
from lib.storage.files import write_bytes
from lib.storage.uris import check_uri, join_uri


def import_head(embeddings: str, projection: Projection | None, out: str, column: str | None = None) -> Classifier:
    """Write the head that these embeddings and this projection make to `out`, and return it. Raises NetworkError."""
    head = zero_shot_head(read_embeddings(embeddings, column), projection)
    write_bytes(out, head.to_bytes())
    return head


def projection_named(options: argparse.Namespace) -> Projection | None:
    """Return the projection that the command line names; None if it says that there is none."""
    if options.no_projection:
        return None
    if options.projection is not None:
        return projection_in(options.projection, read_state("head", options.projection, cached(options.projection)))
    folder = join_uri(options.root, options.network.rpartition(":")[0])
    name, network = load_network(options.network, options.set, EXPERIMENTS, folder)
    if network.pool is not None or network.layer is not None:
        raise ExperimentError(f"network {name!r}: the projection takes its own features, leave out pool and layer")
    return projection_of(load_model(name, network))


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", metavar="EMBEDDINGS", help="text embeddings, a row for each class")
    projection = parser.add_mutually_exclusive_group(required=True)
    projection.add_argument("--network", help="whose last layer is the projection: EXPERIMENT:NAME, or timm's name")
    projection.add_argument("--projection", metavar="FILE", help="a .safetensors or .pth file of a network's weights")
    projection.add_argument("--no-projection", action="store_true", help="features lie in the shared space already")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="override its fields")
    parser.add_argument("--column", help="the column or tensor with the embeddings, if there are several")
    parser.add_argument("--root", default="runs", help='what "{root}" in an experiment stands for (default: runs)')
    parser.add_argument("--out", required=True, help="path or URI of the .safetensors file to write")
    options = parser.parse_args(arguments)
    if not options.out.endswith(".safetensors"):
        parser.error(f"--out {options.out}: must end with .safetensors, by which the file is known when it is loaded")

    def work() -> None:
        for uri in filter(None, (options.embeddings, options.projection, options.out, options.root)):
            check_uri(uri)
        head = import_head(options.embeddings, projection_named(options), options.out, options.column)
        classes, features = head.weight.shape
        print(f"{options.out}: {classes:,} classes, {features:,} features. In the network's section:\n")
        print(f'classifier = "{options.out}"', flush=True)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
