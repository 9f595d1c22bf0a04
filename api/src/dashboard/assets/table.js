// Tables of which only what changed is drawn.

import { h, setAttribute } from "./dom.js";

/**
 * A body whose rows are made once for each key, and then only changed. `make(item)` gives `{node, update(item)}`.
 */
export class Rows {
  constructor(body, key, make) {
    Object.assign(this, { body, key, make });
    this.rows = new Map();
  }

  show(items) {
    const fresh = new Map();
    let place = this.body.firstElementChild;
    for (const item of items) {
      const key = this.key(item);
      const row = this.rows.get(key) ?? this.make(item);
      row.update(item);
      fresh.set(key, row);
      // Moving a row takes the focus out of it: what stands right stays.
      if (row.node === place) place = place.nextElementSibling;
      else this.body.insertBefore(row.node, place);
    }
    for (const [key, row] of this.rows) if (!fresh.has(key)) row.node.remove();
    this.rows = fresh;
  }
}

/**
 * A table: `columns` are `{name, title, sort, class}`. With `onSort`, headings of columns with `sort` are buttons.
 */
export function table(caption, columns, onSort) {
  const headings = columns.map((column) => {
    const sortable = onSort && column.sort;
    const content = sortable ? h("button", { type: "button", class: "plain", onclick: () => onSort(column.sort) }, column.title) : column.title;
    return h("th", { scope: "col", class: column.class, "aria-sort": sortable ? "none" : null, title: column.about }, content);
  });
  const body = h("tbody");
  const node = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", null, h("caption", { class: "unseen" }, caption), h("thead", null, h("tr", null, headings)), body));
  const sorted = (by, descending) => {
    columns.forEach((column, index) => {
      if (!onSort || !column.sort) return;
      setAttribute(headings[index], "aria-sort", column.sort === by ? (descending ? "descending" : "ascending") : "none");
    });
  };
  return { node, body, sorted };
}

/** Buttons to go through pages. `show(page, pages)` sets where one is. */
export function pager(onGo) {
  const place = h("span", { class: "soft small" });
  let at = 1;
  const before = h("button", { type: "button", onclick: () => onGo(at - 1) }, "Previous");
  const after = h("button", { type: "button", onclick: () => onGo(at + 1) }, "Next");
  const node = h("nav", { class: "pager", "aria-label": "Pages of the table" }, place, before, after);
  const show = (page, pages) => {
    at = page;
    const text = `Page ${page} of ${pages}`;
    if (place.textContent !== text) place.textContent = text;
    before.disabled = page <= 1;
    after.disabled = page >= pages;
    node.hidden = pages <= 1;
  };
  return { node, show };
}
