"""The page's sections about floor and ceiling of a loss, and about what it would vary by."""

from __future__ import annotations

from collections.abc import Mapping

from lib.evaluation.agreement import Z
from lib.evaluation.regions import REGIONS
from lib.evaluation.results import ControlResults, MappingResults, Results, Variance
from lib.report.blocks import Block, Folded, Note, Section, Table
from lib.report.cells import Row, direction, interval, loss_points, number, percent

TWINS = (
    "Trained again: the features of the same architecture trained a second time, mapped; only a larger loss than "
    "theirs says something of another architecture. "
)


def controls_section(results: Results) -> Section | None:
    """Return each direction beside its floor and its ceiling; None if no controls were fitted."""
    networks = results["networks"]
    if not any("from_itself" in network for network in networks.values()):
        return None
    twins = any(mapping.get("twins") for mapping in results["mappings"])
    text = (
        "How to read a loss. Ceiling: the target's own features, through a map fitted to them. "
        f"{TWINS if twins else ''}Labels alone: features that hold no more than which class an image belongs to (the "
        "source's class means plus noise of its own spread), through a map fitted to them. They may keep the accuracy "
        "although nothing else of the target is there, so look at the error E, too, and at R² within classes: what is "
        "left when each class's mean is taken away. At or below 0, the label alone was carried over. Own image first: "
        "share of images whose mapped vector is nearest, by cosine, to the target's own vector of the same image."
    )
    header = (
        *("direction", "own", "ceiling", *(["trained again"] if twins else []), "mapped", "labels alone"),
        *("E, ceiling", "E", "E, labels alone"),
        *("R² within classes", "own image first", "of images"),
    )
    rows = [control_row(results, mapping, twins) for mapping in results["mappings"]]
    groups = [("", 1), ("accuracy %", 5 if twins else 4), ("error", 3), ("image by image", 3)]
    table = Table(header, rows, "Each direction between its floor and its ceiling.", groups=groups)
    return Section("controls", "Floor and ceiling", [Note(text), table])


def control_row(results: Results, mapping: MappingResults, twins: bool) -> Row:
    """Return one direction's cells, with those of the target's twins if any network has one."""
    own = results["networks"][mapping["target"]]
    ceiling, floor, fit = own.get("from_itself"), mapping.get("label_only"), mapping.get("feature_fit")
    again = [other for other in results["mappings"] if other["target"] == mapping["target"] and other.get("twins")]
    return (
        *(direction(mapping), percent(own), cell(ceiling)),
        *([", ".join(map(percent, again))] if twins else []),
        *(percent(mapping), cell(floor)),
        *(error(ceiling), number(mapping["validation_error"], 4), error(floor)),
        *(number(fit["within_class_r2"], 3) if fit else "", f"{100 * fit['recall_at_1']:.1f} %" if fit else ""),
        f"{fit['rows']:,}" if fit else "",
    )


def cell(control: ControlResults | None) -> str:
    """Return a control's accuracy, or blank if there is none."""
    return percent(control) if control else ""


def error(control: ControlResults | None) -> str:
    """Return a control's E, or blank if there is none."""
    return number(control["validation_error"], 4) if control else ""


def variance_section(results: Results) -> Section | None:
    """Return what losses, E and regions would vary by if all was drawn again; None if that is unknown."""
    known = [(mapping, mapping["loss_variance"]) for mapping in results["mappings"] if "loss_variance" in mapping]
    if not known:
        return None
    text = (
        "The standard deviations of the loss, in points, of E and of the regions, if these were drawn again: the "
        "evaluation images, the training images (seen on least_squares maps of halves of them), and Adam's random "
        "numbers (seen on maps of other seeds; fit.seeds asks for them). Other intervals on this page hold the "
        "evaluation images alone; that of all holds what is known here."
    )
    parts = ("evaluation images", "training images", "seeds", "all")
    rows = [variance_row(mapping, variance) for mapping, variance in known]
    blocks: list[Block] = [
        Note(text),
        Table(("direction", "loss, points", *parts, "95 % interval of all"), rows, "What the loss varies by."),
    ]
    errors = [error_row(mapping) for mapping, _ in known if "validation_error_variance" in mapping]
    if errors:
        table = Table(("direction", "E", *parts, "95 % interval of all"), errors, "What E varies by.")
        blocks.append(Folded("What E varies by", table))
    regions = [region_row(mapping, mapping["regions_sd"]) for mapping, _ in known if "regions_sd" in mapping]
    if regions:
        caption = "Images in each region, and the standard deviation of their number, all that is known together."
        table = Table(("direction", *(name.replace("+", " + ") for name in REGIONS)), regions, caption)
        blocks.append(Folded("What the regions vary by", table))
    return Section("variance", "What the numbers vary by", blocks)


def variance_row(mapping: MappingResults, variance: Variance) -> Row:
    """Return one direction's cells."""
    half = Z * variance["total"] ** 0.5
    ends = interval((mapping["loss"] - half, mapping["loss"] + half))
    return (direction(mapping), loss_points(mapping), *deviations(variance, 2), ends)


def error_row(mapping: MappingResults) -> Row:
    """Return one direction's cells."""
    variance, error = mapping["validation_error_variance"], mapping["validation_error"]
    half = Z * variance["total"] ** 0.5
    return (direction(mapping), number(error, 4), *deviations(variance, 4), f"{error - half:.4f} to {error + half:.4f}")


def deviations(variance: Variance, digits: int) -> list[str]:
    """Return the parts of a variance, and the whole, as standard deviations."""
    parts = (variance["evaluation"], variance["training"], variance["seeds"], variance["total"])
    return [number(None if part is None else part**0.5, digits) for part in parts]


def region_row(mapping: MappingResults, spread: Mapping[str, float]) -> Row:
    """Return one direction's cells."""
    return (direction(mapping), *(f"{mapping['regions'][name]:,} ± {spread[name]:.1f}" for name in REGIONS))
