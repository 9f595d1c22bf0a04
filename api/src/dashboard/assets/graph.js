// Draws a graph in layers: whatever depends on something stands to the right of it. Pure, and the same for the same graph.

const WIDTH = 168;
const HEIGHT = 46;
const GAP_X = 64;
const GAP_Y = 18;
const SWEEPS = 6;

/** Nodes by name: those that they wait for, as `[{from, acceptance}]`. Names that are no nodes are left out, and so is what closes a circle. */
function parents(nodes) {
  const names = Object.keys(nodes).sort();
  const known = new Set(names);
  const wanted = new Map(names.map((name) => {
    const seen = new Map();
    for (const { name: from, acceptance } of nodes[name].dependencies ?? []) {
      if (known.has(from) && from !== name) seen.set(from, acceptance !== false);
    }
    return [name, seen];
  }));
  const state = new Map();
  const visit = (name) => {
    state.set(name, "open");
    for (const from of [...wanted.get(name).keys()].sort()) {
      if (state.get(from) === "open") wanted.get(name).delete(from);
      else if (!state.has(from)) visit(from);
    }
    state.set(name, "done");
  };
  for (const name of names) if (!state.has(name)) visit(name);
  return wanted;
}

/** The layer of each node: one more than the furthest of those that it waits for. */
function layersOf(wanted) {
  const layer = new Map();
  const of = (name) => {
    if (!layer.has(name)) layer.set(name, Math.max(-1, ...[...wanted.get(name).keys()].map(of)) + 1);
    return layer.get(name);
  };
  for (const name of wanted.keys()) of(name);
  return layer;
}

/** Cells by layer, in which a long edge has a cell of its own in every layer that it passes, so that it is not drawn through nodes. */
function cellsOf(wanted, layer) {
  const rows = [];
  const cell = (at, name) => {
    const made = { name, layer: at, before: [], after: [], order: 0 };
    (rows[at] ??= []).push(made);
    return made;
  };
  const cells = new Map([...wanted.keys()].map((name) => [name, cell(layer.get(name), name)]));
  const ways = [];
  for (const [to, from] of wanted) {
    for (const [source, acceptance] of from) {
      const way = [cells.get(source)];
      for (let at = layer.get(source) + 1; at < layer.get(to); at += 1) way.push(cell(at, null));
      way.push(cells.get(to));
      for (let index = 1; index < way.length; index += 1) {
        way[index - 1].after.push(way[index]);
        way[index].before.push(way[index - 1]);
      }
      ways.push({ from: source, to, acceptance, way });
    }
  }
  return { rows, cells, ways };
}

/** Orders each layer by the mean place of its neighbours, forth and back, so that edges cross less. */
function order(rows) {
  const number = (row) => row.forEach((cell, index) => { cell.order = index; });
  rows.forEach(number);
  const mean = (list, own) => (list.length === 0 ? own : list.reduce((sum, cell) => sum + cell.order, 0) / list.length);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const forth = sweep % 2 === 0;
    for (const row of forth ? rows.slice(1) : rows.slice(0, -1).reverse()) {
      const keyed = row.map((cell) => [mean(forth ? cell.before : cell.after, cell.order), cell]);
      keyed.sort(([a, first], [b, second]) => a - b || first.order - second.order);
      row.splice(0, row.length, ...keyed.map(([, cell]) => cell));
      number(row);
    }
  }
}

/** Heights: as near to its neighbours as the order of the layer allows. */
function place(rows) {
  const step = HEIGHT + GAP_Y;
  for (const row of rows) row.forEach((cell, index) => { cell.y = index * step; });
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const forth = sweep % 2 === 0;
    for (const row of forth ? rows : [...rows].reverse()) {
      const wish = row.map((cell) => {
        const near = forth ? cell.before : cell.after;
        return near.length === 0 ? cell.y : near.reduce((sum, other) => sum + other.y, 0) / near.length;
      });
      // Down in order, then as a whole to where the wishes were on the mean.
      let lowest = -Infinity;
      row.forEach((cell, index) => { cell.y = Math.max(wish[index], lowest); lowest = cell.y + step; });
      const shift = row.reduce((sum, cell, index) => sum + wish[index] - cell.y, 0) / row.length;
      for (const cell of row) cell.y += shift;
    }
  }
  const top = Math.min(...rows.flat().map((cell) => cell.y));
  for (const cell of rows.flat()) cell.y = Math.round(cell.y - top);
}

/**
 * Places of nodes and ways of edges: `{width, height, nodes: [{name, layer, x, y, width, height}], edges: [{from, to, acceptance, path}]}`.
 * Nodes come layer by layer, from above to below: the order in which they are read.
 */
export function layout(nodes) {
  const wanted = parents(nodes);
  if (wanted.size === 0) return { width: 0, height: 0, nodes: [], edges: [] };
  const { rows, cells, ways } = cellsOf(wanted, layersOf(wanted));
  order(rows);
  place(rows);
  const x = (cell) => cell.layer * (WIDTH + GAP_X);
  const middle = (cell) => cell.y + HEIGHT / 2;
  const edges = ways.map(({ from, to, acceptance, way }) => {
    const points = [[x(way[0]) + WIDTH, middle(way[0])]];
    for (const cell of way.slice(1, -1)) points.push([x(cell), middle(cell)], [x(cell) + WIDTH, middle(cell)]);
    points.push([x(way.at(-1)), middle(way.at(-1))]);
    let path = `M${points[0].join(" ")}`;
    for (let index = 1; index < points.length; index += 1) {
      const [[ax, ay], [bx, by]] = [points[index - 1], points[index]];
      const half = (ax + bx) / 2;
      path += ay === by ? `L${bx} ${by}` : `C${half} ${ay} ${half} ${by} ${bx} ${by}`;
    }
    return { from, to, acceptance, path };
  });
  const drawn = [...cells.values()].sort((a, b) => a.layer - b.layer || a.y - b.y);
  return {
    width: rows.length * WIDTH + (rows.length - 1) * GAP_X,
    height: Math.max(...drawn.map((cell) => cell.y)) + HEIGHT,
    nodes: drawn.map((cell) => ({ name: cell.name, layer: cell.layer, x: x(cell), y: cell.y, width: WIDTH, height: HEIGHT })),
    edges,
  };
}
