// The batches of a chain side by side.

import { h, setText } from "./dom.js";
import { duration, integer, time } from "./format.js";
import { comparison } from "./recipes-model.js";
import { crumbs, link } from "./recipes.js";
import { explain, repeat } from "./shell.js";
import { table } from "./table.js";

const EVERY = 5_000;

const figure = (row, value) => (value === null ? "–" : row.isTime ? duration(value * 1000) : integer(value));

function difference(row, change) {
  if (change === null || change === 0) return null;
  const size = row.isTime ? duration(Math.abs(change) * 1000) : integer(Math.abs(change));
  return h("span", { class: "second" }, `${change > 0 ? "+" : "−"} ${size}`);
}

export function open({ api, main, connection }, root) {
  const heading = h("h1", { tabindex: "-1" }, `Comparison of chain ${root}`);
  const place = h("div");
  main.replaceChildren(crumbs(), h("div", { class: "head" }, heading), place);
  let seen = "";
  const stop = repeat(EVERY, async () => {
    try {
      const document = await api.get(`/v6/batches/comparison/${root}/`);
      connection("live");
      const fresh = JSON.stringify(document);
      if (fresh === seen) return;
      seen = fresh;
      const titles = document.batches.map((batch) => ({ title: h("span", null, link("batch", batch.id, batch.title ?? `Batch ${batch.id}`), h("span", { class: "second" }, time(batch.created))), class: "number" }));
      const view = table("Comparison", [{ title: "Of" }, { title: "Figure" }, ...titles]);
      for (const row of comparison(document)) {
        view.body.append(h("tr", null, h("td", { class: "soft" }, row.group), h("th", { scope: "row" }, row.name), row.values.map((value, index) => h("td", { class: "number" }, figure(row, value), difference(row, row.changes[index])))));
      }
      place.replaceChildren(document.batches.length > 0 ? view.node : h("p", { class: "empty card" }, "There is no chain of batches with this root."));
    } catch (error) {
      connection(error.status === 0 ? "lost" : "live");
      if (seen === "") setText(place, explain(error));
    }
  });
  return { heading, title: "Comparison", close: stop };
}
