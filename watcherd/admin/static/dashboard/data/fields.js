// Inputs for the values of attributes: which element, what a value looks like in it, what its text means.

import { address, read, request, written } from "./api.js";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (attribute === "class") {
      made.className = value;
    } else if (attribute in made && typeof value !== "string") {
      made[attribute] = value;
    } else {
      made.setAttribute(attribute, value);
    }
  }
  made.append(...children);
  return made;
}

const NUMBERS = new Set(["integer", "float"]);
const BY_LINES = (attribute) => attribute.list && attribute.kind !== "json";

// -- text and value ----------------------------------------------------------------------------------

// A value as it stands in an input.
export function textOf(attribute, value) {
  if (value === null || value === undefined) {
    return "";
  }
  if (BY_LINES(attribute)) {
    return value.join("\n");
  }
  if (attribute.list || attribute.kind === "json") {
    return written(value, 2);
  }
  if (attribute.kind === "datetime" || attribute.kind === "time") {
    return moment(value.replace(/Z$/, ""));
  }
  return String(value);
}

// Inputs know milliseconds at most. What is not touched is not sent, so nothing is lost by that.
const moment = (text) => text.replace(/(\.\d{3})\d*$/, "$1").replace(/\.0+$/, "");

// What a text means; an empty one is nothing, or an empty text where there must be one.
export function valueOf(attribute, text) {
  if (BY_LINES(attribute)) {
    return text.split("\n").filter((line) => line !== "").map((line) => one(attribute, line));
  }
  if (text === "") {
    return attribute.nullable ? null : "";
  }
  if (attribute.list || attribute.kind === "json") {
    return read(text);
  }
  return one(attribute, text);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// A value that no PATCH makes: a member that is null means there that it goes.
export class NotByPatch extends Error {
  constructor(name) {
    super(`“${name}” cannot become null in an edit`);
  }
}

// What makes the JSON value `after` of `before` in a PATCH, which merges objects: what is gone from one is null there.
export function patchOf(before, after) {
  if (!isObject(after)) {
    return after;
  }
  const known = isObject(before) ? before : {};
  const patch = {};
  for (const name of Object.keys(known).filter((gone) => !Object.hasOwn(after, gone))) {
    patch[name] = null;
  }
  for (const [name, value] of Object.entries(after)) {
    if (value !== null) {
      patch[name] = patchOf(known[name], value);
    } else if (known[name] !== null) {
      throw new NotByPatch(name);
    }
  }
  return patch;
}

function one({ kind }, text) {
  if (kind === "boolean") {
    return text === "true" ? true : text === "false" ? false : text;
  }
  if (kind === "integer") {
    return /^-?\d+$/.test(text) ? read(text.replace(/^(-?)0+(?=\d)/, "$1")) : text;
  }
  if (kind === "float") {
    return Number.isFinite(Number(text)) ? Number(text) : text;
  }
  return kind === "datetime" && !/(Z|[+-]\d\d:\d\d)$/.test(text) ? `${text}Z` : text;
}

// -- inputs --------------------------------------------------------------------------------------------

const TYPES = { date: "date", time: "time", datetime: "datetime-local", email: "email", url: "url" };

// An input for one value; `blank` is what an empty choice is called.
export function input(attribute, { id, blank = "–", hidden = false, plain = false } = {}) {
  const { kind, members, list, longest, example } = attribute;
  if (!plain && (list || kind === "json" || kind === "text")) {
    return element("textarea", { id, rows: kind === "json" ? "5" : "3", spellcheck: "false" });
  }
  if (!list && (members.length > 0 || kind === "boolean")) {
    const choices = members.length > 0 ? members : ["true", "false"];
    return element("select", { id }, new Option(blank, ""), ...choices.map((choice) => new Option(choice, choice)));
  }
  const attributes = { id, type: "text", autocomplete: "off" };
  if (hidden) {
    Object.assign(attributes, { type: "password", autocomplete: "new-password" });
  } else if (!list && kind in TYPES) {
    attributes.type = TYPES[kind];
    if (kind === "time" || kind === "datetime") {
      attributes.step = "0.001";
    }
  } else if (!list && NUMBERS.has(kind)) {
    Object.assign(attributes, { type: "number", step: kind === "integer" ? "1" : "any" });
  } else if (kind === "decimal") {
    attributes.inputmode = "decimal";
  }
  if (longest !== null && attributes.type === "text") {
    attributes.maxlength = String(longest);
  }
  if (example !== null && typeof example !== "object") {
    attributes.placeholder = `such as ${example}`;
  }
  const made = element("input", attributes);
  if (attribute.reference !== undefined) {
    suggest(made, attribute.reference);
  }
  return made;
}

const SUGGESTED = 20;
const TYPING_MS = 150;

// Offers the keys of rows whose label holds what is typed, with the label beside.
function suggest(field, { base, key, label, searchable }) {
  const list = element("datalist", { id: `${field.id}-choices` });
  field.setAttribute("list", list.id);
  field.after(list);
  let timer = null;
  let asked = null;
  const offer = (text, options) => {
    if (asked === text) {
      list.replaceChildren(...options);
    }
  };
  const look = async () => {
    const text = field.value;
    if (asked === text || [...list.options].some((option) => option.value === text)) {
      return;
    }
    asked = text;
    const url = address(base);
    url.searchParams.set("limit", String(SUGGESTED));
    url.searchParams.set("count", "none");
    url.searchParams.set("fields", [...new Set([key, label])].join(","));
    if (searchable && text !== "") {
      url.searchParams.set(`${label}__icontains`, text);
    }
    try {
      const { value } = await request("GET", url);
      offer(text, value.items.map((row) => new Option(String(row[label] ?? ""), String(row[key]))));
    } catch {
      offer(text, []); // a suggestion is a help, and what is typed is sent all the same
    }
  };
  field.addEventListener("focus", look);
  field.addEventListener("input", () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(look, TYPING_MS);
  });
  field.choices = list;
}
