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
