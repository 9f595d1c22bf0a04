// Elements without markup: nothing that a server or a user wrote is ever parsed as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", value);
    else if (name !== "value") element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  // After the children: a selection has options to choose from.
  if (properties?.value !== undefined) element.value = properties.value;
  return element;
}

/** An element: `h("button", {type: "button", onclick: run}, "Run")`. Functions are listeners, `true` is a bare attribute. */
export function h(tag, properties, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** The same for drawings. */
export function svg(tag, properties, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

/** Sets a text, if it is another one: what does not change costs no layout, and keeps a selection. */
export function setText(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

/** Sets or removes an attribute, if it is another one. */
export function setAttribute(node, name, value) {
  if (value === undefined || value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value === true ? "" : String(value));
}

/** A badge whose words say it; the colour only helps. */
export function badge(text, tone) {
  return h("span", { class: tone ? `badge ${tone}` : "badge" }, text);
}

export function setBadge(node, text, tone) {
  setText(node, text);
  setAttribute(node, "class", tone ? `badge ${tone}` : "badge");
}

/** A bar with a share from 0 to 1, which readers of the screen are told as `label`. */
export function bar(label, share, tone) {
  const node = h("progress", { max: 1 });
  setBar(node, label, share, tone);
  return node;
}

export function setBar(node, label, share, tone) {
  const value = Math.min(1, Math.max(0, Number.isFinite(share) ? share : 0));
  if (node.value !== value || !node.hasAttribute("value")) node.value = value;
  setAttribute(node, "aria-label", label);
  setAttribute(node, "class", tone);
}

/** A figure with its name. Returns the list entry and a function that sets the figure and what stands small behind it. */
export function tile(name) {
  const figure = document.createTextNode("–");
  const rest = h("small");
  const title = h("dt", null, name);
  const node = h("div", { class: "tile" }, title, h("dd", null, figure, " ", rest));
  const set = (value, small = "", named = name) => {
    if (figure.data !== String(value)) figure.data = String(value);
    setText(rest, small);
    setText(title, named);
  };
  return { node, set };
}
