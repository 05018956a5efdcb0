"""The page's sections about where the numbers come from: images, settings, versions."""

from __future__ import annotations

from collections.abc import Mapping

from lib.evaluation.results import Results, StageTiming
from lib.report.blocks import Note, Section, Table
from lib.report.cells import Row, number

CLASSIFIERS = {"own": "the network's own", "none": "none", "probe": "linear, fitted with the training images' labels"}


def images_section(results: Results) -> Section:
    """Return how many images were listed, extracted and rejected, and why."""
    rows = []
    for split, counts in results["images"].items():
        reasons = "; ".join(f"{reason}: {count}" for reason, count in counts.get("reasons", {}).items())
        numbers = (counts["listed"], counts["extracted"], counts["rejected"])
        rows.append((split, *(f"{number:,}" for number in numbers), reasons))
    header = ("split", "listed", "extracted", "rejected", "reasons")
    table = Table(header, rows, "Listed = extracted + rejected.")
    shared = results.get("shared_images")
    known = [] if shared is None else [Note(f"Evaluation images with the features of a training image: {shared:,}.")]
    return Section("images", "Images", [table, *known])


def networks_section(results: Results) -> Section | None:
    """Return which features and which classifier of each network stand here; None if all are the networks' own."""
    networks = results["networks"]
    if all(network.get("classifier", "own") == "own" and not network.get("features") for network in networks.values()):
        return None
    rows = [
        (
            *(name, f"{network['feature_size']:,}", CLASSIFIERS.get(network.get("classifier", "own"), "from a file")),
            ", ".join(f"{key} {value}" for key, value in network.get("features", {}).items()) or "the network's own",
        )
        for name, network in networks.items()
    ]
    table = Table(("network", "numbers", "classifier", "features"), rows, "Where features and classifiers come from.")
    return Section("networks", "Networks", [table])


def timings_section(timings: Mapping[str, StageTiming]) -> Section | None:
    """Return how long each stage took; None if nobody timed them."""
    if not timings:
        return None
    header = ("stage", "seconds", "made", "CPUs", "GPUs", "ended (UTC)")
    rows = [
        (
            *(stage, number(timing["seconds"], 1), f"{timing['made']:,}"),
            *(number(timing["cpus"], 0), f"{timing['gpus']:,}", timing["ended"]),
        )
        for stage, timing in timings.items()
    ]
    caption = "The last run in which each stage made tables, maps or results; it may have gone on where one stopped."
    return Section("timings", "Where the time went", [Table(header, rows, caption)])


def settings_section(results: Results) -> Section:
    """Return the experiment's fields, defaults included."""
    caption = "Fields of the experiment, defaults included."
    table = Table(("setting", "value"), flattened(results["settings"]), caption, "listing")
    return Section("settings", "Settings", [table])


def versions_section(results: Results) -> Section:
    """Return the versions of the packages that computed the results."""
    caption = "What computed these results."
    table = Table(("package", "version"), flattened(results["versions"]), caption, "listing")
    return Section("versions", "Versions", [table])


def flattened(values: object, path: str = "") -> list[Row]:
    """Return a nested table of settings as rows of dotted key and value. Fields that are not set are left out."""
    if isinstance(values, dict) and values:
        return [row for key, value in values.items() for row in flattened(value, f"{path}.{key}".lstrip("."))]
    return [] if values in (None, {}, []) else [(path, str(values))]
