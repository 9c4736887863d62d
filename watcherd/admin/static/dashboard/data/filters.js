// The filters of a list: one line each, as attribute, operator and value; what they say as query parameters.

import { element, input, textOf, valueOf } from "./fields.js";

const WORDS = {
  eq: "is", ne: "is not", gt: "is greater than", gte: "is at least", lt: "is less than", lte: "is at most",
  in: "is one of", not_in: "is none of", contains: "contains", icontains: "contains, in any case",
  startswith: "begins with", endswith: "ends with", isnull: "is empty",
};
const TYPING_MS = 250;

export class Filters {
  constructor(place, attributes, changed) {
    this.attributes = attributes.filter((attribute) => attribute.operators.length > 0);
    this.changed = changed;
    this.lines = element("div", { class: "lines" });
    const add = element("button", { type: "button", class: "quiet" }, "Add a filter");
    add.addEventListener("click", () => this.add().querySelector("select").focus());
    place.replaceChildren(this.lines, add);
    this.timer = null;
  }

  // As [parameter, value], those lines left out that say nothing yet.
  get parameters() {
    return [...this.lines.children].map((line) => line.parameter()).filter((one) => one !== null);
  }

  set parameters(given) {
    this.lines.replaceChildren();
    for (const [name, value] of given) {
      const at = name.lastIndexOf("__");
      const attribute = at < 0 ? name : name.slice(0, at);
      this.add(attribute, at < 0 ? "eq" : name.slice(at + 2), value);
    }
  }

  add(name = this.attributes[0].name, operator = null, value = "") {
    const number = this.lines.children.length + 1;
    const known = this.attributes.find((attribute) => attribute.name === name) ?? this.attributes[0];
    const which = element("select", { "aria-label": `Attribute of filter ${number}` },
      ...this.attributes.map((attribute) => new Option(attribute.name, attribute.name)));
    const how = element("select", { "aria-label": `Comparison of filter ${number}` });
    const what = element("span", { class: "what" });
    const remove = element("button", { type: "button", class: "quiet", "aria-label": `Remove filter ${number}` }, "✕");
    const line = element("div", { class: "line" }, which, how, what, remove);
    which.value = known.name;

    const attribute = () => this.attributes.find((one) => one.name === which.value);
    const refill = (chosen) => {
      how.replaceChildren(...attribute().operators.map((one) => new Option(WORDS[one] ?? one, one)));
      how.value = attribute().operators.includes(chosen) ? chosen : preferred(attribute());
      retype("");
    };
    const retype = (text) => {
      const field = how.value === "isnull"
        ? element("select", {}, new Option("true", "true"), new Option("false", "false"))
        : input({ ...attribute(), list: false, longest: null, example: null, ...(free(how.value) ? FREE : {}) }, {
          id: `filter-${number}-value`, plain: true, blank: "any",
        });
      field.setAttribute("aria-label", `Value of filter ${number}`);
      field.value = how.value === "isnull" ? text || "true" : text;
      what.replaceChildren(field, ...(field.choices ? [field.choices] : []));
    };
    line.parameter = () => {
      const field = what.firstChild;
      if (field.value === "") {
        return null;
      }
      const sent = attribute().kind === "datetime" && !free(how.value) && how.value !== "isnull"
        ? valueOf({ ...attribute(), list: false }, field.value) : field.value;
      return [`${which.value}__${how.value}`, sent];
    };
    which.addEventListener("change", () => { refill(null); this.changed(); });
    how.addEventListener("change", () => { retype(what.firstChild.value); this.changed(); });
    what.addEventListener("input", () => {
      window.clearTimeout(this.timer);
      this.timer = window.setTimeout(this.changed, TYPING_MS);
    });
    remove.addEventListener("click", () => { line.remove(); this.changed(); });
    refill(operator);
    retype(known.kind === "datetime" ? textOf({ ...known, list: false }, value) : value);
    this.lines.append(line);
    return line;
  }
}

// Where what is compared with need not be a value of the attribute: a part of it, or several.
const FREE = { kind: "string", members: [], reference: undefined };
const free = (operator) => !["eq", "ne", "gt", "gte", "lt", "lte"].includes(operator);
const preferred = ({ operators }) => ["icontains", "eq"].find((one) => operators.includes(one)) ?? operators[0];
