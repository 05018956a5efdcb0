'use strict';
const LEADING = /^<?\s*[-+]?(\d[\d,]*\.?\d*|\.\d+)(e[-+]?\d+)?/i;
const NEXT = { none: 'ascending', ascending: 'descending', descending: 'none' };
function leading(text) {
  const found = text.match(LEADING);
  if (!found) return NaN;
  const value = parseFloat(found[0].replace(/[<,\s]/g, ''));
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
// Each table can be taken along as CSV.
function csv(table) {
  const quoted = cell => `"${(cell.querySelector('button') ?? cell).textContent.trim().replaceAll('"', '""')}"`;
  const head = table.tHead.rows[table.tHead.rows.length - 1];
  return [head, ...table.tBodies[0].rows].map(row => [...row.cells].map(quoted).join(',')).join('\r\n') + '\r\n';
}
for (const table of document.querySelectorAll('table')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'csv';
  button.textContent = 'CSV';
  button.title = 'Download this table';
  button.addEventListener('click', () => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([csv(table)], { type: 'text/csv' }));
    link.download = `${table.closest('section').id}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
  table.caption.append(' ', button);
}
// The page's address names a direction: #lite0-to-lite2.
const named = () => decodeURIComponent(location.hash.slice(1));
const chooser = document.getElementById('direction');
if (chooser) {
  const parts = [...document.querySelectorAll('[data-direction]')];
  const show = () => { for (const part of parts) part.hidden = part.id !== chooser.value; };
  const follow = () => {
    const part = parts.find(other => other.id === named());
    if (!part) return;
    chooser.value = part.id;
    show();
    part.scrollIntoView();
  };
  chooser.closest('.chooser').hidden = false;
  chooser.addEventListener('change', () => { history.replaceState(null, '', '#' + encodeURIComponent(chooser.value)); show(); });
  addEventListener('hashchange', follow);
  show();
  follow();
}
// A click on a cell of the matrix goes to its direction.
for (const figure of document.querySelectorAll('[data-cells]')) {
  const names = JSON.parse(figure.dataset.cells), titles = JSON.parse(figure.dataset.titles);
  const losses = JSON.parse(figure.dataset.losses), area = figure.querySelector('[id$="-cells"]');
  const pair = event => {
    const box = area.getBoundingClientRect(), n = names.length;
    const column = Math.floor((event.clientX - box.left) / box.width * n);
    const row = Math.floor((event.clientY - box.top) / box.height * n);
    return row in names && column in names && row !== column ? [row, column] : null;
  };
  const card = figure.querySelector('.card');
  card.addEventListener('click', event => {
    const found = pair(event);
    if (found) location.hash = encodeURIComponent(found.map(place => names[place]).join(figure.dataset.between));
  });
  card.addEventListener('mousemove', event => {
    const found = pair(event);
    card.title = found ? `${titles[found[0]]} → ${titles[found[1]]}: ${losses[found[0]][found[1]] ?? 'no'} points of loss` : '';
    card.style.cursor = found ? 'pointer' : '';
  });
  figure.querySelector('figcaption').append(' Click a cell to see its direction.');
}
