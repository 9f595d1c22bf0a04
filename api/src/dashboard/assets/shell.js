// What every page uses: notices, announcements, questions.

import { h } from "./dom.js";

const STAYS = 6_000;

/** Tells readers of the screen, politely: what came before may be finished first. */
export function announce(text) {
  const region = document.getElementById("announcements");
  region.append(h("p", null, text));
  while (region.childElementCount > 5) region.firstElementChild.remove();
}

/** Shows a message for a while; a refusal stays until it is closed. */
export function notify(text, bad = false) {
  const close = () => node.remove();
  const node = h("div", { class: bad ? "notice bad" : "notice" },
    h("span", null, text), h("button", { type: "button", class: "plain", "aria-label": "Close the message", onclick: close }, "×"));
  document.getElementById("notices").append(node);
  announce(text);
  if (!bad) setTimeout(close, STAYS);
}

/** What went wrong, for people. */
export function explain(error) {
  if (error.place) return `${error.message} (${error.place})`;
  return error.message;
}

let labels = 0;

/**
 * Asks before something is done. `content` may hold a form's fields. Resolves to the form's data, or null when it was declined.
 * Focus goes back to where it was.
 */
export function ask({ title, text, content = [], action, danger = false }) {
  labels += 1;
  const id = `question-${labels}`;
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog" }, h("h2", { id }, title), text ? h("p", null, text) : null, content,
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => dialog.close() }, "Keep as it is"),
        h("button", { type: "submit", class: danger ? "danger" : "primary", value: "yes" }, action)));
    const dialog = h("dialog", { "aria-labelledby": id }, form);
    dialog.addEventListener("close", () => {
      const data = dialog.returnValue === "yes" ? new FormData(form) : null;
      dialog.remove();
      resolve(data);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Runs a button's work: it is disabled meanwhile, and a refusal is shown. True when it went well. */
export async function run(button, work) {
  // What is disabled loses the focus; whoever uses the keyboard gets it back, unless they went on meanwhile.
  const focused = document.activeElement === button;
  button.disabled = true;
  try {
    await work();
    return true;
  } catch (error) {
    if (error.name !== "AbortError" && error.status !== 401) notify(explain(error), true);
    return false;
  } finally {
    button.disabled = false;
    if (focused && (document.activeElement === null || document.activeElement === document.body)) button.focus();
  }
}

/** Calls `work` now and then every `ms`, never twice at once, while the page is visible. Returns what stops it. */
export function repeat(ms, work) {
  let stopped = false;
  let timer = null;
  const step = async () => {
    if (stopped) return;
    if (!document.hidden) await work();
    if (!stopped) timer = setTimeout(step, ms);
  };
  step();
  return () => { stopped = true; clearTimeout(timer); };
}

/** Draws at most once in `ms`, with the browser's own rhythm. */
export function drawing(ms, draw) {
  let wanted = false;
  let last = 0;
  let stopped = false;
  const later = () => {
    if (wanted || stopped) return;
    wanted = true;
    setTimeout(() => requestAnimationFrame(() => {
      wanted = false;
      last = performance.now();
      if (!stopped) draw();
    }), Math.max(0, ms - (performance.now() - last)));
  };
  return { later, stop: () => { stopped = true; } };
}
