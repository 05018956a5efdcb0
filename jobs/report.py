"""results.json, error curves and examples -> Table 1 on the terminal, figures, one HTML page; or experiments compared.

python -m jobs.report lite
python -m jobs.report runs/lite
python -m jobs.report s3://bucket/runs/lite s3://bucket/runs/paper --out comparison.html
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap

from jobs.cluster.arguments import add_arguments, run_of
from jobs.cluster.commands import exit_code
from jobs.cluster.damage import search
from jobs.cluster.runs import Run, say
from lib.errors import RunError
from lib.evaluation.results import Results
from lib.experiment.layout import Layout
from lib.report.cells import plain
from lib.report.comparison import compare_experiments
from lib.report.findings import FEW, Findings, read_results
from lib.report.sets import set_lines
from lib.report.table1 import ends_rows, table1_rows
from lib.report.titles import titled
from lib.report.verdict import verdict
from lib.storage.files import is_file, write_bytes
from lib.storage.manifests import Artifact, begin_all, digest
from lib.storage.records import Records
from lib.storage.uris import check_uri

WIDTH = 100  # characters of a line of the answer, at the most


def report(run: Run) -> int:
    """Print Table 1 and write report.html and figures/, unless they show these results already.

    Return 1 if the report was written, else 0.
    """
    results = read_results(run.files)
    artifact = artifact_of(run.files, results)
    # A report holds nothing of its own, so a stale one is drawn again.
    written = bool(begin_all({"report": artifact}, overwrite=True, search=search(run, "report")))
    if written:
        artifact.finish(len(results["mappings"]), records=draw(Findings.read(run.files), run.files))
        say("report", f"{run.files.report} is written")
    show(results, run.files)
    return int(written)


def draw(findings: Findings, files: Layout) -> Records:
    """Write the page, Table 1 and the figures, and return what is to be recorded of them."""
    from lib.report.report import write_report  # with matplotlib, which whoever only wants the answer does without

    return write_report(findings, files)


def artifact_of(files: Layout, results: Results) -> Artifact:
    """Return the report's manifest, its files, and the results that it shows."""
    return Artifact(files.report_manifest, (files.report, files.figures), {"results": digest(results)})


def show(results: Results, files: Layout) -> None:
    """Print Table 1, or both ends of it for many networks, the verdict, and where the rest is."""
    results = titled(results)
    many = len(results["networks"]) > FEW
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 0)).columns)
    table = plain(*(ends_rows(results) if many else table1_rows(results)), width) if results["mappings"] else ""
    lines = [*verdict(results).splitlines(), *set_lines(results)]
    answer = "\n".join(textwrap.fill(line, width) for line in lines)
    print(f"\n{table}\n\n{answer}\n\nReport: {files.report}\nTable 1: {files.table1}", flush=True)


def compare(folders: list[str], out: str) -> None:
    """Print several experiments beside each other, and write them as a page. Raises RunError if one comes twice."""
    if len(set(folders)) < len(folders):
        raise RunError(f"each experiment can stand there once, given are {', '.join(folders)}")
    results = [read_results(Layout(folder)) for folder in folders]
    markdown, html = compare_experiments(list(zip(column_titles(folders, results), results, strict=True)))
    write_bytes(out, html.encode())
    print(f"\n{markdown}\n", flush=True)
    say("report", out)


def column_titles(folders: list[str], results: list[Results]) -> list[str]:
    """Return the experiments' titles if each has one of its own, else their folders."""
    titles = [title for title in (one["settings"].get("title") for one in results) if title]
    return titles if len(set(titles)) == len(folders) else [folder.rstrip("/") for folder in folders]


def folder_of(named: str, options: argparse.Namespace) -> str:
    """Return a results folder as it is named, or the experiment's. Raises RunError if it has no results."""
    if is_file(Layout(named).results):
        return named
    folder = run_of(named, options).files.folder
    if not is_file(Layout(folder).results):
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
            files = Layout(folders[0])
            findings = Findings.read(files)
            records = draw(findings, files)
            artifact_of(files, findings.results).finish(len(findings.results["mappings"]), records=records)
            show(findings.results, files)
        else:
            compare(folders, options.out)

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
