"""What has to be known of networks by those who do not hold them. A process of its own finds it out.

Torch and timm take four seconds of a core to import; meanwhile the caller starts Ray.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import weakref
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, BinaryIO

from lib.errors import NetworkError, StorageError, TableError
from lib.experiment.network_settings import FeatureFiles, NetworkSettings
from lib.images.geometry import Geometry
from lib.networks.imports import uncollected
from lib.storage.files import for_all
from lib.storage.manifests import digest
from lib.storage.vector_files import file_versions, vector_files, vector_size


@dataclass(frozen=True)
class Description:
    """What the driver has to know of a network without holding it."""

    fingerprint: str
    geometry: Geometry | None  # None for features that were computed elsewhere
    preprocessing: dict[str, Any]
    classes: int | None  # None where the classifier is
    classifier: bytes | None  # lib.networks.classifiers.Classifier's; None if there is none, or none yet
    features: dict[str, Any] = field(
        default_factory=dict
    )  # which of the network's features: pool and layer, where they are not the network's own


def describe_network(name: str, network: NetworkSettings) -> Description:
    """Load a network once, and check its split, which the actors then take for granted. Raises NetworkError."""
    if network.features is not None:
        return describe_features(name, network, network.features)
    from lib.networks.network import Network  # with torch and timm: whoever only wants to begin does without

    loaded = Network(name, network)
    loaded.check_split()
    config = {**vars(loaded.geometry), "mean": loaded.mean, "std": loaded.std}
    del config["steps"]  # they follow from the others
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in config.items()}
    classifier = loaded.classifier
    return Description(
        loaded.fingerprint(),
        loaded.geometry,
        config,
        None if classifier is None else classifier.classes,
        None if classifier is None else classifier.to_bytes(),
        network.chosen_features,
    )


def describe_features(name: str, network: NetworkSettings, files: FeatureFiles) -> Description:
    """Describe features that were computed elsewhere by their files. Raises NetworkError and TableError."""
    named = {split: vector_files(files.location(split)) for split in ("train", "val")}
    every = [file for found in named.values() for file in found]
    sizes = set(for_all(lambda file: vector_size(file, files.key, files.vector), every))
    if len(sizes) != 1:
        raise NetworkError(f"network {name!r}: its files have vectors of {sorted(sizes)} numbers")
    versions = {split: file_versions(found) for split, found in named.items()}
    fingerprint = digest([versions, files.key, files.vector])
    classifier = None
    if network.classifier_file is not None:
        from lib.networks.classifier_files import read_classifier  # with torch

        classifier = read_classifier(name, network.classifier_file, network.class_offset, next(iter(sizes)))
    classes, data = (None, None) if classifier is None else (classifier.classes, classifier.to_bytes())
    return Description(fingerprint, None, {}, classes, data, {})


class Describing:
    """Networks that another process describes from now on. That process is killed if this one ends first."""

    def __init__(self, networks: dict[str, NetworkSettings]) -> None:
        reader, writer = os.pipe()  # stdout is for what libraries print
        self.pipe = open(reader, "rb")  # noqa: SIM115 - read and closed in `descriptions`
        program = f"from lib.networks.descriptions import answer_descriptions; answer_descriptions({writer})"
        with open(writer, "wb"):
            self.process = subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                pass_fds=[writer],
            )
        weakref.finalize(self, _end, self.process, self.pipe)
        assert self.process.stdin is not None
        with self.process.stdin as question:
            question.write(pickle.dumps(networks))

    @cached_property
    def descriptions(self) -> dict[str, Description]:
        """The descriptions, as soon as they are there.

        Raises what `describe_network` raises, and RuntimeError if the process ended without an answer.
        """
        with self.pipe:
            pickled = self.pipe.read()
        if self.process.wait():
            raise RuntimeError(f"the process that describes networks ended with exit code {self.process.returncode}")
        found: dict[str, Description] | NetworkError | StorageError | TableError = pickle.loads(pickled)
        if isinstance(found, Exception):
            raise found
        return found


def _end(process: subprocess.Popen[bytes], pipe: BinaryIO) -> None:
    """End a process whose answer nobody wants any more, or has read."""
    process.kill()
    process.wait()
    pipe.close()


def answer_descriptions(to: int) -> None:
    """Do what the other process does: read networks from stdin, and write descriptions into the pipe `to`, both
    pickled.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Control-C reaches all of a terminal's processes: end without a word
    networks: dict[str, NetworkSettings] = pickle.load(sys.stdin.buffer)
    found: dict[str, Description] | NetworkError | StorageError | TableError
    try:
        with uncollected():
            found = {name: describe_network(name, network) for name, network in networks.items()}
    except (NetworkError, StorageError, TableError) as error:
        found = error
    with open(to, "wb") as pipe:
        pickle.dump(found, pipe)
