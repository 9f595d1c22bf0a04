// The curve of a batch's throughput, with its axes.

import { h, setAttribute, setText, svg } from "./dom.js";
import { duration, rate, short } from "./format.js";
import { History, ceiling } from "./model.js";

const HIGH = 100;
const LINES = [0, 0.5, 1];

/** Records a second, a value each second. `add(value)` draws it. The words below say the same to readers of the screen. */
export function throughput() {
  const history = new History();
  const line = svg("path", { class: "line" });
  const area = svg("path", { class: "area" });
  const grid = LINES.map((part) => svg("path", { class: "grid", d: `M0 ${part * HIGH}H1` }));
  const picture = svg("svg", { preserveAspectRatio: "none", viewBox: `0 0 1 ${HIGH}`, role: "img", "aria-label": "Throughput" }, grid, area, line);
  const heights = LINES.map(() => h("span"));
  const times = LINES.map(() => h("span"));
  const words = h("p", { class: "soft small" }, "Nothing was seen yet.");
  const node = h("section", { class: "card", "aria-labelledby": "speed-title" },
    h("h2", { id: "speed-title" }, "Records/s"),
    h("div", { class: "curve" }, h("div", { class: "heights", "aria-hidden": "true" }, heights), picture, h("div", { class: "times", "aria-hidden": "true" }, times)),
    words);

  const add = (value) => {
    history.add(value);
    const { values, seconds } = history;
    const most = Math.max(...values);
    const top = ceiling(most);
    const first = seconds - values.length + 1;
    const points = values.map((value, index) => `${first + index} ${((1 - value / top) * HIGH).toFixed(2)}`).join("L");
    setAttribute(picture, "viewBox", `0 0 ${seconds} ${HIGH}`);
    setAttribute(line, "d", `M${points}`);
    setAttribute(area, "d", `M${first} ${HIGH}L${points}V${HIGH}Z`);
    for (const [index, part] of LINES.entries()) {
      setAttribute(grid[index], "d", `M0 ${part * HIGH}H${seconds}`);
      setText(heights[index], short((1 - part) * top));
      setText(times[index], part === 1 ? "now" : `${duration((1 - part) * seconds * 1000)} ago`);
    }
    const text = `now ${rate(value)}, at most ${rate(most)} within the last ${duration(values.length * 1000)}`;
    setAttribute(picture, "aria-label", `Throughput: ${text}`);
    setText(words, text);
  };
  return { node, add };
}
