// Tenants: what they may use, and what they do.

import { bar, h, setBar, setText } from "./dom.js";
import { bytes, integer, percent, rate, short } from "./format.js";
import { explain, repeat } from "./shell.js";
import { Rows, table } from "./table.js";

const EVERY = 2_000;
/** From here on a quota is worth a look. */
const NEARLY = 0.9;

function gauge(name, unit) {
  const [left, right] = [h("span"), h("span")];
  const line = bar(name, 0);
  const node = h("td", { class: "wide" }, h("div", { class: "progress" }, h("div", { class: "label" }, left, right), line));
  const update = (used, all) => {
    setText(left, `${unit(used)} of ${unit(all)}`);
    setText(right, percent(used, all));
    setBar(line, `${name}: ${unit(used)} of ${unit(all)}`, used / all, used / all >= NEARLY ? "bad" : null);
  };
  return { node, update };
}

function row() {
  const name = h("th", { scope: "row" });
  const reserved = gauge("Reserved buffers", bytes);
  const unpulled = gauge("Results to pull", bytes);
  const slots = gauge("Slots", integer);
  const [live, chunks, records, weight] = [0, 1, 2, 3].map(() => h("td", { class: "number" }));
  const node = h("tr", null, name, live, chunks, records, reserved.node, unpulled.node, slots.node, weight);
  const update = ({ tenant, quotas, used }) => {
    setText(name, tenant);
    setText(live, integer(used.live_batches));
    setText(chunks, short(used.unfinished_chunks));
    setText(records, short(used.unfinished_records));
    reserved.update(used.reserved_input_bytes + used.reserved_output_bytes, quotas.capacity_bytes);
    unpulled.update(used.output_bytes, quotas.output_capacity_bytes);
    slots.update(used.workers_in_use, quotas.max_workers);
    setText(weight, integer(quotas.weight));
  };
  return { node, update };
}

/** A limit a second: of the tenant, of the server, or none. */
const limit = (number, unit) => (number === null ? "as the server is set" : number === 0 ? "none" : unit(number));

function limits() {
  const list = h("dl", { class: "facts" });
  const node = h("section", { class: "card", "aria-label": "Limits" }, h("h2", null, "Limits"), list);
  const update = ({ quotas, used }) => {
    const facts = [
      ["Reserved for input", bytes(used.reserved_input_bytes)],
      ["Reserved for output", bytes(used.reserved_output_bytes)],
      ["Inputs that wait", bytes(used.input_bytes)],
      ["Largest input buffer of a batch", bytes(quotas.max_input_bytes)],
      ["Largest output buffer of a batch", bytes(quotas.max_output_bytes)],
      ["Slots that a batch begins with", integer(quotas.initial_workers)],
      ["Requests to one server", limit(quotas.requests_per_second, rate)],
      ["Pushed bytes to one server", limit(quotas.push_bytes_per_second, (number) => `${bytes(number)}/s`)],
    ];
    if (list.childElementCount === 0) list.append(...facts.flatMap(([name]) => [h("dt", null, name), h("dd")]));
    const figures = list.querySelectorAll("dd");
    facts.forEach(([, value], index) => setText(figures[index], value));
  };
  return { node, update };
}

export function open({ api, caller, main, connection }) {
  const columns = table("Quotas", [
    { title: "Tenant" }, { title: "Live batches", class: "number" }, { title: "Chunks waiting", class: "number" }, { title: "Records waiting", class: "number" },
    { title: "Reserved buffers", class: "wide", about: "By live batches, until their cool-off ends" },
    { title: "Results to pull", class: "wide" }, { title: "Slots", class: "wide" },
    { title: "Weight", class: "number", about: "Its share of the fleet against other tenants" },
  ]);
  const rows = new Rows(columns.body, ({ tenant }) => tenant, row);
  const wrong = h("p", { class: "empty card" }, "Waiting for the server …");
  const own = caller.operator ? null : limits();
  const heading = h("h1", { tabindex: "-1" }, caller.operator ? "Tenants" : `Quotas of ${caller.tenant}`);
  main.replaceChildren(h("div", { class: "head" }, heading), columns.node, wrong, h("br"), own?.node ?? "");
  columns.node.hidden = true;
  const stop = repeat(EVERY, async () => {
    try {
      const { tenants } = await api.get("/stats/tenants");
      connection("live");
      rows.show(tenants);
      if (own && tenants.length > 0) own.update(tenants[0]);
      columns.node.hidden = tenants.length === 0;
      wrong.hidden = tenants.length > 0;
      setText(wrong, "There is no tenant yet: millrace tenant create NAME");
    } catch (error) {
      connection("lost");
      setText(wrong, explain(error));
    }
  });
  return { heading, title: caller.operator ? "Tenants" : "Quotas", close: stop };
}
