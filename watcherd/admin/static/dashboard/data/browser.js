// The data browser: the rows of one entity, through the model's own API. What is chosen stands in the
// address; rows that others write appear by themselves.

import { confirmThat } from "../actions.js";
import { address, hasKey, keepKey, request } from "./api.js";
import { Filters } from "./filters.js";
import { RowForm } from "./form.js";
import { Table } from "./table.js";

const PAGE = 25;
const NEWS_MS = 250;
const RETRY_MS = 5000;

const place = document.getElementById("browser");
const part = (name) => place.querySelector(`[data-part=${name}]`);
const form = new RowForm(document.getElementById("row"), () => refresh(), complain);

let described = "";
let description;
let table;
let filters;
let sort = "";
let pages; // the cursors of the pages up to the one that is shown
let asked; // the same up to the one that is asked for; `pages` themselves where that is there
let next = null; // the cursor of the page behind the one that is shown
let reading = 0;
let opening = 0; // the dialog that was asked for last: the one of an earlier click comes no more
let stream = null;
let news = null;
let waiting = false;

// -- what is chosen --------------------------------------------------------------------------------------

function build() {
  described = place.dataset.description;
  description = JSON.parse(described);
  table = new Table(part("rows"), description, { sort: sortBy, edit, remove });
  filters = new Filters(part("filters"), description.attributes, restart);
  const known = new Set(description.attributes.flatMap(
    ({ name, operators }) => operators.flatMap((one) => (one === "eq" ? [name, `${name}__eq`] : [`${name}__${one}`])),
  ));
  const names = new Set(description.attributes.map(({ name }) => name));
  const given = [...new URLSearchParams(new URLSearchParams(window.location.search).get("q") ?? "")];
  sort = given.find(([name, value]) => name === "sort" && names.has(value.replace(/^-/, "")))?.[1] ?? "";
  filters.parameters = given.filter(([name]) => known.has(name));
  begin();
  listen();
}

function chosen() {
  return new URLSearchParams([...filters.parameters, ...(sort === "" ? [] : [["sort", sort]])]);
}

// Cursors lead on in what was chosen before alone.
function begin() {
  pages = asked = [null];
  next = null;
}

function restart() {
  begin();
  const address_ = new URL(window.location.href);
  address_.searchParams.set("q", chosen().toString());
  if (chosen().size === 0) {
    address_.searchParams.delete("q");
  }
  window.history.replaceState(null, "", address_);
  refresh();
}

function sortBy(name) {
  sort = sort === name ? `-${name}` : sort === `-${name}` ? "" : name;
  restart();
}

// -- rows -----------------------------------------------------------------------------------------------

// Asks for the page that cursors lead to. It counts as the one that is shown only when it is: what is asked
// again meanwhile asks for the same page, and of one that cannot be had the cursors are forgotten.
async function refresh(to = asked) {
  asked = to;
  if (form.open) {
    waiting = true;
    return;
  }
  waiting = false;
  const number = ++reading;
  allowTurning();
  const url = address(description.base);
  url.search = chosen().toString();
  url.searchParams.set("limit", String(PAGE));
  const relations = description.attributes.map((one) => one.reference?.relation).filter(Boolean);
  if (relations.length > 0) {
    url.searchParams.set("expand", relations.join(","));
  }
  if (to.at(-1) !== null) {
    url.searchParams.set("cursor", to.at(-1));
  }
  try {
    const { value } = await request("GET", url);
    if (number === reading) {
      pages = to;
      show(value);
    }
  } catch (problem) {
    if (number === reading) {
      asked = pages;
      allowTurning();
      complain(problem);
    }
  }
}

function show({ items, total, next: cursor }) {
  next = cursor;
  part("key").hidden = true;
  part("problem").hidden = true;
  table.show(items, sort);
  part("table").hidden = items.length === 0;
  part("nothing").hidden = items.length > 0;
  part("nothing-text").textContent = filters.parameters.length > 0
    ? "No row matches these filters." : `There is no ${description.entity} yet.`;
  const before = (pages.length - 1) * PAGE;
  part("count").textContent = total === 0 ? "" : `${before + 1}–${before + items.length} of ${total}`;
  allowTurning();
  for (const link of place.querySelectorAll("[data-format]")) {
    const url = address(`${description.base}/-/export`);
    url.search = chosen().toString();
    url.searchParams.set("format", link.dataset.format);
    link.href = url;
    link.hidden = hasKey() || items.length === 0;
  }
}

// From the page that is shown one turns to its neighbours. On the way to one of them a click leads to the same
// ones; the buttons say so and keep the focus, which a button that is disabled loses.
function allowTurning() {
  part("previous").disabled = pages.length === 1;
  part("next").disabled = next === null;
  for (const name of ["previous", "next"]) {
    part(name).ariaDisabled = String(asked !== pages);
  }
}

function complain(problem) {
  part("problem").textContent = problem.message;
  part("problem").hidden = false;
  part("key").hidden = problem.status !== 401 && problem.status !== 403;
}

// -- writing ---------------------------------------------------------------------------------------------

function create() {
  opening += 1;
  form.create(description);
}

async function edit(row) {
  const number = ++opening;
  const wanted = () => number === opening;
  try {
    await form.change(description, row, wanted);
  } catch (problem) {
    if (wanted()) {
      complain(problem);
      refresh();
    }
  }
}

async function remove(row, label) {
  const url = address(`${description.base}/${encodeURIComponent(row[description.key])}`);
  const number = ++opening;
  let etag;
  try {
    ({ etag } = await request("GET", url));
  } catch (problem) {
    if (number === opening) {
      complain(problem);
      refresh();
    }
    return;
  }
  if (number !== opening) {
    return;
  }
  confirmThat({
    title: `Delete ${description.entity} ${label}?`,
    text: "The row is gone for good, and with it what the model says is deleted with it.",
    danger: "Delete",
  }, async () => {
    await request("DELETE", url, { match: etag });
    refresh();
  });
}

// -- what others do --------------------------------------------------------------------------------------

function listen() {
  stream?.close();
  stream = null;
  if (document.hidden || hasKey()) {
    return; // a stream cannot send a key
  }
  stream = new EventSource(address(`${description.base}/-/events`));
  for (const name of ["created", "updated", "deleted", "reset"]) {
    stream.addEventListener(name, soon);
  }
  const own = stream;
  stream.addEventListener("error", () => {
    if (own.readyState === EventSource.CLOSED && own === stream) {
      window.setTimeout(() => { if (own === stream) { listen(); } }, RETRY_MS);
    }
  });
}

function soon() {
  news ??= window.setTimeout(() => {
    news = null;
    refresh();
  }, NEWS_MS);
}

// The page has asked for itself: the model may be another. A form that is open stays as it is.
document.addEventListener("htmx:after:swap", () => {
  if (place.isConnected && place.dataset.description !== described) {
    if (form.open) {
      form.warn("The model has changed while you were typing. What you typed is kept; saving may be refused.");
      return;
    }
    build();
    refresh();
  }
});

// -- the page ----------------------------------------------------------------------------------------------

form.dialog.addEventListener("close", () => {
  if (place.dataset.description !== described) {
    build();
    waiting = true;
  }
  if (waiting) {
    refresh();
  }
});
part("new").addEventListener("click", create);
part("previous").addEventListener("click", () => refresh(pages.slice(0, -1)));
part("next").addEventListener("click", () => refresh([...pages, next]));
part("key").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(new FormData(event.target).get("key").trim());
  listen();
  refresh();
});
document.addEventListener("visibilitychange", () => {
  listen();
  if (!document.hidden) {
    refresh();
  }
});
window.addEventListener("pagehide", () => stream?.close());
build();
refresh();
