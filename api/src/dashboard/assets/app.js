// The beginning: who is here, what they may see, and which page that is.

import { address } from "./api.js";
import * as batch from "./batch.js";
import * as batches from "./batches.js";
import * as compare from "./compare.js";
import { h, setText } from "./dom.js";
import * as fleet from "./fleet.js";
import { comeBack } from "./oidc.js";
import * as quotas from "./quotas.js";
import * as recipes from "./recipes.js";
import { Session, powers } from "./session.js";
import { announce, explain } from "./shell.js";
import { signIn } from "./sign-in.js";

/** Path, title in the navigation (none: not there), page, who may see it. */
const PAGES = [
  { path: /^#\/batches$/, href: "#/batches", title: "Batches", page: batches, may: (power) => power.batches },
  { path: /^#\/batch\/([0-9a-f-]{36})$/, page: batch, may: (power) => power.batches, under: "#/batches" },
  { path: /^#\/recipes$/, href: "#/recipes", title: "Recipes", page: recipes, may: (power) => power.batches },
  { path: /^#\/recipes\/types$/, page: { open: recipes.types }, may: (power) => power.types, under: "#/recipes" },
  { path: /^#\/recipes\/type\/([^/]+)$/, page: { open: recipes.type }, may: (power) => power.types, under: "#/recipes" },
  { path: /^#\/recipes\/recipe\/(\d+)$/, page: { open: recipes.recipe }, may: (power) => power.batches, under: "#/recipes" },
  { path: /^#\/recipes\/batch\/(\d+)$/, page: { open: recipes.batch }, may: (power) => power.batches, under: "#/recipes" },
  { path: /^#\/recipes\/compare\/(\d+)$/, page: compare, may: (power) => power.batches, under: "#/recipes" },
  { path: /^#\/fleet$/, href: "#/fleet", title: "Fleet", page: fleet, may: () => true },
  { path: /^#\/quotas$/, href: "#/quotas", title: "Quotas", page: quotas, may: () => true },
];

const main = document.getElementById("main");
const pages = document.getElementById("pages");
const state = document.getElementById("connection");
const who = document.getElementById("who");
const out = document.getElementById("sign-out");

let settings = { version: "", oidc: null };
let session = null;
let shown = null;

/** Says when what is on the page may be old. */
function connection(now) {
  const text = { lost: "Connection lost, trying again", away: "The database is away, figures are old" }[now] ?? "";
  if (text && state.hidden) announce(text);
  if (!text && !state.hidden) announce("The connection is back");
  setText(state, text);
  state.hidden = text === "";
}

function close() {
  shown?.close();
  shown = null;
  connection("live");
}

function route() {
  if (!session?.caller) return;
  const power = powers(session.caller);
  const allowed = PAGES.filter((page) => page.may(power));
  const hash = location.hash;
  const found = allowed.find((page) => page.path.test(hash)) ?? null;
  if (!found) {
    // The first page that this credential may see; without a trace of the other.
    history.replaceState(null, "", allowed.find((page) => page.href).href);
    route();
    return;
  }
  close();
  const [, ...rest] = hash.match(found.path);
  const links = allowed.filter((page) => page.href).map((page) =>
    h("a", { href: page.href, "aria-current": page.href === (found.under ?? found.href) ? "page" : null }, page.title));
  pages.replaceChildren(...links);
  shown = found.page.open({ api: session.api, caller: session.caller, main, connection }, ...rest.map(decodeURIComponent));
  document.title = `${shown.title} · Millrace`;
  window.scrollTo(0, 0);
  // Whoever cannot see the page hears where it begins.
  shown.heading.focus({ preventScroll: true });
}

function begin(caller) {
  setText(who, caller.operator ? "Operator" : `${caller.name} · ${caller.tenant}`);
  pages.hidden = false;
  out.hidden = false;
  route();
}

function end(message) {
  close();
  session.forget();
  document.title = "Millrace";
  setText(who, "");
  pages.hidden = true;
  out.hidden = true;
  signIn(main, session, settings, message, begin);
}

async function start() {
  const response = await fetch(address("/dashboard/settings.json"), { credentials: "omit" });
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  settings = await response.json();
  session = new Session(settings, () => end("The credential is not good any more. Please sign in again."));
  let message = "";
  try {
    const fresh = await comeBack(settings.oidc);
    const caller = await (fresh ? session.begin(fresh) : session.restore());
    if (caller) return begin(caller);
  } catch (error) {
    message = explain(error);
  }
  return end(message);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
out.addEventListener("click", () => end(""));
window.addEventListener("hashchange", route);
start().catch((error) => main.replaceChildren(h("p", { class: "empty card", role: "alert" }, explain(error))));
