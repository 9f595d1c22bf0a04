// The list of batches, live.

import { bar, badge, h, setAttribute, setBadge, setBar, setText, tile } from "./dom.js";
import { ago, bytes, count, integer, percent, rate, short, shortId, time, words } from "./format.js";
import { BatchList, VIEWS, share, tone } from "./model.js";
import { announce, drawing } from "./shell.js";
import { follow } from "./stream.js";
import { Rows, pager, table } from "./table.js";

const SIZE = 50;
const DRAW_EVERY = 400;

const COLUMNS = [
  { title: "Service and id", sort: "service" },
  { title: "State", sort: "state" },
  { title: "Progress", sort: "progress", class: "wide" },
  { title: "Failed", sort: "failed", class: "number", about: "Chunks" },
  { title: "Records/s", sort: "speed", class: "number", about: "Mean over ten seconds" },
  { title: "Backlog", sort: "backlog", class: "number", about: "Chunks without an outcome" },
  { title: "Buffers", about: "Input and output buffers" },
  { title: "Slots", sort: "workers", class: "number", about: "Busy, of those that the batch may use" },
  { title: "Created", sort: "created" },
];

/** The progress of a batch: words, and a bar. */
export function progress() {
  const left = h("span");
  const right = h("span");
  const line = bar("Progress", 0);
  const node = h("div", { class: "progress" }, h("div", { class: "label" }, left, right), line);
  const update = (status) => {
    const [done, all] = [status.records_completed, status.records_submitted];
    setText(left, percent(status.chunks_completed, status.chunks_submitted));
    setText(right, `${short(done)} of ${short(all)} records`);
    const failed = status.batch_status === "failed";
    const finished = status.batch_status.startsWith("completed");
    setBar(line, `${integer(status.chunks_completed)} of ${count(status.chunks_submitted, "chunk")} finished`, share(status), failed ? "bad" : finished ? "good" : null);
  };
  return { node, update };
}

/** Both buffers of a batch. */
export function buffers() {
  const pairs = ["In", "Out"].map((name) => ({ name, line: bar(name, 0), text: h("span") }));
  const node = h("div", { class: "buffers" }, pairs.map(({ name, line, text }) => [h("span", null, name), line, text]));
  const update = (status) => {
    for (const [index, side] of ["input", "output"].entries()) {
      const used = status[`${side}_buffer_used_bytes`];
      const all = used + status[`${side}_buffer_remaining_bytes`];
      const { line, text } = pairs[index];
      setBar(line, `${side} buffer: ${bytes(used)} of ${bytes(all)}`, used / all, used / all > 0.9 ? "bad" : null);
      setText(text, bytes(used));
    }
  };
  return { node, update };
}

/** The state of a batch, with what its work waits for. */
export function state() {
  const first = badge("");
  const second = h("span", { class: "second" });
  const update = (status) => {
    setBadge(first, words(status.batch_status), tone(status.batch_status));
    const blocked = status.pipeline_status === "blocked";
    setText(second, blocked ? "waits for a pull" : status.pipeline_status === "closed" ? "" : words(status.pipeline_status));
    setAttribute(second, "class", blocked || status.paused ? "second warn-text" : "second");
  };
  return { node: h("div", null, first, second), update };
}

function row(list) {
  const link = h("a");
  const about = h("span", { class: "second" });
  const cells = { state: state(), progress: progress(), buffers: buffers() };
  const numbers = ["failed", "speed", "backlog", "slots"].map((name) => [name, h("td", { class: "number" })]);
  const by = Object.fromEntries(numbers);
  const created = h("td");
  const node = h("tr", null, h("th", { scope: "row" }, link, about), h("td", null, cells.state.node), h("td", { class: "wide" }, cells.progress.node),
    by.failed, by.speed, by.backlog, h("td", null, cells.buffers.node), by.slots, created);
  const update = (line) => {
    const now = Date.now();
    setText(link, line.service_uri);
    setAttribute(link, "href", `#/batch/${line.id}`);
    setText(about, `${shortId(line.id)} · ${line.created_by}${line.correlation_id ? ` · ${line.correlation_id}` : ""}`);
    setAttribute(about, "title", line.id);
    for (const cell of Object.values(cells)) cell.update(line);
    setText(by.failed, short(line.chunks_failed));
    setAttribute(by.failed, "class", line.chunks_failed > 0 ? "number bad-text" : "number");
    setText(by.speed, rate(list.speed(line.id, now)).replace("/s", ""));
    setText(by.backlog, short(line.chunks_submitted - line.chunks_completed));
    setText(by.slots, `${integer(line.workers_in_use)} / ${short(line.max_workers)}`);
    setText(created, ago(line.created_timestamp, now));
    setAttribute(created, "title", time(line.created_timestamp));
  };
  return { node, update };
}

/** Remembered while the page is open, so that one comes back from a batch to where one was. */
const chosen = { view: "live", text: "", sort: "created", descending: true, page: 1, size: SIZE };

export function open({ api, caller, main, connection }) {
  const list = new BatchList();
  const ending = new AbortController();
  const tiles = Object.fromEntries(["Live batches", "Records/s", "Records waiting", "Chunks waiting", "Busy slots", "Input buffers", "Output buffers", "With failures"].map((name) => [name, tile(name)]));
  const draw = drawing(DRAW_EVERY, () => show());
  const choose = (change) => { Object.assign(chosen, change); show(); };

  const search = h("input", { type: "search", value: chosen.text, placeholder: "Service, id, owner, correlation id", oninput: () => choose({ text: search.value, page: 1 }) });
  const views = h("select", { value: chosen.view, onchange: () => choose({ view: views.value, page: 1 }) },
    Object.entries(VIEWS).map(([name, [title]]) => h("option", { value: name }, title)));
  views.value = chosen.view;
  const found = h("span", { class: "count", role: "status" });
  const columns = table("Batches", COLUMNS, (sort) => choose({ sort, descending: chosen.sort === sort ? !chosen.descending : sort !== "service" && sort !== "state", page: 1 }));
  const rows = new Rows(columns.body, (line) => line.id, () => row(list));
  const empty = h("p", { class: "empty card" }, "Waiting for the server …");
  const pages = pager((page) => choose({ page }));
  const heading = h("h1", { tabindex: "-1" }, caller.supervisor ? `Batches of ${caller.tenant}` : `Batches of ${caller.name}`);
  main.replaceChildren(
    h("div", { class: "head" }, heading),
    h("dl", { class: "tiles" }, Object.values(tiles).map(({ node }) => node)),
    h("div", { class: "tools", role: "search" }, h("label", { class: "field" }, "Find", search), h("label", { class: "field" }, "Show", views), found),
    columns.node, empty, pages.node);

  let heardOf = false;
  function show() {
    const now = Date.now();
    const sum = list.totals(now);
    const held = [sum.blocked > 0 ? `${integer(sum.blocked)} wait for a pull` : "", sum.paused > 0 ? `${integer(sum.paused)} paused` : ""];
    tiles["Live batches"].set(integer(sum.live), held.filter(Boolean).join(", "));
    tiles["Records/s"].set(rate(sum.speed).replace("/s", ""));
    tiles["Records waiting"].set(short(sum.records));
    tiles["Chunks waiting"].set(short(sum.waiting));
    tiles["Busy slots"].set(integer(sum.workers));
    tiles["Input buffers"].set(bytes(sum.input));
    tiles["Output buffers"].set(bytes(sum.output));
    tiles["With failures"].set(integer(sum.failing));
    const seen = list.page(chosen, now);
    chosen.page = seen.page;
    rows.show(seen.rows);
    columns.sorted(chosen.sort, chosen.descending);
    pages.show(seen.page, seen.pages);
    setText(found, heardOf ? `${integer(seen.total)} of ${count(list.lines.size, "batch", "batches")}` : "");
    columns.node.hidden = seen.total === 0;
    empty.hidden = seen.total > 0;
    if (heardOf) setText(empty, list.lines.size === 0 ? "There is no live batch, and none ended within the last hour." : "No batch is like this.");
  }

  follow(api, "/{tenant}/api/v4/batch/events", {
    signal: ending.signal,
    onState: connection,
    onEvent: ({ data }) => {
      heardOf = true;
      const ended = list.apply(data, Date.now());
      for (const line of ended.slice(0, 3)) announce(`${line.service_uri} ${shortId(line.id)}: ${words(line.batch_status)}`);
      draw.later();
    },
  });
  // Speeds fall and times pass while nothing is told.
  const ticking = setInterval(draw.later, 1_000);
  show();
  return { heading, title: "Batches", close: () => { ending.abort(); draw.stop(); clearInterval(ticking); } };
}
