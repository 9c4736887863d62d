// The rows of a page as a table. Rows that are as before stay the same elements, so that focus and selection stay.

import { ROOT } from "../live.js";
import { written } from "./api.js";
import { element } from "./fields.js";

export class Table {
  constructor(place, description, { sort, edit, remove }) {
    this.description = description;
    this.columns = description.attributes.filter((attribute) => !attribute.hidden);
    this.edit = edit;
    this.remove = remove;
    this.known = new Map();
    this.head = element("tr", {}, ...this.columns.map((column) => this.#heading(column, sort)),
      element("th", { scope: "col" }, element("span", { class: "unseen" }, "Actions")));
    this.body = element("tbody");
    place.replaceChildren(element("thead", {}, this.head), this.body);
  }

  show(rows, sort) {
    this.columns.forEach((column, index) => {
      const direction = sort === column.name ? "ascending" : sort === `-${column.name}` ? "descending" : "none";
      this.head.children[index].setAttribute("aria-sort", direction);
    });
    const shown = new Map();
    rows.forEach((row, index) => {
      const key = String(row[this.description.key]);
      const text = written(row);
      const before = this.known.get(key);
      const line = before?.text === text ? before.line : this.#line(row, key);
      shown.set(key, { text, line });
      if (this.body.children[index] !== line) {
        this.body.insertBefore(line, this.body.children[index] ?? null);
      }
    });
    while (this.body.children.length > rows.length) {
      this.body.lastChild.remove();
    }
    this.known = shown;
  }

  #heading(column, sort) {
    const numeric = NUMERIC.has(column.kind) && !column.list ? "number" : "";
    if (column.kind === "json" || column.list) {
      return element("th", { scope: "col" }, column.name);
    }
    const button = element("button", { type: "button", class: "sort" }, column.name);
    button.addEventListener("click", () => sort(column.name));
    return element("th", { scope: "col", class: numeric }, button);
  }

  #line(row, key) {
    const label = String(row[this.description.label] ?? key);
    const change = element("button", { type: "button", class: "quiet small", "data-sign": "✎" }, "Edit", unseen(` ${label}`));
    const remove = element("button", { type: "button", class: "quiet small", "data-sign": "✕" }, "Delete", unseen(` ${label}`));
    change.addEventListener("click", () => this.edit(row));
    remove.addEventListener("click", () => this.remove(row, label));
    const cells = this.columns.map((column) => cell(column, row));
    return element("tr", { "data-key": key }, ...cells, element("td", { class: "act" }, change, remove));
  }
}

const NUMERIC = new Set(["integer", "float", "decimal"]);
const unseen = (text) => element("span", { class: "unseen" }, text);

function cell(column, row) {
  const value = row[column.name];
  if (value === null || value === undefined) {
    return element("td", { class: "none" }, "–");
  }
  if (column.reference !== undefined) {
    return element("td", {}, link(column.reference, row, value));
  }
  if (typeof value === "object") {
    const plain = Array.isArray(value) && value.every((item) => typeof item !== "object");
    const text = plain ? value.join(", ") : written(value);
    return element("td", { class: plain ? "" : "mono", title: text }, element("span", { class: "cut" }, text));
  }
  if (column.kind === "datetime") {
    return element("td", { title: value, class: "when" }, value.slice(0, 19).replace("T", " "));
  }
  if (column.kind === "time") {
    return element("td", { title: value }, value.replace(/\.0+$/, ""));
  }
  if (column.kind === "uuid") {
    return element("td", { title: value, class: "mono" }, `${value.slice(0, 8)}…${value.slice(-4)}`);
  }
  const text = String(value);
  const numeric = NUMERIC.has(column.kind);
  return element("td", numeric ? { class: "number" } : { title: text }, numeric ? text : element("span", { class: "cut" }, text));
}

// A row that is referred to, by the name that people know it by.
function link({ model, entity, key, relation, label }, row, value) {
  const expanded = row[relation];
  const query = new URLSearchParams({ entity, q: `${key}__eq=${encodeURIComponent(value)}` });
  const text = expanded?.[label] ?? value;
  return element("a", { href: `${ROOT}admin/models/${encodeURIComponent(model)}/data?${query}`, title: String(value) },
    element("span", { class: "cut" }, String(text)));
}
