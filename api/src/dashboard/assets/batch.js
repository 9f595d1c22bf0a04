// One batch, live: how far it is, its buffers and terms, what failed, and what can be done about it.

import { badge, h, setText, tile } from "./dom.js";
import { buffers, progress, state } from "./batches.js";
import { failures, redrive } from "./failures.js";
import { bytes, count, duration, integer, percent, rate, short, time, words } from "./format.js";
import { Speed, isOpen, isTerminal } from "./model.js";
import { announce, ask, drawing, explain, notify, run } from "./shell.js";
import { follow } from "./stream.js";
import { terms } from "./terms.js";
import { throughput } from "./throughput.js";

function facts(entries) {
  const list = h("dl", { class: "facts" });
  const update = (values) => {
    list.replaceChildren(...values.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
  };
  if (entries) update(entries);
  return { node: list, update };
}

const linkTo = (id) => h("a", { href: `#/batch/${id}`, class: "mono" }, id);

function about(data) {
  const links = (data.redriven_by ?? []).map((id) => [linkTo(id), " "]);
  const done = data.redrive;
  return [
    ["Batch", h("span", { class: "mono" }, data.id ?? "")],
    ["Owner", data.created_by],
    ["Created", time(data.created_timestamp)],
    ["Paused", data.paused ? `${time(data.paused_timestamp)}, by ${data.paused_by}` : null],
    ["Correlation id", data.correlation_id],
    ["Source system", data.source_system],
    ["Purpose", data.configuration.call_purpose],
    ["Record key", data.unique_record_key],
    ["Outputs", data.configuration.output.join(", ")],
    ["Redrive of", data.redrive_of ? linkTo(data.redrive_of) : null],
    ["Redriven", done ? `${words(done.kind)}: ${words(done.state)}, ${integer(done.chunks_pushed)} of ${count(done.chunks_total, "chunk")} pushed${done.reason ? ` (${done.reason})` : ""}` : null],
    ["Redriven by", links.length > 0 ? h("span", null, ...links) : null],
    ["Tells", data.configuration.webhook_url],
  ];
}

export function open({ api, main, connection }, id) {
  const ending = new AbortController();
  const speed = new Speed();
  const curve = throughput();
  const parts = { state: state(), progress: progress(), buffers: buffers() };
  const tiles = Object.fromEntries(["Records/s", "Chunks waiting", "Chunks running", "Busy slots", "Failed chunks", "Failed records", "To be pulled", "Evaluation time", "Closed by itself in"].map((name) => [name, tile(name)]));
  const heading = h("h1", { tabindex: "-1" }, "Batch");
  const known = facts();
  const sizes = facts();
  const list = failures(api, id, ending.signal);
  const form = terms(api, id, () => inform());
  const kind = badge("");
  let status = null;
  let information = null;
  let failed = -1;

  const change = (button, wanted, done) => run(button, async () => {
    await api.patch(`/{tenant}/api/v4/batch/${id}`, { batch_status: wanted });
    notify(done);
  });
  // One button with two names, so that the focus stays where it is.
  const pause = h("button", { type: "button", onclick: () => run(pause, async () => {
    const wanted = !status.paused;
    await api.patch(`/{tenant}/api/v4/batch/${id}`, { paused: wanted });
    notify(wanted ? "The batch is paused: what was started ends, and nothing else is evaluated." : "The batch is resumed.");
  }) }, "Pause");
  const close = h("button", { type: "button", onclick: async () => {
    const sure = await ask({ title: "Close this batch?", text: "Nothing more can be pushed. What is in it is evaluated, and can be pulled.", action: "Close the batch" });
    if (sure) await change(close, "closed", "The batch is closed.");
  } }, "Close");
  const cancel = h("button", { type: "button", class: "danger", onclick: async () => {
    const sure = await ask({ title: "Cancel this batch?", text: "Its work stops at once, and results that were not pulled are dropped. This is final.", action: "Cancel the batch", danger: true });
    if (sure) await change(cancel, "cancelled", "The batch is cancelled.");
  } }, "Cancel …");
  const again = h("button", { type: "button", class: "primary", onclick: () => redrive(api, id, information?.service_uri ?? "", again) }, "Redrive …");

  main.replaceChildren(
    h("p", { class: "small" }, h("a", { href: "#/batches" }, "Batches")),
    h("div", { class: "head" }, heading, parts.state.node, kind, h("div", { class: "actions" }, again, pause, close, cancel)),
    h("div", { class: "card large" }, parts.progress.node),
    h("dl", { class: "tiles" }, Object.values(tiles).map(({ node }) => node)),
    h("div", { class: "cards" }, curve.node,
      h("section", { class: "card", "aria-labelledby": "buffers-title" }, h("h2", { id: "buffers-title" }, "Buffers"), parts.buffers.node, h("br"), sizes.node),
      h("section", { class: "card", "aria-labelledby": "about-title" }, h("h2", { id: "about-title" }, "About"), known.node)),
    form.node, list.node);
  for (const button of [pause, close, cancel, again]) button.hidden = true;
  kind.hidden = true;

  const draw = drawing(250, () => {
    if (!status) return;
    const now = Date.now();
    for (const part of Object.values(parts)) part.update(status);
    tiles["Records/s"].set(rate(speed.at(now)).replace("/s", ""));
    tiles["Chunks waiting"].set(short(status.chunks_pending));
    tiles["Chunks running"].set(integer(status.chunks_in_progress));
    tiles["Busy slots"].set(integer(status.workers_in_use), information ? `of ${short(information.configuration.max_workers)}` : "");
    tiles["Failed chunks"].set(short(status.chunks_failed), status.chunks_failed > 0 ? percent(status.chunks_failed, status.chunks_submitted) : "");
    tiles["Failed records"].set(short(status.records_failed));
    tiles["To be pulled"].set(short(status.chunks_available), "chunks");
    tiles["Evaluation time"].set(duration(status.compute_time_ms));
    // In whole minutes, while there are some.
    const exact = Math.max(0, Date.parse(status.expires_at) - now);
    const left = exact > 60_000 ? Math.floor(exact / 60_000) * 60_000 : exact;
    const what = isTerminal(status.batch_status) ? "Results expire in" : status.paused ? "Pause ends in" : "Closed by itself in";
    tiles["Closed by itself in"].set(status.expires_at ? duration(left) : "–", "", what);
    // What was stopped early is only written off.
    pause.hidden = isTerminal(status.batch_status) || Boolean(information?.stopped_timestamp);
    setText(pause, status.paused ? "Resume" : "Pause");
    close.hidden = !isOpen(status.batch_status);
    cancel.hidden = isTerminal(status.batch_status);
    const some = status.chunks_failed > 0 || status.records_failed > 0;
    again.hidden = !(some && isTerminal(status.batch_status) && status.batch_status !== "cancelled");
  });

  async function inform() {
    const { data } = await api.get(`/{tenant}/api/v4/batch/${id}`, { signal: ending.signal });
    information = data;
    setText(heading, data.service_uri);
    document.title = `${data.service_uri} · Millrace`;
    known.update(about({ ...data, id }));
    sizes.update([
      ["Input buffer", bytes(data.configuration.input_buffer_allocated_bytes)],
      ["Output buffer", bytes(data.configuration.output_buffer_allocated_bytes)],
      ["Pushed so far", bytes(data.summary.input_size_bytes)],
      ["Results so far", bytes(data.summary.output_size_bytes)],
      ["Retried", data.summary.chunks_retried > 0 ? count(data.summary.chunks_retried, "chunk") : null],
      ["Lasted", duration(data.summary.batch_time_ms)],
    ]);
    form.update(data.configuration, !isTerminal(data.batch_status));
    kind.hidden = !data.redrive_of;
    setText(kind, "redrive");
    draw.later();
  }

  const lost = (error) => {
    if (error.name === "AbortError" || error.status === 401) return;
    setText(heading, error.status === 404 ? "There is no such batch" : "Batch");
    if (error.status !== 404) notify(explain(error), true);
  };

  follow(api, `/{tenant}/api/v4/batch/${id}/events`, {
    signal: ending.signal,
    onState: (now, error) => { connection(now); if (now === "refused") lost(error); },
    onEvent: ({ event, data }) => {
      if (event === "state") {
        announce(`The batch is ${words(data.to)}.`);
        inform().catch(lost);
        return;
      }
      if (status && status.paused !== data.paused && !isTerminal(data.batch_status)) {
        announce(data.paused ? "The batch is paused." : "The batch is resumed.");
        inform().catch(lost);
      }
      status = data;
      speed.note(Date.now(), data.records_completed);
      const now = data.chunks_failed + data.records_failed;
      // Listed anew once for each state, not for each failure: a person may be reading.
      if (failed < 0 || (now !== failed && (failed === 0 || isTerminal(data.batch_status)))) list.reload();
      failed = now;
      if (event === "end") inform().catch(lost);
      draw.later();
    },
  });
  inform().catch(lost);
  const ticking = setInterval(() => {
    if (status && !isTerminal(status.batch_status)) curve.add(speed.at(Date.now()));
    draw.later();
  }, 1_000);
  const asking = setInterval(() => { if (status && !isTerminal(status.batch_status) && !document.hidden) inform().catch(() => {}); }, 5_000);
  return { heading, title: "Batch", close: () => { ending.abort(); draw.stop(); clearInterval(ticking); clearInterval(asking); } };
}
