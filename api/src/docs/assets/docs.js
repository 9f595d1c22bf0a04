// The reference of the API, drawn from the server's own OpenAPI document. An operation is drawn when it is opened.

import { h, setText } from "./dom.js";

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];
const main = document.getElementById("main");

/** What a reference leads to within the document; anything else is itself. */
function resolve(document, thing) {
  let found = thing;
  for (let hops = 0; found?.$ref && hops < 8; hops += 1) {
    const steps = found.$ref.replace(/^#\//, "").split("/");
    found = steps.reduce((at, step) => at?.[step.replaceAll("~1", "/").replaceAll("~0", "~")], document);
  }
  return found ?? {};
}

/** The operations, by tag in the order of the document's tags. */
function operations(document) {
  const tags = new Map((document.tags ?? []).map((tag) => [tag.name, { about: tag.description, list: [] }]));
  for (const [path, item] of Object.entries(document.paths ?? {})) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation) continue;
      const name = operation.tags?.[0] ?? "Other";
      if (!tags.has(name)) tags.set(name, { list: [] });
      tags.get(name).list.push({ path, method, operation, shared: item.parameters ?? [] });
    }
  }
  return tags;
}

const refName = (schema) => schema?.$ref?.split("/").pop();

/** A schema's type in a few words. */
function typeOf(document, schema) {
  const named = refName(schema);
  const real = resolve(document, schema);
  if (named) return named.replace(/^V\d_/, "");
  if (real.const !== undefined) return JSON.stringify(real.const);
  const several = real.oneOf ?? real.anyOf;
  if (several) return several.map((one) => typeOf(document, one)).join(" | ");
  if (real.allOf) return real.allOf.map((one) => typeOf(document, one)).join(" & ");
  const type = Array.isArray(real.type) ? real.type.join(" | ") : real.type ?? "any";
  if (real.items) return `${type} of ${typeOf(document, real.items)}`;
  return real.format ? `${type} (${real.format})` : type;
}

/** What else is to be kept to. */
function limits(schema) {
  const said = [];
  if (schema.enum) said.push(`one of ${schema.enum.map((value) => JSON.stringify(value)).join(", ")}`);
  if (schema.default !== undefined) said.push(`default ${JSON.stringify(schema.default)}`);
  for (const [key, words] of [["minimum", "at least"], ["maximum", "at most"], ["minLength", "length at least"], ["maxLength", "length at most"],
    ["minItems", "items at least"], ["maxItems", "items at most"], ["pattern", "like"]]) {
    if (schema[key] !== undefined) said.push(`${words} ${schema[key]}`);
  }
  return said.join("; ");
}

/** A part of a schema that opens where it has parts of its own. */
function part(document, name, schema, required) {
  const real = resolve(document, schema);
  const head = [
    name === null ? null : h("code", null, name), " ", h("span", { class: "soft" }, typeOf(document, schema)),
    required ? h("span", { class: "small" }, " required") : null,
  ];
  const about = [schema.description ?? real.description, limits(real)].filter(Boolean).join(" ");
  const text = about ? h("div", { class: "small" }, about) : null;
  if (!inner(document, real)) return h("li", null, head, text);
  const details = h("details", null, h("summary", null, head), text);
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("ul")) details.append(parts(document, real));
  });
  return h("li", null, details);
}

/** Whether a schema has parts to show. */
function inner(document, schema) {
  const items = schema.items && inner(document, resolve(document, schema.items));
  return Boolean(schema.properties || schema.oneOf || schema.anyOf || schema.allOf || items
    || (schema.additionalProperties && typeof schema.additionalProperties === "object"));
}

function parts(document, schema) {
  const list = h("ul", { class: "schema" });
  for (const [name, one] of Object.entries(schema.properties ?? {})) {
    list.append(part(document, name, one, schema.required?.includes(name)));
  }
  for (const one of [...(schema.allOf ?? []), ...(schema.oneOf ?? []), ...(schema.anyOf ?? [])]) list.append(part(document, null, one));
  if (schema.items) list.append(part(document, "each", schema.items));
  if (schema.additionalProperties && typeof schema.additionalProperties === "object") list.append(part(document, "any name", schema.additionalProperties));
  return list;
}

/** The media types of a body, each with its schema and an example. */
function content(document, map) {
  return Object.entries(map ?? {}).map(([media, one]) => {
    const example = one.example ?? Object.values(one.examples ?? {})[0]?.value;
    return h("div", null,
      h("div", null, h("code", null, media)),
      one.schema ? h("ul", { class: "schema" }, part(document, null, one.schema)) : null,
      example === undefined ? null : h("pre", { tabindex: "0", "aria-label": "Example" }, typeof example === "string" ? example : JSON.stringify(example, null, 2)));
  });
}

function table(names, rows) {
  return h("table", null,
    h("thead", null, h("tr", null, names.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell) => h("td", null, cell))))));
}

/** Everything of an operation. */
function body(document, { operation, shared }) {
  const parameters = [...shared, ...(operation.parameters ?? [])].map((one) => resolve(document, one));
  const request = resolve(document, operation.requestBody);
  const schemes = (operation.security ?? []).flatMap((one) => Object.keys(one));
  const responses = Object.entries(operation.responses ?? {}).map(([status, one]) => [status, resolve(document, one)]);
  return h("div", null,
    (operation.description ?? "").split("\n\n").filter(Boolean).map((text) => h("p", null, text)),
    schemes.length ? h("p", { class: "soft small" }, `Credentials: ${[...new Set(schemes)].join(" or ")}`) : null,
    parameters.length ? [h("h3", null, "Parameters"), table(["Name", "In", "Type", "About"], parameters.map((one) => [
      [h("code", null, one.name), one.required ? " required" : ""], one.in, typeOf(document, one.schema ?? {}),
      [one.description ?? "", " ", h("span", { class: "soft" }, limits(resolve(document, one.schema ?? {})))],
    ]))] : null,
    request.content ? [h("h3", null, request.required ? "Body, required" : "Body"), request.description ? h("p", null, request.description) : null, content(document, request.content)] : null,
    h("h3", null, "Answers"),
    table(["Status", "About"], responses.map(([status, one]) => [h("code", null, status), [one.description ?? "", content(document, one.content)]])));
}

function entry(document, one) {
  const { path, method, operation } = one;
  const node = h("details", { class: "operation", id: operation.operationId },
    h("summary", null, h("span", { class: `method ${method}` }, method.toUpperCase()), h("code", null, path), h("span", { class: "soft" }, operation.summary ?? "")));
  node.addEventListener("toggle", () => {
    if (!node.open) return;
    if (!node.querySelector(":scope > div")) node.append(body(document, one));
    history.replaceState(null, "", `#${operation.operationId}`);
  });
  const words = [method, path, operation.summary, operation.description, operation.operationId].join(" ").toLowerCase();
  return { node, words };
}

function draw(document_) {
  setText(document.getElementById("version"), document_.info?.version ?? "");
  const count = h("p", { class: "soft", role: "status" });
  const groups = [...operations(document_)].filter(([, group]) => group.list.length).map(([name, group]) => {
    const entries = group.list.map((one) => entry(document_, one));
    const node = h("section", { "aria-label": name }, h("h2", null, name), group.about ? h("p", { class: "soft" }, group.about) : null, entries.map((one) => one.node));
    return { node, entries };
  });
  const filter = h("input", { type: "search", id: "filter", autocomplete: "off", oninput: () => narrow() });
  const narrow = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { node, entries } of groups) {
      let any = false;
      for (const one of entries) {
        const fits = words.every((word) => one.words.includes(word));
        one.node.hidden = !fits;
        any ||= fits;
        shown += fits ? 1 : 0;
      }
      node.hidden = !any;
    }
    setText(count, `${shown} operations`);
  };
  main.replaceChildren(
    h("h1", null, document_.info?.title ?? "API"),
    (document_.info?.description ?? "").split("\n\n").slice(0, 3).filter(Boolean).map((text) => h("p", { class: "soft" }, text)).reduce((all, one) => (all.append(one), all), h("div")),
    h("div", { class: "tools" }, h("label", { class: "field" }, "Find operations", filter), count),
    ...groups.map((group) => group.node));
  narrow();
  open();
}

/** Opens the operation that the address names. */
function open() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const node = wanted && document.getElementById(wanted);
  if (node instanceof HTMLDetailsElement) {
    node.open = true;
    node.scrollIntoView();
  }
}

async function start() {
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`the server says ${answer.status}`);
    draw(await answer.json());
  } catch (error) {
    main.replaceChildren(h("p", { role: "alert" }, `The document cannot be read: ${error.message}`));
  }
}

addEventListener("hashchange", open);
start();
