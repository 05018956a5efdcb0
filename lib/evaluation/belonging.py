"""Whether what a stage reads belongs together: features of both splits and classifiers of the same weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lib.errors import ManifestMismatch
from lib.experiment.layout import Layout
from lib.features.tables import FeatureTables
from lib.storage.files import for_all, is_file
from lib.storage.manifests import read_manifests

MEND = "run `python -m jobs.extract` again, with --overwrite if these weights are the ones that you want"


def check_weights(files: Layout, networks: Sequence[str], tables: Sequence[FeatureTables]) -> None:
    """Raise ManifestMismatch if one of the networks has features, or a classifier, of other weights in some place.

    Raises TableError if a network has no finished table. What an earlier version wrote without saying which weights it
    belongs to is taken as it is.
    """
    manifests = {network: files.classifier_manifest(network) for network in networks}
    there = dict(zip(networks, for_all(is_file, manifests.values()), strict=True))
    recorded = read_manifests({network: uri for network, uri in manifests.items() if there[network]})
    for network in networks:
        found = {table.folder: table.weights(network) for table in tables}
        if network in recorded:
            found[files.classifier(network)] = recorded[network]["made_from"]["weights"]
        places = {weights: place for place, weights in reversed(found.items()) if weights is not None}
        if len(places) > 1:
            *_, (other, elsewhere), (one, place) = places.items()
            raise ManifestMismatch(
                f"network {network!r}: {place} was made with the weights {one}, {elsewhere} with {other}: {MEND}"
            )


def check_predictions(tables: FeatureTables, manifests: Iterable[tuple[tuple[str, str], Mapping[str, Any]]]) -> None:
    """Raise ManifestMismatch if predictions were made from other features than those in `tables`.

    `manifests` are those of the prediction tables, each with source and target.
    """
    digests: dict[str, str] = {}
    for (source, target), manifest in manifests:
        digests |= {network: tables.digest(network) for network in (source, target) if network not in digests}
        made_from = manifest["made_from"]
        used = made_from.get("val") or [made_from["source"], made_from["target"]]
        for said, network in zip(used, (source, target), strict=True):
            if said != digests[network]:
                raise ManifestMismatch(
                    f"the predictions of {target!r}'s classifier on features of {source!r} were made from other "
                    f"features of {network!r} than those under {tables.folder}: run `python -m jobs.predict` first"
                )
