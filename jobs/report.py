"""results.json, error curves and examples -> Table 1 on the terminal, figures, one HTML page; or experiments compared.

python -m jobs.report lite
python -m jobs.report runs/lite
python -m jobs.report s3://bucket/runs/lite s3://bucket/runs/paper --out comparison.html
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from jobs.cluster.arguments import add_arguments, run_of
from jobs.cluster.commands import exit_code
from jobs.cluster.runs import Run, say
from lib.errors import RunError
from lib.evaluation.examples import EXAMPLES
from lib.maps.curves import read_curve
from lib.report.comparison import compare_experiments
from lib.report.error_curves import Curve
from lib.report.report import write_report
from lib.report.table1 import table1_markdown
from lib.report.verdict import verdict
from lib.storage.files import is_file, read_json, write_bytes
from lib.storage.manifests import Artifact, digest
from lib.storage.parquet import read_table
from lib.storage.uris import check_uri, join_uri


def report(run: Run) -> int:
    """Print Table 1 and write report.html and figures/, unless they show these results already."""
    results = read_json(run.files.results)
    product = Artifact(
        manifest=run.files.report_manifest,
        data=(run.files.report, run.files.figures),
        made_from={"results": digest(results)},
    )
    if not product.begin(overwrite=True):  # a report holds nothing of its own: a stale one is simply drawn again
        show(results, run.files.folder)
        return 0
    draw_report(results, run.files.folder)
    product.finish(len(results["mappings"]))
    return 1


def draw_report(results: dict[str, Any], folder: str) -> None:
    """Write the report of the results in `folder`, and print Table 1."""
    curves = {}
    for mapping in results["mappings"]:
        source, target = mapping["source"], mapping["target"]
        file = join_uri(folder, "maps", f"{source}-to-{target}.curve.parquet")
        if mapping.get("family", "affine") == "affine" and is_file(file):  # others have none
            curves[f"{source} → {target}"] = read_error_curve(file)
    write_report(results, curves, folder, read_examples(folder))
    show(results, folder)


def read_error_curve(file: str) -> Curve:
    table = read_curve(file)
    return table["iteration"].to_numpy(), table["error"].to_numpy()


def read_examples(folder: str) -> list[dict[str, Any]]:
    """Rows of examples.parquet, the names of their classes under "names"."""
    file = join_uri(folder, "examples.parquet")
    rows = read_table(file, EXAMPLES).to_pylist() if is_file(file) else []
    for row in rows:
        row["names"] = {key: row.pop(f"{key}_name") for key in ("label", "own", "mapped")}
    return rows


def show(results: dict[str, Any], folder: str) -> None:
    print(f"\n{table1_markdown(results)}\n\n{verdict(results)}\n", flush=True)
    say("report", join_uri(folder, "report.html"))


def compare(folders: list[str], out: str) -> None:
    """Print several experiments beside each other, and write them as a page. Raises RunError where one comes twice."""
    if len(set(folders)) < len(folders):
        raise RunError(f"each experiment can stand there once, given are {', '.join(folders)}")
    results = [(folder.rstrip("/"), read_json(join_uri(folder, "results.json"))) for folder in folders]
    markdown, html = compare_experiments(results)
    write_bytes(out, html.encode())
    print(f"\n{markdown}\n", flush=True)
    say("report", out)


def folder_of(named: str, options: argparse.Namespace) -> str:
    """A results folder: as it is named, or the experiment's. Raises RunError where it has no results."""
    if is_file(join_uri(named, "results.json")):
        return named
    folder = run_of(named, options).files.folder
    if not is_file(join_uri(folder, "results.json")):
        raise RunError(f"{folder} has no results.json: run `python -m jobs.pipeline {named}` first, or name its folder")
    return folder


def main(arguments: list[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", metavar="URI", help="a folder with results.json, or an experiment")
    parser.add_argument("--out", default="comparison.html", help="page of several experiments (default: %(default)s)")
    add_arguments(parser)
    options = parser.parse_args(arguments)

    def work() -> None:
        for uri in (*options.results, options.out, options.root):
            check_uri(uri)
        folders = [folder_of(named, options) for named in options.results]
        if len(folders) == 1:
            draw_report(read_json(join_uri(folders[0], "results.json")), folders[0])
        else:
            compare(folders, options.out)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
