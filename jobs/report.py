"""results.json and the error curves -> Table 1 on the terminal, figures, and one HTML page.

python -m jobs.report lite
"""

from __future__ import annotations

from jobs.command import Run, main, say
from lib import report as page
from lib import storage, tables
from lib.figures import Curve


def report(run: Run) -> int:
    """Print Table 1 and write report.html and figures/, unless they show these results already."""
    results = storage.read_json(run.path("results.json"))
    product = tables.Product(
        manifest=run.path("report.manifest.json"),
        data=(run.path("report.html"), run.path("figures")),
        made_from={"results": tables.digest(results)},
    )
    made = 0
    if product.begin(overwrite=True):  # a report holds nothing of its own: a stale one is simply drawn again
        curves = {
            f"{mapping['source']} -> {mapping['target']}": curve(run, mapping["source"], mapping["target"])
            for mapping in results["mappings"]
        }
        page.write(results, curves, run.folder)
        product.finish(len(results["mappings"]))
        made = 1
    print(f"\n{page.table1(results)}\n\n{page.verdict(results)}\n", flush=True)
    say("report", run.path("report.html"))
    return made


def curve(run: Run, source: str, target: str) -> Curve:
    table = tables.read_curve(run.path("maps", f"{source}-to-{target}.curve.parquet"))
    return table["iteration"].to_numpy(), table["error"].to_numpy()


if __name__ == "__main__":
    main(report, __doc__)
