"""Images -> feature tables, one column for each network: Ray Data decodes on CPUs and computes features on GPUs.

python -m jobs.extract lite --set images.train=photos/train.csv --set images.val=photos/val.csv
"""

from __future__ import annotations

from dataclasses import replace

from jobs.cluster.commands import main
from jobs.cluster.damage import search
from jobs.cluster.runs import Run, say
from jobs.extraction.checks import (
    check_classes,
    check_labels,
    check_same_classes,
    check_training_rows,
    describe_all,
)
from jobs.extraction.given_features import import_pass
from jobs.extraction.listed import ListedSplits
from jobs.extraction.repair import take_out_damage
from jobs.extraction.set_checks import check_sets
from jobs.extraction.unfinished_tables import Plan, compute_passes, finish_pass, plan_pass
from jobs.listing.shared import check_shared
from jobs.listing.splits import list_splits
from lib.errors import ExperimentError
from lib.experiment.layout import SPLITS
from lib.experiment.settings import Experiment
from lib.features.tables import FeatureTables
from lib.images.labels import read_classes
from lib.images.tables import ListingTable
from lib.networks.descriptions import Description
from lib.storage.files import write_bytes
from lib.storage.manifests import Artifact, begin_all, digest
from lib.storage.records import FileRecord
from lib.storage.vector_files import file_versions, vector_files


def extract(run: Run) -> int:
    """Make what is missing of the feature tables, and return how many tables that were, or else how many classifiers.

    A network that has a column in a finished table is not extracted again. All is compared before anything is changed.
    """
    classes = read_classes(run.experiment.images)
    listings = list_splits(run)
    described = describe_all(run.experiment.networks, run.begun)
    check_experiment(run.experiment, classes, listings, described)
    given = {name: described[name] for name, network in run.experiment.networks.items() if network.features is not None}
    computed = {name: network for name, network in described.items() if name not in given}
    splits = run.experiment.images.splits
    images = numbered_images(listings)
    tables = {split: FeatureTables.open(run.files.features(split), check=not run.repair) for split in splits}
    plans = {split: plan_pass(run, split, images[split], computed, tables[split]) for split in splits}
    imports = plan_imports(run, images, given, tables)
    classifiers = begin_all(classifier_artifacts(run, described), run.overwrite, search(run, "extract"))
    for split in splits if run.repair else ():
        if take_out_damage(tables[split]):
            tables[split] = FeatureTables.open(run.files.features(split))
            plans[split] = plan_pass(run, split, images[split], computed, tables[split])
            imports = plan_imports(run, images, given, tables)
    for name, artifact in classifiers.items():  # after planning, which refuses what was made from something else
        write_classifier(run, artifact, name, described[name])
    passes = [plan.start() for plan in plans.values()]
    unfinished = [made for made in passes if made is not None]
    for split, made in zip(plans, passes, strict=True):
        if made is None and computed:
            say("extract", f"{split}: features of {', '.join(computed)} are finished, skipped")
    for group in dict.fromkeys((made.networks, tuple(made.images.tables)) for made in unfinished):
        together = [made for made in unfinished if (made.networks, tuple(made.images.tables)) == group]
        compute_passes(run, together, described)
    for made in unfinished:
        finish_pass(run, made)
    imported = [made for plan in imports if (made := plan.start()) is not None]
    for made in imported:  # after the others, whose rejected images they leave out
        import_pass(run, made)
    return len(unfinished) + len(imported) or len(classifiers)


def plan_imports(
    run: Run, images: dict[str, ListedSplits], given: dict[str, Description], tables: dict[str, FeatureTables]
) -> list[Plan]:
    """Return what is missing of the tables of features that were computed elsewhere, one for each network and split."""
    return [
        plan_pass(run, split, images[split], {name: with_versions(run, split, name, network)}, tables[split])
        for name, network in given.items()
        for split in images
    ]


def with_versions(run: Run, split: str, name: str, network: Description) -> Description:
    """Return the description of features that were computed elsewhere, for one split.

    Its fingerprint is of the vectors of train and val. Those of a further evaluation set have versions of their own.
    """
    files = run.experiment.networks[name].features
    if split in SPLITS or files is None:
        return network
    return replace(network, preprocessing={"vectors": digest(file_versions(vector_files(files.location(split))))})


def numbered_images(listings: dict[str, ListingTable]) -> dict[str, ListedSplits]:
    """Return for each split the numbered images among which its own stand.

    Those of train and val are numbered through both, and are computed in one stream. Those of each further evaluation
    set are numbered by themselves, so that another set changes no part of a table.
    """
    both = ListedSplits({split: listings[split] for split in SPLITS})
    return {split: both if split in SPLITS else ListedSplits({split: table}) for split, table in listings.items()}


def classifier_artifacts(run: Run, described: dict[str, Description]) -> dict[str, Artifact]:
    """Return each network's classifier's manifest, its file, and the weights that it belongs to.

    Those of probes are made later, by `python -m jobs.probe`.
    """
    networks = run.experiment.networks
    return {
        name: Artifact(
            manifest=run.files.classifier_manifest(name),
            data=(run.files.classifier(name),),
            made_from={"weights": network.fingerprint, **other_origin(networks[name].classifier, network)},
        )
        for name, network in described.items()
        if networks[name].classifier != "probe"
    }


def other_origin(classifier: str, network: Description) -> dict[str, str]:
    """Return what tells a classifier that is not the network's own: "none", or the digest of its numbers."""
    if classifier == "own":
        return {}
    return {"classifier": "none" if network.classifier is None else FileRecord.of(network.classifier).digest}


def write_classifier(run: Run, artifact: Artifact, name: str, network: Description) -> None:
    """Write one network's classifier with its manifest, which says that it has no class if there is none."""
    if network.classifier is None or network.classes is None:
        artifact.finish(0)
        return
    uri = run.files.classifier(name)
    write_bytes(uri, network.classifier)
    artifact.finish(network.classes, records={uri: FileRecord.of(network.classifier)})


def check_experiment(
    experiment: Experiment,
    classes: list[str] | None,
    listings: dict[str, ListingTable],
    described: dict[str, Description],
) -> None:
    """Raise ExperimentError if the images' classes are not those of the networks, or if the splits share too many
    images.
    """
    images = experiment.images
    shared = check_shared(listings["train"], listings["val"], images.max_shared)
    if shared:
        say("extract", f"{shared} images of val are in train, too")
    classify = any(network.classifies for network in experiment.networks.values())
    if classify and not listings["val"].labelled:
        raise ExperimentError("images.val: no image there has a label, so that nothing can be evaluated")
    splits = {f"images.{split}": images.split(split) for split in SPLITS}
    check_classes(splits, images.classes, classes, described)
    check_same_classes(described)
    check_training_rows(listings["train"].rows, experiment.fit)
    for split in SPLITS:
        check_labels(f"images.{split}", listings[split].largest_label, described)
    check_sets(images, listings, described)


if __name__ == "__main__":
    main(extract, __doc__, reads_images=True)
