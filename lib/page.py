"""The report as one self-contained HTML page: no script, no outside file, readable on a phone and in the dark."""

from __future__ import annotations

from html import escape
from typing import Any

Row = tuple[str, ...]
LONG = 30  # characters: a header longer than this gets room, or it would stand one word a line

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fdfdfb; --line: #d9d9d4; --soft: #62626a; --card: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8ea; --paper: #17181b; --line: #3a3b40; --soft: #a4a5ad; --card: #f6f6f3; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif; }
h1, p, figure, .listing { max-width: 60rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
.verdict { font-size: 1.1rem; border-left: .25rem solid #0072b2; padding-left: 1rem; margin: 1rem 0; }
.scroll { overflow-x: auto; } .scroll:focus-visible { outline: 2px solid #0072b2; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; min-width: 100%; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; } th:first-child { text-align: left; }
thead th.long { min-width: 6.5rem; }
table.listing { table-layout: fixed; width: 100%; min-width: 0; }
.listing td, .listing th { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.listing th { font-weight: normal; width: 45%; } .listing thead th { font-weight: bold; }
tbody tr:last-child > * { border-bottom: 0; }
figure { margin: 1rem 0; } figure .card { background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  padding: .5rem; } figure svg { width: 100%; height: auto; display: block; max-height: 32rem; }
figcaption { margin-top: .4rem; } figcaption, .note { color: var(--soft); font-size: .9rem; }
.pair { max-width: 60rem; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
"""


def html(results: dict[str, Any], table: tuple[Row, list[Row]], verdict: str, figures: dict[str, str]) -> str:
    """The whole page. `table` is Table 1's header and rows, `figures` maps a figure's file name to its <svg>."""
    title = f"How far can one network stand in for another? Experiment {results['experiment']}"
    names = ", ".join(results["networks"])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="note">Networks: {
        escape(names)
    }. An affine map from one network's features to another's is fitted without labels;
the other's untouched classifier then works on the mapped features.</p>
<p class="verdict">{escape(verdict)}</p>
<h2>Table 1: accuracy of each composition</h2>
<p class="note">Loss: points of accuracy that the classifier loses when its own features are replaced; negative is a
gain. Fixed and broken: images that mapping turns from wrong to right, and from right to wrong. E: mean error of the
mapped features on the evaluation images. Length ratio: mean length of the mapped features over that of the
classifier's own.</p>
{_table(*table, caption="Right answers on the evaluation images.")}
<h2>Fig. 4: error of the training batches</h2>
{
        _figure(
            figures["error_curves"],
            "Error E = |x/|x| - y/|y||² of each batch while the maps are fitted, up to iteration 10,000.",
        )
    }
<h2>Fig. 5: which images each composition gets right</h2>
<div class="pair">
{"".join(_regions(mapping, figures) for mapping in results["mappings"])}
</div>
<h2>Images</h2>
{_images(results["images"])}
<h2>Settings</h2>
{_table(("setting", "value"), _flat(results["settings"]), "Fields of the experiment, defaults included.", "listing")}
<h2>Versions</h2>
{_table(("package", "version"), _flat(results["versions"]), "What computed these results.", "listing")}
</main>
</body>
</html>
"""


def _table(header: Row, body: list[Row], caption: str, kind: str = "numbers") -> str:
    """A table that scrolls by itself; the first cell of each row names the row. `kind` is its CSS class."""
    head = "".join(f'<th scope="col"{" class=long" if len(cell) > LONG else ""}>{escape(cell)}</th>' for cell in header)
    lines = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in body
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table class="{kind}">'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table></div>"
    )


def _figure(svg: str, caption: str) -> str:
    labelled = svg.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
    return f'<figure><div class="card">{labelled}</div><figcaption>{escape(caption)}</figcaption></figure>'


def _regions(mapping: dict[str, Any], figures: dict[str, str]) -> str:
    source, target = mapping["source"], mapping["target"]
    right = {"target": f"{target} → {target}", "source": f"{source} → {source}", "mapped": f"{source} → {target}"}
    counts = []
    for region, count in mapping["regions"].items():
        who = [right[member] for member in region.split("+") if member in right]
        name = "none" if not who else "all three" if len(who) == len(right) else " and ".join(who)
        counts.append(f"{name} {count:,}")
    caption = f"{source} to {target}, images by which compositions are right: {'; '.join(counts)}."
    return _figure(figures[f"regions_{source}-to-{target}"], caption)


def _images(images: dict[str, Any]) -> str:
    body = []
    for split, counts in images.items():
        reasons = "; ".join(f"{reason}: {count}" for reason, count in counts.get("reasons", {}).items())
        body.append((split, *(f"{counts[key]:,}" for key in ("listed", "extracted", "rejected")), reasons))
    header = ("split", "listed", "extracted", "rejected", "reasons")
    return _table(header, body, "Listed = extracted + rejected.")


def _flat(values: Any, path: str = "") -> list[Row]:
    """A nested table of settings as rows of dotted key and value; unset ones are left out."""
    if isinstance(values, dict) and values:
        return [row for key, value in values.items() for row in _flat(value, f"{path}.{key}".lstrip("."))]
    return [] if values in (None, {}, []) else [(path, str(values))]
