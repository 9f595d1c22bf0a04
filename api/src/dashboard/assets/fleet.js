// The fleet: workers with their slots and releases; for operators also what waits in the whole installation.

import { badge, bar, h, setAttribute, setBadge, setBar, setText, tile } from "./dom.js";
import { ago, bytes, count, duration, integer, short, shortId, time } from "./format.js";
import { explain, repeat } from "./shell.js";
import { Rows, table } from "./table.js";

const EVERY = 2_000;

function row() {
  const name = h("th", { scope: "row", class: "mono" });
  const state = badge("");
  const version = h("td");
  const busy = { text: h("span"), line: bar("Busy slots", 0) };
  const held = h("td", { class: "number" });
  const up = h("td");
  const seen = h("td");
  const node = h("tr", null, name, h("td", null, state), version,
    h("td", { class: "wide" }, h("div", { class: "progress" }, h("div", { class: "label" }, busy.text), busy.line)), held, up, seen);
  const update = ({ worker, release, own }) => {
    const now = Date.now();
    setText(name, worker.name ?? shortId(worker.id));
    setAttribute(name, "title", worker.id);
    setBadge(state, worker.draining ? "draining" : "working", worker.draining ? "warn" : "good");
    setText(version, worker.version === release ? worker.version : `${worker.version} (this server: ${release})`);
    setAttribute(version, "class", worker.version === release ? null : "warn-text");
    setText(busy.text, `${integer(worker.busy)} of ${count(worker.slots, "slot")} ${own ? "for you" : "busy"}`);
    setBar(busy.line, `${worker.busy} of ${worker.slots} slots busy`, worker.busy / worker.slots);
    setText(held, integer(worker.held));
    setText(up, duration(now - Date.parse(worker.started_at)));
    setAttribute(up, "title", time(worker.started_at));
    setText(seen, ago(worker.seen_at, now));
  };
  return { node, update };
}

function backlog() {
  const names = ["Slots wanted", "Slots of use", "Live batches", "Chunks waiting", "Records waiting", "Input buffers", "Chunks held back"];
  const tiles = Object.fromEntries(names.map((name) => [name, tile(name)]));
  const node = h("section", { "aria-label": "Backlog of the installation" }, h("h2", null, "Backlog of the installation"),
    h("dl", { class: "tiles" }, names.map((name) => tiles[name].node)));
  const update = (answer) => {
    tiles["Slots wanted"].set(integer(answer.slots.wanted), `within ${duration(answer.within_seconds * 1000)}`);
    tiles["Slots of use"].set(integer(answer.slots.usable));
    tiles["Live batches"].set(integer(answer.batches));
    tiles["Chunks waiting"].set(short(answer.chunks));
    tiles["Records waiting"].set(short(answer.records));
    tiles["Input buffers"].set(bytes(answer.bytes));
    tiles["Chunks held back"].set(short(answer.held_back_chunks), "wait for a pull");
  };
  return { node, update };
}

export function open({ api, caller, main, connection }) {
  const tiles = Object.fromEntries(["Workers", "Slots", "Busy", "Releases"].map((name) => [name, tile(name)]));
  const own = !caller.operator;
  const columns = table("Workers", [
    { title: "Worker" }, { title: "State" }, { title: "Release" },
    { title: own ? "Slots at work for your tenant" : "Slots", class: "wide" },
    { title: own ? "Your chunks held" : "Chunks held", class: "number", about: "Waiting in the worker, evaluated, or on their way into the database" },
    { title: "Up for" }, { title: "Heartbeat" },
  ]);
  const rows = new Rows(columns.body, ({ worker }) => worker.id, row);
  const empty = h("p", { class: "empty card" }, "Waiting for the server …");
  const waiting = caller.operator ? backlog() : null;
  const heading = h("h1", { tabindex: "-1" }, "Fleet");
  main.replaceChildren(h("div", { class: "head" }, heading), h("dl", { class: "tiles" }, Object.values(tiles).map(({ node }) => node)),
    waiting?.node ?? "", columns.node, empty);
  columns.node.hidden = true;

  const stop = repeat(EVERY, async () => {
    try {
      const [fleet, answer] = await Promise.all([api.get("/stats/fleet"), waiting ? api.get("/stats/backlog") : null]);
      connection("live");
      const releases = new Set(fleet.workers.map((worker) => worker.version));
      tiles.Workers.set(integer(fleet.workers.length));
      tiles.Slots.set(integer(fleet.slots));
      tiles.Busy.set(integer(fleet.busy), own ? "for your tenant" : "");
      tiles.Releases.set(integer(releases.size), releases.size > 1 ? "an upgrade is under way" : [...releases].join());
      rows.show(fleet.workers.map((worker) => ({ worker, release: fleet.version, own })));
      columns.node.hidden = fleet.workers.length === 0;
      empty.hidden = fleet.workers.length > 0;
      setText(empty, "No worker is alive: nothing is evaluated until one is started.");
      if (answer) waiting.update(answer);
    } catch (error) {
      connection("lost");
      setText(empty, explain(error));
    }
  });
  return { heading, title: "Fleet", close: stop };
}
