"""The style sheet and the script that stand inside each page. Neither holds any data."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fdfdfb; --line: #d9d9d4; --soft: #5d5d65; --card: #ffffff;
  --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ea; --paper: #17181b; --line: #3a3b40; --soft: #a9aab2;
  --card: #f1f1ee; --accent: #6db8ea; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
a { color: var(--accent); }
h1, h2, h3, h4, p, .listing, nav { max-width: 60rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; } h2 { font-size: 1.2rem; margin: 2.75rem 0 .5rem; }
h3 { font-size: 1.05rem; margin: 1.25rem 0 .25rem; } h4 { font-size: 1rem; margin: 1rem 0 .25rem; }
.verdict { font-size: 1.1rem; white-space: pre-line; border-left: .25rem solid var(--accent);
  padding-left: 1rem; margin: 1rem 0; }
nav { font-size: .9rem; line-height: 1.9; } nav a { margin-right: 1rem; white-space: nowrap; }
.scroll { overflow-x: auto; margin: .75rem 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .875rem; min-width: 100%; }
table.numbers { overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; } th:first-child, th.name, td.name { text-align: left; }
thead th.long { min-width: 7.5rem; } thead th.group { text-align: center; border-left: 1px solid var(--line); }
tbody th { font-weight: normal; }
tbody tr:last-child > * { border-bottom: 0; }
th button { all: unset; cursor: pointer; border-radius: .2rem; } th button:hover { color: var(--accent); }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
th button::after { content: "\\202f\\2195"; opacity: .45; }
th[aria-sort=ascending] button::after { content: "\\202f\\2191"; opacity: 1; color: var(--accent); }
th[aria-sort=descending] button::after { content: "\\202f\\2193"; opacity: 1; color: var(--accent); }
table.listing { table-layout: fixed; width: 100%; min-width: 0; }
.listing td, .listing th { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.listing th { font-weight: normal; width: 45%; } .listing thead th { font-weight: bold; }
figure { margin: 1rem 0; max-width: 60rem; }
figure .card { background: var(--card); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem;
  overflow-x: auto; }
figure svg { width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { margin-top: .4rem; } figcaption, .note { color: var(--soft); font-size: .9rem; }
details { margin: .75rem 0; } summary { cursor: pointer; color: var(--accent); width: fit-content; }
.chooser { margin: .75rem 0; } .chooser select { font: inherit; padding: .3rem; margin-left: .5rem; max-width: 100%; }
.directions, .parts { display: grid; gap: 0 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
.directions > *, .parts > * { min-width: 0; }
.thumbnails { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
.thumbnails figure { margin: 0; min-width: 0; } .thumbnails figcaption { font-size: .8rem; line-height: 1.35; }
.thumbnails img { width: 100%; aspect-ratio: 1; object-fit: contain; background: rgb(128 128 128 / .15);
  border-radius: .3rem; display: block; }
"""
# Buttons into the header cells of each table of numbers; a click or Enter sorts up, down, and back as it was.
# The chooser of directions comes to light here, so that without script there is no dead control and all is shown.
SCRIPT = """
'use strict';
const LEADING = /^<?\\s*[-+]?(\\d[\\d,]*\\.?\\d*|\\.\\d+)(e[-+]?\\d+)?/i;
const NEXT = { none: 'ascending', ascending: 'descending', descending: 'none' };
function leading(text) {
  const found = text.match(LEADING);
  if (!found) return NaN;
  const value = parseFloat(found[0].replace(/[<,\\s]/g, ''));
  return text.startsWith('<') ? value * 0.999 : value;
}
function sorted(rows, column, down) {
  const keyed = rows.map(row => [row.cells[column].textContent.trim(), row]);
  const filled = keyed.filter(([text]) => text), blank = keyed.filter(([text]) => !text);
  const numeric = column > 0 && filled.every(([text]) => !isNaN(leading(text)));
  const compare = numeric ? (a, b) => leading(a) - leading(b) : (a, b) => a.localeCompare(b, 'en', { numeric: true });
  filled.sort(([a], [b]) => down ? compare(b, a) : compare(a, b));
  return [...filled, ...blank].map(([, row]) => row);
}
for (const table of document.querySelectorAll('table.numbers')) {
  const body = table.tBodies[0], given = [...body.rows];
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  if (given.length < 2) continue;
  heads.forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute('aria-sort', 'none');
    button.addEventListener('click', () => {
      const order = NEXT[head.getAttribute('aria-sort')];
      for (const other of heads) other.setAttribute('aria-sort', 'none');
      head.setAttribute('aria-sort', order);
      body.append(...(order === 'none' ? given : sorted(given, column, order === 'descending')));
    });
  });
}
const chooser = document.getElementById('direction');
if (chooser) {
  const show = () => {
    for (const part of document.querySelectorAll('[data-direction]'))
      part.hidden = part.dataset.direction !== chooser.value;
  };
  chooser.closest('.chooser').hidden = false;
  chooser.addEventListener('change', show);
  show();
}
"""
