'use strict';
// Draws the directions of many networks from the numbers in the page (lib/report/pair_numbers.py).
const numbers = JSON.parse(document.getElementById('numbers').textContent);
const ROWS = 100;  // of the table that are added at a time
const count = numbers.source.length;
const title = k => `${numbers.networks[numbers.source[k]]} → ${numbers.networks[numbers.target[k]]}`;
const id = k => numbers.names[numbers.source[k]] + numbers.between + numbers.names[numbers.target[k]];
const format = (value, digits, least) => value === null ? '' : value < least ? `< ${least}` :
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });

function element(tag, attributes = {}, ...children) {
  const found = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...children);
  return found;
}
function drawing(tag, attributes, ...children) {
  const found = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes)) found.setAttribute(key, value);
  found.append(...children);
  return found;
}
function scrolling(label, table) {
  return element('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label }, table);
}

// The table of all directions: searched, sorted, and shown ROWS rows at a time.
const state = { column: -1, down: false, words: [], shown: ROWS };
const titles = Array.from({ length: count }, (_, k) => title(k));
const body = element('tbody');
const more = element('button', { type: 'button', class: 'more' });
const found = element('p', { class: 'note', role: 'status' });
const search = element('input', { type: 'search', placeholder: 'part of a name', size: 24 });

function chosen() {
  const rows = [...titles.keys()].filter(k => state.words.every(word => titles[k].toLowerCase().includes(word)));
  if (state.column < 0) return rows;
  const values = state.column === 0 ? titles : numbers.columns[state.column - 1].values;
  const filled = rows.filter(k => values[k] !== null), blank = rows.filter(k => values[k] === null);
  const compare = state.column === 0 ? (a, b) => values[a].localeCompare(values[b], 'en', { numeric: true }) :
    (a, b) => values[a] - values[b];
  filled.sort((a, b) => state.down ? compare(b, a) : compare(a, b));
  return [...filled, ...blank];
}
function fill() {
  const rows = chosen();
  body.replaceChildren(...rows.slice(0, state.shown).map(k => element('tr', {},
    element('th', { scope: 'row' }, element('a', { href: '#' + encodeURIComponent(id(k)) }, titles[k])),
    ...numbers.columns.map(column => element('td', {}, format(column.values[k], column.digits, column.least))))));
  const left = rows.length - state.shown;
  more.hidden = left <= 0;
  more.textContent = `Show ${Math.min(ROWS, left)} more of ${left.toLocaleString('en')}`;
  found.textContent = `${rows.length.toLocaleString('en')} of ${count.toLocaleString('en')} directions`;
}
function heads() {
  const groups = element('tr', {}, element('td'));
  for (let k = 0; k < numbers.columns.length;) {
    const group = numbers.columns[k].group;
    let span = 1;
    while (k + span < numbers.columns.length && numbers.columns[k + span].group === group) span += 1;
    groups.append(group ? element('th', { scope: 'colgroup', class: 'group', colspan: span }, group) :
      element('td', { colspan: span }));
    k += span;
  }
  const all = [{ title: 'direction' }, ...numbers.columns].map((column, place) => {
    const button = element('button', { type: 'button' }, column.title);
    const head = element('th', { scope: 'col', 'aria-sort': 'none', ...(place ? {} : { class: 'name' }) }, button);
    button.addEventListener('click', () => {
      const again = state.column === place;
      if (again && state.down) state.column = -1;
      else [state.column, state.down] = [place, again];
      for (const other of all) other.setAttribute('aria-sort', 'none');
      if (state.column === place) head.setAttribute('aria-sort', state.down ? 'descending' : 'ascending');
      state.shown = ROWS;
      fill();
    });
    return head;
  });
  return element('thead', {}, groups, element('tr', {}, ...all));
}
search.addEventListener('input', () => {
  state.words = search.value.toLowerCase().split(/[\s→]+/).filter(Boolean);
  state.shown = ROWS;
  fill();
});
more.addEventListener('click', () => { state.shown += ROWS; fill(); });
document.getElementById('pairs').append(
  element('p', { class: 'chooser' }, element('label', {}, 'Search ', search)), found,
  scrolling('All directions', element('table', { class: 'numbers browser' },
    element('caption', {}, 'Accuracy, loss and the rest of Table 1 for each direction; a name leads to its details.'),
    heads(), body)), more);
fill();

// One direction.
const names = { ...numbers.examples.names, ...numbers.classes.names };
const named_class = label => names[label] ?? `class ${label}`;
function groups_of(list, size) {
  return Array.from({ length: list.length / size }, (_, k) => list.slice(k * size, (k + 1) * size));
}
function plain_table(caption, header, rows) {
  return scrolling(caption, element('table', { class: 'numbers' }, element('caption', {}, caption),
    element('thead', {}, element('tr', {}, ...header.map(text => element('th', { scope: 'col' }, text)))),
    element('tbody', {}, ...rows.map(([first, ...rest]) => element('tr', {},
      element('th', { scope: 'row' }, first), ...rest.map(text => element('td', {}, text)))))));
}
function all_numbers(k) {
  const source = numbers.source[k], target = numbers.target[k];
  const own = [['source’s own accuracy %', source], ['target’s own accuracy %', target]].map(
    ([text, network]) => [text, format(numbers.own[network], 2)]);
  return plain_table('Every number of this direction', ['number', 'value'], [...own, ...numbers.columns.map(
    column => [column.group ? `${column.group}: ${column.title}` : column.title, format(column.values[k], column.digits, column.least)],
  ).filter(([, text]) => text)]);
}
function who(region) {
  const members = region.split('+');
  return members.length === 3 ? 'all three' : region === 'none' ? 'none' :
    members.length === 1 ? `${region} alone` : members.join(' and ');
}
function regions(k) {
  const counts = numbers.regions.counts[k], greatest = Math.max(...counts), line = 26, width = 460, left = 150;
  const bars = numbers.regions.names.map((region, place) => {
    const y = place * line, length = counts[place] / greatest * (width - left - 70);
    return drawing('g', {},
      drawing('title', {}, `${who(region)}: ${counts[place].toLocaleString('en')} images`),
      drawing('text', { x: left - 8, y: y + 17, 'text-anchor': 'end', class: 'ink' }, who(region)),
      drawing('rect', { x: left, y: y + 4, width: Math.max(length, counts[place] ? 1 : 0), height: 18,
        fill: region.includes('mapped') ? '#0072b2' : '#c8c8c4' }),
      drawing('text', { x: left + length + 6, y: y + 17, class: 'ink' }, counts[place].toLocaleString('en')));
  });
  return chart('Fig. 5: images by who is right.',
    'a bar counts the images that these get right and the others get wrong: target and source are the classifiers with their own ' +
    'features, mapped (blue) is the target’s with mapped ones.',
    width, bars.length * line, bars);
}
function chart(caption, reading, width, height, parts) {
  return element('figure', {}, element('p', { class: 'note reading' }, `How to read it: ${reading}`), element('div', { class: 'card' }, drawing('svg', { viewBox: `0 0 ${width} ${height}`,
    role: 'img', 'aria-label': caption, style: `max-width:${width}px` }, ...parts)),
  element('figcaption', {}, caption));
}
function curve(line, k) {
  const points = groups_of(line.points[k], 2);
  if (points.length < 2) return '';
  const width = 420, height = 250, left = 58, bottom = 42, top = 12, right = 16;
  const across = points.map(([x]) => line.log ? Math.log2(x) : x), up = points.map(([, y]) => y);
  const low = Math.min(0, ...up), high = Math.max(...up, low + 1e-9);
  const first = across[0], last = across[across.length - 1];
  const px = x => left + (x - first) / (last - first) * (width - left - right);
  const py = y => height - bottom - (y - low) / (high - low) * (height - bottom - top);
  const told = (x, y) => `${y.toPrecision(4)} (${line.y}) at ${x.toLocaleString('en')} (${line.x})`;
  const ticks = [low, (low + high) / 2, high].map(y => drawing('g', {},
    drawing('line', { x1: left, x2: width - right, y1: py(y), y2: py(y), stroke: '#dddddd' }),
    drawing('text', { x: left - 6, y: py(y) + 4, 'text-anchor': 'end', class: 'ink' }, y.toPrecision(3))));
  const marked = points.length <= 8 ? [...points.keys()] : [0, Math.floor(points.length / 2), points.length - 1];
  const labels = marked.map(place => drawing('text',
    { x: px(across[place]), y: height - bottom + 18, class: 'ink',
      'text-anchor': place === points.length - 1 ? 'end' : place ? 'middle' : 'start' },
    points[place][0].toLocaleString('en')));
  const path = points.map((_, place) => `${px(across[place]).toFixed(1)},${py(up[place]).toFixed(1)}`).join(' ');
  const dots = points.map(([x, y], place) => drawing('g', {}, drawing('title', {}, told(x, y)),
    drawing('circle', { cx: px(across[place]), cy: py(up[place]), r: 8, fill: '#0072b2', opacity: 0 }),
    drawing('circle', { cx: px(across[place]), cy: py(up[place]), r: points.length <= 8 ? 3 : 0, fill: '#0072b2' })));
  return chart(`${line.title}.`, line.reading, width, height, [...ticks, ...labels,
    drawing('polyline', { points: path, fill: 'none', stroke: '#0072b2', 'stroke-width': 1.6 }), ...dots,
    drawing('text', { x: (left + width - right) / 2, y: height - 6, 'text-anchor': 'middle', class: 'ink' }, line.x),
    drawing('text', { x: 14, y: (height - bottom) / 2, 'text-anchor': 'middle', class: 'ink',
      transform: `rotate(-90 14 ${(height - bottom) / 2})` }, line.y)]);
}
function classes(k) {
  const rows = groups_of(numbers.classes.pairs[k], 5).map(([label, own, mapped, shrunken, q]) => {
    const total = numbers.classes.totals[label];
    return [named_class(label), total.toLocaleString('en'), format(100 * own / total, 1), format(100 * mapped / total, 1),
      format(100 * (own - mapped) / total, 1), format(shrunken, 1), format(q, 3, 0.001)];
  });
  if (!rows.length) return '';
  return plain_table(`The ${rows.length} classes with the biggest shrunken losses (drawn towards the loss of all images as far as ` +
    'chance explains the difference). q: exact test, corrected for all classes. All: classes/' +
    `${numbers.names[numbers.target[k]]}.parquet`, ['class', 'images', 'own %', 'mapped %', 'loss, points', 'shrunken', 'q'], rows);
}
function galleries(k) {
  const all = groups_of(numbers.examples.pairs[k], 5);
  return [[1, 'Fixed: wrong with its own features, right with mapped ones'],
    [0, 'Broken: right with its own features, wrong with mapped ones']].flatMap(([kind, heading]) => {
    const shown = all.filter(([, fixed]) => fixed === kind);
    if (!shown.length) return [];
    return [element('h4', {}, heading), element('div', { class: 'thumbnails' },
      ...shown.map(([picture, , label, own, mapped]) => {
        const [image, source] = numbers.pictures[picture];
        const lines = [`label: ${named_class(label)}`, `own: ${named_class(own)}`, `mapped: ${named_class(mapped)}`];
        const alt = `Image ${image}. ${lines.join('; ')}`;
        return element('figure', {}, element('img', { src: source, alt, title: alt, decoding: 'async' }),
          element('figcaption', {}, ...lines.flatMap((line, place) => place ? [element('br'), line] : [line])));
      }))];
  });
}
const panel = document.getElementById('pair');
const places = new Map(titles.map((_, k) => [id(k), k]));
function show_pair() {
  const k = places.get(named());
  if (k === undefined) return;
  const back = element('a', { href: '#' + encodeURIComponent(
    numbers.names[numbers.target[k]] + numbers.between + numbers.names[numbers.source[k]]) }, 'the other direction');
  panel.replaceChildren(element('h3', {}, titles[k]), element('p', { class: 'note' }, back),
    element('div', { class: 'parts' },
      element('div', {}, regions(k), ...numbers.lines.map(line => curve(line, k))),
      element('div', {}, all_numbers(k), classes(k))),
    ...galleries(k));
  panel.hidden = false;
  panel.scrollIntoView();
}
addEventListener('hashchange', show_pair);
show_pair();
