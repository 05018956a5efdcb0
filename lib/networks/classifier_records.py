"""What is recorded of the files with networks' classifiers. Nothing here imports torch."""

from __future__ import annotations

from lib.experiment.layout import Layout
from lib.storage.files import is_file
from lib.storage.manifests import read_manifests, read_records
from lib.storage.records import FileRecord, read_recorded
from lib.storage.tensor_headers import metadata_of, shape_of


def has_classifier(files: Layout, network: str) -> bool:
    """Return whether a network has a classifier: its manifest counts the classes, and there are none without one."""
    manifest = files.classifier_manifest(network)
    return not is_file(manifest) or bool(read_manifests({"": manifest})[""]["rows"])


def count_classes(files: Layout, network: str) -> int:
    """Return how many classes labels can name to a network's classifier: those of its scores, without a background.

    Raises StorageError if it has no classifier, and DamagedFile if the file is not what was written.
    """
    uri = files.classifier(network)
    data = read_recorded(uri, classifier_record(files, network))
    return shape_of(uri, data, "bias")[0] - int(metadata_of(data).get("offset", 0))


def classifier_digest(files: Layout, network: str) -> str | None:
    """Return the digest of a network's classifier's file, None if it has none.

    Raises StorageError if there is no file, and DamagedFile if it is not what was written.
    """
    if not has_classifier(files, network):
        return None
    return FileRecord.of(read_recorded(files.classifier(network), classifier_record(files, network))).digest


def classifier_record(files: Layout, network: str) -> FileRecord | None:
    """Return what the manifest of a network's classifier records of its file; None if there is no manifest."""
    return read_records(files.classifier_manifest(network)).get(files.classifier(network))
