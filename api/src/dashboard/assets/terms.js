// Terms of a batch that may change while it runs, as a form in place.

import { h, setText } from "./dom.js";
import { changes } from "./model.js";
import { notify, run } from "./shell.js";

const FIELDS = [
  { name: "max_workers", title: "Most slots (max_workers)", min: 1, max: 1_000_000, step: 1 },
  { name: "initial_workers", title: "Slots to begin with", min: 1, max: 1_000_000, step: 1 },
  { name: "priority", title: "Priority (lower goes first)", min: -1_000_000, max: 1_000_000, step: 1 },
  { name: "acceptable_error_percentage", title: "Tolerated failed chunks, %", min: 0, max: 100, step: "any" },
  { name: "acceptable_record_error_percentage", title: "Tolerated failed records, %", min: 0, max: 100, step: "any", nullable: true },
];

/** Reads a number of a form: undefined where there is none, null where that is a value. */
function read({ input, nullable }) {
  if (input.value.trim() === "") return nullable ? null : undefined;
  return Number(input.value);
}

/** `onChanged` is called after the server took a change. */
export function terms(api, id, onChanged) {
  let before = null;
  const fields = FIELDS.map((field) => ({ ...field, input: h("input", { type: "number", min: field.min, max: field.max, step: field.step, required: !field.nullable, placeholder: field.nullable ? "any" : null, name: field.name }) }));
  const stop = h("input", { type: "checkbox", name: "early_stop", id: "early-stop" });
  const save = h("button", { type: "submit", class: "primary" }, "Change");
  const undo = h("button", { type: "button", onclick: () => fill(true) }, "Undo");
  const note = h("span", { class: "soft small" });
  const form = h("form", { class: "grid", "aria-label": "Terms" },
    fields.map(({ title, input }) => h("label", { class: "field" }, title, input)),
    h("label", { class: "check", for: "early-stop" }, stop, "Stop as soon as it is certain to fail"),
    h("div", { class: "row" }, save, undo, note));

  const wanted = () => ({ ...Object.fromEntries(fields.map((field) => [field.name, read(field)])), early_stop: stop.checked });
  const refresh = () => {
    const none = before === null || Object.keys(changes(before, wanted())).length === 0;
    save.disabled = none;
    undo.disabled = none;
  };
  const fill = (all) => {
    if (!before) return;
    for (const { name, input } of fields) if (all || document.activeElement !== input) input.value = before[name] ?? "";
    stop.checked = before.early_stop;
    refresh();
  };
  form.addEventListener("input", refresh);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const change = changes(before, wanted());
    const done = await run(save, async () => {
      await api.patch(`/{tenant}/api/v4/batch/${id}`, change);
      await onChanged();
    });
    if (done) notify("The terms are changed.");
    refresh();
  });

  /** Shows what is in force; what a person is writing stays. */
  const update = (configuration, editable) => {
    const edited = before !== null && Object.keys(changes(before, wanted())).length > 0;
    before = configuration;
    if (!edited) fill(false);
    refresh();
    for (const { input } of fields) input.disabled = !editable;
    stop.disabled = !editable;
    save.hidden = !editable;
    undo.hidden = !editable;
    setText(note, editable ? "" : "A finished batch keeps its terms.");
  };
  return { node: h("section", { class: "card", "aria-labelledby": "terms-title" }, h("h2", { id: "terms-title" }, "Terms"), form), update };
}
