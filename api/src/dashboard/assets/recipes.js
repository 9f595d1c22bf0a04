// Batches of recipes (Scale v6), their recipe types, and what each is made of.

import { badge, bar, h, setBadge, setBar, setText, tile } from "./dom.js";
import { drawing } from "./drawing.js";
import { ago, count, duration, integer, percent, short, time, words } from "./format.js";
import { nodeOf, nodeTotals, seconds } from "./recipes-model.js";
import { ask, explain, notify, repeat, run } from "./shell.js";
import { Rows, pager, table } from "./table.js";

const EVERY = 3_000;
const SIZE = 50;

export const link = (kind, id, text) => h("a", { href: `#/recipes/${kind}/${encodeURIComponent(id)}` }, text);

/** The pages of this part, above each of them. */
export function crumbs(...more) {
  return h("p", { class: "small" }, h("a", { href: "#/recipes" }, "Batches of recipes"), " · ", h("a", { href: "#/recipes/types" }, "Recipe types"), more.map((one) => [" · ", one]));
}

function batchState(batch) {
  if (batch.is_superseded) return ["superseded", ""];
  if (batch.is_paused) return ["paused", "warn"];
  if (!batch.is_creation_done) return ["recipes are made", "run"];
  if (batch.jobs_failed > 0) return ["with failures", "bad"];
  if (batch.recipes_completed >= batch.recipes_total) return ["completed", "good"];
  return ["in progress", "run"];
}

/** How far a batch of recipes is. */
function recipesDone() {
  const [left, right] = [h("span"), h("span")];
  const line = bar("Progress", 0);
  const update = (batch) => {
    const all = Math.max(batch.recipes_total, batch.is_creation_done ? 0 : batch.recipes_estimated);
    setText(left, percent(batch.recipes_completed, all));
    setText(right, `${short(batch.recipes_completed)} of ${short(all)} recipes`);
    setBar(line, `${integer(batch.recipes_completed)} of ${count(all, "recipe")} completed`, all > 0 ? batch.recipes_completed / all : 0, batch.jobs_failed > 0 ? "bad" : null);
  };
  return { node: h("div", { class: "progress" }, h("div", { class: "label" }, left, right), line), update };
}

function batchRow() {
  const title = h("a");
  const about = h("span", { class: "second" });
  const state = badge("");
  const done = recipesDone();
  const [jobs, running, failed] = [0, 1, 2].map(() => h("td", { class: "number" }));
  const changed = h("td");
  const chain = h("td");
  const node = h("tr", null, h("th", { scope: "row" }, title, about), h("td", null, state), h("td", { class: "wide" }, done.node), jobs, running, failed, chain, changed);
  const update = (batch) => {
    setText(title, batch.title ?? `Batch ${batch.id}`);
    title.setAttribute("href", `#/recipes/batch/${batch.id}`);
    setText(about, `${batch.recipe_type.title ?? batch.recipe_type.name}, revision ${batch.recipe_type_rev.revision_num} · ${batch.id}`);
    setBadge(state, ...batchState(batch));
    done.update(batch);
    setText(jobs, short(batch.jobs_total));
    setText(running, short(batch.jobs_running + batch.jobs_queued));
    setText(failed, short(batch.jobs_failed));
    const root = batch.root_batch?.id ?? batch.id;
    if (chain.dataset.root !== String(root)) {
      chain.dataset.root = root;
      chain.replaceChildren(link("compare", root, "Compare"));
    }
    setText(changed, ago(batch.last_modified, Date.now()));
  };
  return { node, update };
}

/** A page whose list the server pages: `path` with `page` and `page_size`. */
function served({ api, connection }, { main, heading, caption, columns, key, make, path, none, before = [] }) {
  const view = table(caption, columns);
  const rows = new Rows(view.body, key, make);
  const empty = h("p", { class: "empty card" }, "Waiting for the server …");
  let page = 1;
  const pages = pager((wanted) => { page = wanted; load(); });
  main.replaceChildren(...before, h("div", { class: "head" }, heading), view.node, empty, pages.node);
  view.node.hidden = true;
  async function load() {
    try {
      const answer = await api.get(`${path}${path.includes("?") ? "&" : "?"}page=${page}&page_size=${SIZE}`);
      connection("live");
      rows.show(answer.results);
      view.node.hidden = answer.count === 0;
      empty.hidden = answer.count > 0;
      setText(empty, none);
      pages.show(page, Math.max(1, Math.ceil(answer.count / SIZE)));
    } catch (error) {
      if (error.status === 404 && page > 1) { page = 1; return; }
      connection("lost");
      setText(empty, explain(error));
    }
  }
  return repeat(EVERY, load);
}

export function open(context) {
  const heading = h("h1", { tabindex: "-1" }, "Batches of recipes");
  const close = served(context, {
    main: context.main, heading, caption: "Batches of recipes", before: [crumbs()], key: (batch) => batch.id, make: batchRow, path: "/v6/batches/?order=-last_modified", none: "There is no batch of recipes yet.",
    columns: [{ title: "Title" }, { title: "State" }, { title: "Progress", class: "wide" }, { title: "Jobs", class: "number" }, { title: "Under way", class: "number" }, { title: "Failed", class: "number" }, { title: "Chain" }, { title: "Changed" }],
  });
  return { heading, title: "Batches of recipes", close };
}

export function types(context) {
  const heading = h("h1", { tabindex: "-1" }, "Recipe types");
  const make = (type) => ({
    node: h("tr", null, h("th", { scope: "row" }, link("type", type.name, type.title ?? type.name), h("span", { class: "second" }, type.name)), h("td", { class: "number" }, integer(type.revision_num)),
      h("td", null, type.is_active ? badge("active", "good") : badge("not active")), h("td", null, type.job_types.map((job) => `${job.name} ${job.version}`).join(", ")), h("td", null, time(type.last_modified))),
    update: () => {},
  });
  const close = served(context, {
    main: context.main, heading, caption: "Recipe types", before: [crumbs()], key: (type) => `${type.name} ${type.revision_num}`, make, path: "/v6/recipe-types/", none: "There is no recipe type yet.",
    columns: [{ title: "Title" }, { title: "Revision", class: "number" }, { title: "State" }, { title: "Job types" }, { title: "Changed" }],
  });
  return { heading, title: "Recipe types", close };
}

/** A graph and the table that says the same. `about(name)` is what `nodeOf` gives. */
function graphAndTable(nodes, about, label) {
  const view = table("Nodes", [{ title: "Node" }, { title: "Kind" }, { title: "What" }, { title: "State" }, { title: "Waits for" }]);
  for (const name of Object.keys(nodes)) {
    const { kind, what, state, tone, link: recipe } = about(name);
    const waits = (nodes[name].dependencies ?? []).map((one) => (one.acceptance === false ? `not ${one.name}` : one.name)).join(", ");
    view.body.append(h("tr", null, h("th", { scope: "row" }, name), h("td", null, kind), h("td", null, recipe ? link("recipe", recipe, what) : what), h("td", null, badge(words(state), tone === "none" ? "" : tone)), h("td", null, waits)));
  }
  return [drawing(nodes, (name) => { const one = about(name); return { ...one, state: words(one.state) }; }, label), h("br"), view.node];
}

export function type({ api, main, connection }, name) {
  const heading = h("h1", { tabindex: "-1" }, name);
  const place = h("div");
  main.replaceChildren(crumbs(), h("div", { class: "head" }, heading), place);
  const show = async () => {
    try {
      const one = await api.get(`/v6/recipe-types/${encodeURIComponent(name)}/`);
      connection("live");
      setText(heading, `${one.title ?? one.name}, revision ${one.revision_num}`);
      const nodes = one.definition.nodes ?? {};
      const about = (node) => ({ ...nodeOf(nodes[node], null), state: nodes[node].node_type.node_type, tone: "" });
      place.replaceChildren(h("p", null, one.description ?? ""), ...graphAndTable(nodes, about, `Graph of ${count(Object.keys(nodes).length, "node")}`));
    } catch (error) {
      connection(error.status === 0 ? "lost" : "live");
      place.replaceChildren(h("p", { class: "empty card" }, explain(error)));
    }
  };
  show();
  return { heading, title: "Recipe type", close: () => {} };
}

/** One recipe: its graph with the state of each node, and its unfinished work. */
export function recipe({ api, main, connection }, id) {
  const heading = h("h1", { tabindex: "-1" }, `Recipe ${id}`);
  const state = badge("");
  const place = h("div");
  const above = h("div", null, crumbs());
  const filter = { recipe_ids: [Number(id)] };
  const cancel = h("button", { type: "button", class: "danger", onclick: async () => {
    const sure = await ask({ title: "Cancel the jobs of this recipe?", text: "Jobs that are not finished are canceled, and what waits for them is blocked. They can be queued again.", action: "Cancel the jobs", danger: true });
    if (sure && await run(cancel, () => api.post("/v6/jobs/cancel/", filter))) notify("The jobs are being canceled.");
  } }, "Cancel jobs …");
  const again = h("button", { type: "button", class: "primary", onclick: async () => {
    if (await run(again, () => api.post("/v6/jobs/requeue/", { ...filter, status: ["FAILED", "CANCELED"] }))) notify("Failed and canceled jobs are queued again.");
  } }, "Queue failed jobs again");
  main.replaceChildren(above, h("div", { class: "head" }, heading, state, h("div", { class: "actions" }, again, cancel)), place);
  let seen = "";
  let revision = null;
  const stop = repeat(EVERY, async () => {
    try {
      const one = await api.get(`/v6/recipes/${id}/`);
      connection("live");
      const wanted = `${one.recipe_type.name}/${one.recipe_type_rev.revision_num}`;
      if (revision?.key !== wanted) {
        const path = `/v6/recipe-types/${encodeURIComponent(one.recipe_type.name)}/revisions/${one.recipe_type_rev.revision_num}/`;
        // Whoever may not read recipe types sees the nodes that were made.
        const definition = await api.get(path).then((found) => found.definition, (error) => { if (error.status === 403) return null; throw error; });
        revision = { key: wanted, nodes: definition?.nodes ?? null };
      }
      const made = one.details?.nodes ?? {};
      const nodes = revision.nodes ?? made;
      const fresh = JSON.stringify([made, one.is_completed, one.is_superseded]);
      const failed = one.jobs_failed + one.jobs_canceled;
      again.hidden = failed === 0;
      cancel.hidden = one.jobs_total === one.jobs_completed + one.jobs_failed + one.jobs_canceled;
      if (fresh === seen) return;
      seen = fresh;
      setText(heading, `Recipe ${id}: ${one.recipe_type.title ?? one.recipe_type.name}, revision ${one.recipe_type_rev.revision_num}`);
      setBadge(state, one.is_superseded ? "superseded" : one.is_completed ? "completed" : failed > 0 ? "with failures" : "in progress", one.is_completed ? "good" : failed > 0 ? "bad" : "run");
      above.replaceChildren(crumbs(...[one.batch ? link("batch", one.batch.id, one.batch.title ?? `Batch ${one.batch.id}`) : null, one.recipe ? link("recipe", one.recipe.id, `Within recipe ${one.recipe.id}`) : null].filter(Boolean)));
      place.replaceChildren(...graphAndTable(nodes, (name) => nodeOf(nodes[name], made[name]), `Graph of ${count(Object.keys(nodes).length, "node")} with their states`));
    } catch (error) {
      connection(error.status === 0 ? "lost" : "live");
      if (seen === "") place.replaceChildren(h("p", { class: "empty card" }, explain(error)));
    }
  });
  return { heading, title: "Recipe", close: stop };
}

function metricsRow([name, metrics]) {
  const node = h("tr", null, h("th", { scope: "row" }, name));
  const cells = ["jobs_total", "jobs_completed", "jobs_running", "jobs_queued", "jobs_pending", "jobs_blocked", "jobs_failed", "jobs_canceled"].map((key) => [key, h("td", { class: "number" })]);
  const times = ["min_job_duration", "avg_job_duration", "max_job_duration"].map((key) => [key, h("td", { class: "number" })]);
  node.append(...[...cells, ...times].map(([, cell]) => cell));
  const update = ([, now]) => {
    for (const [key, cell] of cells) setText(cell, short(now[key]));
    for (const [key, cell] of times) setText(cell, now[key] === null ? "–" : duration(seconds(now[key]) * 1000));
  };
  update([name, metrics]);
  return { node, update };
}

/** One batch of recipes: progress, what each node does over all of them, and the recipes. */
export function batch(context, id) {
  const { api, main, connection } = context;
  const heading = h("h1", { tabindex: "-1" }, `Batch ${id}`);
  const state = badge("");
  const done = recipesDone();
  const tiles = Object.fromEntries(["Recipes", "Jobs", "Completed", "Running", "Queued", "Blocked", "Failed"].map((name) => [name, tile(name)]));
  const picture = h("div");
  const compare = h("span");
  const about = h("p", { class: "soft" });
  let paused = false;
  const pause = h("button", { type: "button", hidden: true, onclick: () => run(pause, async () => {
    const wanted = !paused;
    await api.patch(`/v6/batches/${id}/`, { is_paused: wanted });
    await show();
    notify(wanted ? "The batch is paused: its jobs stay queued." : "The batch is resumed.");
  }) }, "Pause");
  const nodes = table("Jobs by node", ["Node", "Jobs", "Completed", "Running", "Queued", "Pending", "Blocked", "Failed", "Canceled", "Shortest", "Mean", "Longest"].map((title, index) => ({ title, class: index > 0 ? "number" : null })));
  const rows = new Rows(nodes.body, ([name]) => name, metricsRow);
  const list = h("section");
  main.replaceChildren(crumbs(), h("div", { class: "head" }, heading, state, h("div", { class: "actions" }, compare, pause)), about, h("div", { class: "card large" }, done.node), h("dl", { class: "tiles" }, Object.values(tiles).map(({ node }) => node)), picture, h("br"), nodes.node, h("br"), list);
  let drawn = "";
  const stopList = served(context, {
    main: list, heading: h("h2", null, "Recipes"), caption: "Recipes of the batch", key: (one) => one.id, path: `/v6/recipes/?batch_id=${id}`, none: "No recipe is made yet.",
    columns: [{ title: "Recipe" }, { title: "State" }, { title: "Jobs", class: "number" }, { title: "Completed", class: "number" }, { title: "Failed", class: "number" }, { title: "Created" }],
    make: () => {
      const name = h("a");
      const what = badge("");
      const figures = ["jobs_total", "jobs_completed", "jobs_failed"].map((key) => [key, h("td", { class: "number" })]);
      const created = h("td");
      const update = (one) => {
        setText(name, String(one.id));
        name.setAttribute("href", `#/recipes/recipe/${one.id}`);
        const failed = one.jobs_failed > 0;
        setBadge(what, one.is_completed ? "completed" : failed ? "with failures" : "in progress", one.is_completed ? "good" : failed ? "bad" : "run");
        for (const [key, cell] of figures) setText(cell, integer(one[key]));
        setText(created, time(one.created));
      };
      return { node: h("tr", null, h("th", { scope: "row" }, name), h("td", null, what), figures.map(([, cell]) => cell), created), update };
    },
  });
  async function show() {
    try {
      const one = await api.get(`/v6/batches/${id}/`);
      connection("live");
      setText(heading, one.title ?? `Batch ${id}`);
      paused = one.is_paused;
      setText(pause, paused ? "Resume" : "Pause");
      pause.hidden = one.is_superseded;
      setText(about, paused ? `Paused ${time(one.paused)}, by ${one.paused_by}: its jobs stay queued.` : "");
      about.hidden = !paused;
      setBadge(state, ...batchState(one));
      done.update(one);
      for (const [name, value] of [["Recipes", one.recipes_total], ["Jobs", one.jobs_total], ["Completed", one.jobs_completed], ["Running", one.jobs_running], ["Queued", one.jobs_queued], ["Blocked", one.jobs_blocked], ["Failed", one.jobs_failed]]) tiles[name].set(short(value));
      rows.show(Object.entries(one.job_metrics));
      const definition = one.recipe_type_rev.definition?.nodes ?? {};
      const stateOf = (name) => {
        const { kind } = nodeOf(definition[name], null);
        return kind === "job" ? { kind, ...nodeTotals(one.job_metrics[name]) } : { kind, state: kind, tone: "" };
      };
      const fresh = JSON.stringify(Object.keys(definition).map(stateOf));
      if (fresh !== drawn) {
        drawn = fresh;
        picture.replaceChildren(drawing(definition, stateOf, `Graph of ${count(Object.keys(definition).length, "node")} with the jobs of the batch`));
        compare.replaceChildren(link("compare", one.root_batch?.id ?? id, "Compare with the batches of this chain"));
      }
    } catch (error) {
      connection(error.status === 0 ? "lost" : "live");
      if (drawn === "") picture.replaceChildren(h("p", { class: "empty card" }, explain(error)));
    }
  }
  const stop = repeat(EVERY, show);
  return { heading, title: "Batch of recipes", close: () => { stop(); stopList(); } };
}
