// The drawing of a recipe's graph.

import { h, svg } from "./dom.js";
import { layout } from "./graph.js";

const MARGIN = 8;
const FITS = 21;

const cut = (text) => (text.length > FITS ? `${text.slice(0, FITS - 1)}…` : text);

/**
 * Draws `nodes` (by name, with `dependencies`). `about(name)` gives `{kind, state, tone}`: what stands under the name, and its
 * colour. The drawing is one picture for readers of the screen; a table beside it says the same.
 */
export function drawing(nodes, about, label) {
  const { width, height, nodes: placed, edges } = layout(nodes);
  const arrow = svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 0L8 4L0 8Z", class: "arrow" }));
  const picture = svg("svg", {
    class: "graph", role: "img", "aria-label": label, width: width + 2 * MARGIN, height: height + 2 * MARGIN,
    viewBox: `${-MARGIN} ${-MARGIN} ${width + 2 * MARGIN} ${height + 2 * MARGIN}`,
  }, svg("defs", null, arrow));
  for (const { path, acceptance } of edges) {
    picture.append(svg("path", { d: path, class: acceptance ? "edge" : "edge not", "marker-end": "url(#arrow)" }));
  }
  for (const { name, x, y, width: wide, height: high } of placed) {
    const { kind, state, tone } = about(name);
    picture.append(svg("g", { class: `node ${kind} ${tone}`, transform: `translate(${x} ${y})` },
      svg("title", null, `${name}: ${state}`),
      svg("rect", { width: wide, height: high, rx: kind === "condition" ? 22 : 7 }),
      kind === "recipe" ? svg("rect", { x: 4, y: 4, width: wide - 8, height: high - 8, rx: 4, class: "inner" }) : null,
      svg("text", { x: wide / 2, y: 19, class: "name" }, cut(name)),
      svg("text", { x: wide / 2, y: 35, class: "state" }, cut(state))));
  }
  return h("div", { class: "scroll drawing", tabindex: "0", role: "region", "aria-label": label }, picture);
}
