// What failed of a batch, with its errors, and doing it again.

import { h, setText } from "./dom.js";
import { count, integer } from "./format.js";
import { ask, explain, notify, run } from "./shell.js";
import { table } from "./table.js";

const PAGE = 50;

const COLUMNS = [{ title: "What" }, { title: "Chunk" }, { title: "Record" }, { title: "Errors" }, { title: "Input kept" }];

function errorsOf(failure) {
  const errors = Array.isArray(failure.errors) ? failure.errors : [];
  return errors.map((error) => h("div", null, error.message ?? String(error),
    error.error_type ? h("span", { class: "second mono" }, [error.error_type, error.source_path].filter(Boolean).join(" · ")) : null));
}

function row(failure) {
  const key = Object.entries(failure.unique_record_key ?? {}).map(([name, value]) => `${name} = ${JSON.stringify(value)}`).join(", ");
  const record = failure.kind === "record" ? [integer(failure.record), key ? h("span", { class: "second" }, key) : null] : [count(failure.records ?? 0, "record")];
  return h("tr", null, h("th", { scope: "row" }, failure.kind === "record" ? "Record" : "Chunk"), h("td", { class: "mono" }, failure.chunk_id),
    h("td", null, record), h("td", { class: "errors" }, errorsOf(failure)), h("td", null, failure.input_kept ? "yes" : "no"));
}

/** A version 4 UUID. `crypto.randomUUID` is not there on pages that came without TLS. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

function choice(name, options) {
  return options.map(([value, title], index) => h("label", { class: "check" }, h("input", { type: "radio", name, value, checked: index === 0 }), title));
}

/** Asks how, and redrives. */
export async function redrive(api, id, serviceUri, button) {
  const answer = await ask({
    title: "Do failed work again?",
    text: "A new batch is made of the inputs that were kept. This batch stays as it is.",
    content: [
      h("fieldset", null, h("legend", null, "What"), choice("kind", [["all", "Failed chunks and failed records"], ["chunks", "Failed chunks"], ["records", "Failed records"]])),
      h("fieldset", null, h("legend", null, "With"), choice("version", [["same", `The same version: ${serviceUri}`], ["newest", "The newest version of the service"]])),
    ],
    action: "Redrive",
  });
  if (!answer) return;
  await run(button, async () => {
    // An id of our own: the call may be repeated without a second redrive.
    const body = { kind: answer.get("kind"), batch_id: uuid() };
    if (answer.get("version") === "newest") body.service = serviceUri.replace(/\[[^\]]*\]$/, "");
    const made = await api.post(`/{tenant}/api/v4/batch/${id}/redrive`, body);
    const impossible = made.impossible?.chunks ?? 0;
    notify(impossible > 0 ? `The redrive has begun. The input of ${count(impossible, "chunk")} was not kept.` : "The redrive has begun.");
    location.hash = `#/batch/${made.id}`;
  });
}

/** The list. `reload()` begins anew; the number of failures on the way is told by `update`. */
export function failures(api, id, signal) {
  let cursor = null;
  let shown = 0;
  const columns = table("Failures", COLUMNS);
  const empty = h("p", { class: "soft" }, "Nothing failed.");
  const kind = h("select", { onchange: () => reload() }, h("option", { value: "all" }, "Chunks and records"), h("option", { value: "chunk" }, "Chunks"), h("option", { value: "record" }, "Records"));
  const more = h("button", { type: "button", onclick: () => run(more, load) }, "More");
  const again = h("button", { type: "button", onclick: () => run(again, reload) }, "List again");
  const seen = h("span", { class: "count", role: "status" });
  const node = h("section", { class: "card", "aria-labelledby": "failures-title" }, h("h2", { id: "failures-title" }, "Failures"),
    h("div", { class: "tools" }, h("label", { class: "field" }, "Show", kind), again, seen), columns.node, empty, h("div", { class: "pager" }, more));
  columns.node.hidden = true;
  more.hidden = true;

  async function load() {
    const after = cursor ? `&after=${encodeURIComponent(cursor)}` : "";
    const page = await api.get(`/{tenant}/api/v4/batch/${id}/failures?kind=${kind.value}&max=${PAGE}${after}`, { signal });
    columns.body.append(...page.data.map(row));
    shown += page.data.length;
    cursor = page.next_cursor;
    more.hidden = !page.has_more;
    columns.node.hidden = shown === 0;
    empty.hidden = shown > 0;
    setText(empty, "Nothing failed.");
    setText(seen, shown > 0 ? `${count(shown, "failure")}${page.has_more ? " so far" : ""}` : "");
  }

  async function reload() {
    cursor = null;
    shown = 0;
    columns.body.replaceChildren();
    try {
      await load();
    } catch (error) {
      if (error.name === "AbortError") return;
      columns.node.hidden = true;
      more.hidden = true;
      empty.hidden = false;
      setText(empty, explain(error));
    }
  }

  return { node, reload };
}
