"""results.json and the error curves -> the paper's Table 1, a plain-language answer, and the files of the report."""

from __future__ import annotations

from typing import Any

from lib import figures, page, storage

Results = dict[str, Any]
Row = tuple[str, ...]


def rows(results: Results) -> tuple[Row, list[Row]]:
    """Table 1: its header and a row for each composition, own ones first, all as text."""
    header = [
        "features → classifier",
        "right",
        "accuracy %",
        "loss, points",
        "95 % interval",
        "fixed",
        "broken",
        "E",
        "length ratio",
    ]
    published = {(row["features"], row["classifier"]): row for row in results.get("published", [])}
    sources = sorted({row["source"] for row in published.values()})
    if published:
        header += [f"{what}, printed in {'; '.join(sources)}" for what in ("right", "accuracy %", "loss")]
    body = []
    for name, network in results["networks"].items():
        body.append([f"{name} → {name}", *_accuracy(network), *[""] * 6, *_printed(published, name, name)])
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        low, high = mapping["loss_ci95"]
        body.append(
            [
                f"{source} → {target} (mapped)",
                *_accuracy(mapping),
                f"{mapping['loss']:.{_digits(mapping)}f}",
                f"{low:.2f} to {high:.2f}",
                f"{mapping['fixed']:,}",
                f"{mapping['broken']:,}",
                f"{mapping['validation_error']:.4f}",
                f"{mapping['length_ratio']:.3f}",
                *_printed(published, source, target),
            ]
        )
    return tuple(header), [tuple(row) for row in body]


def _accuracy(counted: dict[str, Any]) -> list[str]:
    percent = 100 * counted["accuracy"]
    return [f"{counted['correct']:,} of {counted['total']:,}", f"{percent:.{_digits(counted)}f}"]


def _digits(counted: dict[str, Any]) -> int:
    """Decimals of a percent that tell one image more from one image less."""
    return 3 if counted["total"] >= 10_000 else 2


def _printed(published: dict[tuple[str, str], dict[str, Any]], features: str, classifier: str) -> list[str]:
    if not published:
        return []
    row = published.get((features, classifier), {})
    right = "" if row.get("correct") is None else f"{row['correct']:,}"
    # str, not a format: a printed 78.0 stays 78.0
    return [right, *("" if row.get(key) is None else str(row[key]) for key in ("accuracy", "loss"))]


def table1(results: Results) -> str:
    """Table 1 as Markdown, its columns aligned for a terminal."""
    header, body = rows(results)
    widths = [max(len(row[column]) for row in [header, *body]) for column in range(len(header))]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *body]]
    lines.insert(1, " | ".join("-" * width for width in widths))
    return "\n".join(f"| {line} |" for line in lines)


def verdict(results: Results) -> str:
    """What the numbers answer, without a claim that they don't carry.

    A sentence for each direction of two networks; of more networks the two ends of the range.
    """
    mappings = sorted(results["mappings"], key=lambda mapping: mapping["loss"])
    if len(mappings) <= 2:
        return " ".join(_sentence(results, mapping) for mapping in results["mappings"])
    ends = " ".join(_sentence(results, mapping) for mapping in (mappings[0], mappings[-1]))
    return f"Of {len(mappings)} directions, the one with the least loss and the one with the most: {ends}"


def _sentence(results: Results, mapping: dict[str, Any]) -> str:
    source, target = mapping["source"], mapping["target"]
    own, mapped = results["networks"][target]["accuracy"], mapping["accuracy"]
    low, high = mapping["loss_ci95"]
    if low > 0:
        change = f"loses {mapping['loss']:.2f} points of accuracy"
    elif high < 0:
        change = f"gains {-mapping['loss']:.2f} points of accuracy"
    else:
        change = f"changes by {0 - mapping['loss']:+.2f} points of accuracy, which may be chance"
    return (
        f"Fed with mapped features of {source} instead of its own, {target}'s classifier {change} "
        f"({100 * own:.2f} % to {100 * mapped:.2f} %; 95 % interval of the loss {low:.2f} to {high:.2f})."
    )


def write(results: Results, curves: dict[str, figures.Curve], folder: str) -> list[str]:
    """Write report.html, table1.md and the figures as SVG and PNG under `folder`; their URIs."""
    drawn = {"error_curves": figures.error_curves(curves)}
    for mapping in results["mappings"]:
        name = f"regions_{mapping['source']}-to-{mapping['target']}"
        drawn[name] = figures.region_diagram(mapping["regions"], mapping["source"], mapping["target"])
    vectors = {name: figures.svg(figure, f"f{place}") for place, (name, figure) in enumerate(drawn.items())}
    files = {
        "report.html": page.html(results, rows(results), verdict(results), vectors),
        "table1.md": table1(results) + "\n",
    }
    contents = {name: text.encode() for name, text in files.items()}
    for name, figure in drawn.items():
        contents[f"figures/{name}.svg"] = vectors[name].encode()
        contents[f"figures/{name}.png"] = figures.png(figure)
    for name, content in contents.items():
        storage.write_bytes(storage.join(folder, name), content)
    return [storage.join(folder, name) for name in contents]
