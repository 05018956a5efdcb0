"""results.json, error curves and examples -> Table 1 on the terminal, figures, one HTML page; or experiments compared.

python -m jobs.report lite
python -m jobs.report runs/lite
python -m jobs.report s3://bucket/runs/lite s3://bucket/runs/paper --out comparison.html
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from jobs.command import Run, RunError, add_arguments, exit_code, run_of, say
from lib import comparison, storage, tables
from lib import report as page
from lib.examples import EXAMPLES
from lib.figures import Curve


def report(run: Run) -> int:
    """Print Table 1 and write report.html and figures/, unless they show these results already."""
    results = storage.read_json(run.path("results.json"))
    product = tables.Product(
        manifest=run.path("report.manifest.json"),
        data=(run.path("report.html"), run.path("figures")),
        made_from={"results": tables.digest(results)},
    )
    if not product.begin(overwrite=True):  # a report holds nothing of its own: a stale one is simply drawn again
        show(results, run.folder)
        return 0
    draw(results, run.folder)
    product.finish(len(results["mappings"]))
    return 1


def draw(results: dict[str, Any], folder: str) -> None:
    """Write the report of the results in `folder`, and print Table 1."""
    curves = {}
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        file = storage.join(folder, "maps", f"{source}-to-{target}.curve.parquet")
        if mapping.get("family", "affine") == "affine" and storage.is_file(file):  # others have none
            curves[f"{source} → {target}"] = curve(file)
    page.write(results, curves, folder, examples(folder))
    show(results, folder)


def curve(file: str) -> Curve:
    table = tables.read_curve(file)
    return table["iteration"].to_numpy(), table["error"].to_numpy()


def examples(folder: str) -> list[dict[str, Any]]:
    """Rows of examples.parquet, the names of their classes under "names"."""
    file = storage.join(folder, "examples.parquet")
    rows = tables.read_file(file, EXAMPLES).to_pylist() if storage.is_file(file) else []
    for row in rows:
        row["names"] = {key: row.pop(f"{key}_name") for key in ("label", "own", "mapped")}
    return rows


def show(results: dict[str, Any], folder: str) -> None:
    print(f"\n{page.table1(results)}\n\n{page.verdict(results)}\n", flush=True)
    say("report", storage.join(folder, "report.html"))


def compare(folders: list[str], out: str) -> None:
    """Print several experiments beside each other, and write them as a page. Raises RunError where one comes twice."""
    if len(set(folders)) < len(folders):
        raise RunError(f"each experiment can stand there once, given are {', '.join(folders)}")
    results = [(folder.rstrip("/"), storage.read_json(storage.join(folder, "results.json"))) for folder in folders]
    markdown, html = comparison.compare(results)
    storage.write_bytes(out, html.encode())
    print(f"\n{markdown}\n", flush=True)
    say("report", out)


def folder_of(named: str, options: argparse.Namespace) -> str:
    """A results folder: as it is named, or the experiment's. Raises RunError where it has no results."""
    if storage.is_file(storage.join(named, "results.json")):
        return named
    folder = run_of(named, options).folder
    if not storage.is_file(storage.join(folder, "results.json")):
        raise RunError(f"{folder} has no results.json: run `python -m jobs.pipeline {named}` first, or name its folder")
    return folder


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="URI", help="a folder with results.json, or an experiment")
    parser.add_argument("--out", default="comparison.html", help="page of several experiments (default: %(default)s)")
    add_arguments(parser)
    options = parser.parse_args(arguments)

    def work() -> None:
        for uri in (*options.results, options.out, options.root):
            storage.check(uri)
        folders = [folder_of(named, options) for named in options.results]
        if len(folders) == 1:
            draw(storage.read_json(storage.join(folders[0], "results.json")), folders[0])
        else:
            compare(folders, options.out)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
