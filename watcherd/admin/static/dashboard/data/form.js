// The form of one row, new or known, in a dialog. Writes with the ETag that was read, so that nobody
// overwrites what he has not seen; findings of the daemon stand at their fields.

import { address, request } from "./api.js";
import { NotByPatch, element, input, patchOf, textOf, valueOf } from "./fields.js";

export class RowForm {
  // `saved` is called when a row is written, `lost` with what became of one whose form is closed already.
  constructor(dialog, saved, lost) {
    this.dialog = dialog;
    this.saved = saved;
    this.lost = lost;
    this.form = dialog.querySelector("form");
    this.title = dialog.querySelector("h2");
    this.place = dialog.querySelector(".fields");
    this.trouble = dialog.querySelector(".problem");
    this.notice = dialog.querySelector(".notice");
    this.save = dialog.querySelector("button[value=save]");
    this.turn = 0; // grows with each row that is shown: answers to an earlier one are not about this one
    this.form.addEventListener("submit", (event) => this.#submit(event));
  }

  get open() {
    return this.dialog.open;
  }

  create(description) {
    this.#begin(description, `New ${description.entity}`, null, null);
  }

  // Nothing happens where another row is wanted before this one is there: `wanted` says whether this one still is.
  async change(description, row, wanted) {
    const url = address(`${description.base}/${encodeURIComponent(row[description.key])}`);
    const { value, etag } = await request("GET", url);
    if (!wanted()) {
      return;
    }
    const title = `Edit ${description.entity}: ${value[description.label] ?? value[description.key]}`;
    this.#begin(description, title, value, { url, etag, row, value });
  }

  // Says that the model is another than that which the form was made for.
  warn(text) {
    this.notice.textContent = text;
    this.notice.hidden = false;
  }

  #begin(description, title, row, known) {
    this.turn += 1;
    this.save.disabled = false;
    this.description = description;
    this.known = known;
    this.title.textContent = title;
    this.#say("");
    this.notice.hidden = true;
    this.fields = new Map();
    this.place.replaceChildren();
    for (const attribute of description.attributes) {
      const writable = attribute.given && !(known !== null && attribute.key);
      if (writable || (known !== null && !attribute.hidden)) {
        this.#field(attribute, writable, row?.[attribute.name]);
      }
    }
    this.dialog.showModal();
    this.place.querySelector("input:not(:disabled), select:not(:disabled), textarea:not(:disabled)")?.focus();
  }

  #field(attribute, writable, value) {
    const id = `field-${attribute.name}`;
    const blank = this.known === null && attribute.default !== null ? `default: ${attribute.default}` : "–";
    const field = input(attribute, { id, blank, hidden: attribute.hidden });
    const text = textOf(attribute, value);
    field.value = text;
    field.disabled = !writable;
    field.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
    const error = element("p", { class: "error", id: `${id}-error` });
    const hint = element("p", { class: "hint", id: `${id}-hint` }, hints(attribute, this.known?.row));
    const label = element("label", { for: id }, attribute.name);
    if (attribute.required) {
      label.append(element("span", { class: "why" }, " required"));
    }
    this.place.append(element("div", { class: "field" }, label, field, ...(field.choices ? [field.choices] : []), hint, error));
    if (writable) {
      this.fields.set(attribute.name, { attribute, field, error, before: field.value });
    }
  }

  async #submit(event) {
    if (event.submitter?.value !== "save") {
      return;
    }
    event.preventDefault();
    this.#say("");
    const write = this.#write();
    if (write === null) {
      return;
    }
    this.save.disabled = true;
    const turn = this.turn;
    const shown = () => turn === this.turn && this.open;
    try {
      await this.#send(write);
      if (shown()) {
        this.dialog.close();
      }
      this.saved();
    } catch (problem) {
      if (!shown()) {
        this.lost(problem);
      } else if (problem.status === 412) {
        await this.#catchUp(shown);
      } else {
        this.#tell(problem);
      }
    } finally {
      if (turn === this.turn) {
        this.save.disabled = false;
      }
    }
  }

  async #send({ method, body }) {
    if (this.known === null) {
      await request(method, address(this.description.base), { body });
    } else if (Object.keys(body).length > 0) {
      await request(method, this.known.url, { body, match: this.known.etag });
    }
  }

  // What to send: of a new row what is not empty, of a known one what is different, or all of it where no PATCH
  // makes that. Null if it cannot be sent.
  #write() {
    const typed = {};
    const patch = {};
    let method = this.known === null ? "POST" : "PATCH";
    let valid = true;
    for (const [name, { attribute, field, error, before }] of this.fields) {
      if (field.value === (this.known === null ? "" : before) && !field.validity.badInput) {
        continue;
      }
      try {
        if (field.validity.badInput) {
          throw new SyntaxError(field.validationMessage);
        }
        typed[name] = valueOf(attribute, field.value);
        patch[name] = this.known === null ? typed[name] : patchOf(this.known.value[name], typed[name]);
      } catch (reason) {
        if (reason instanceof NotByPatch) {
          method = "PUT";
          continue;
        }
        mark(field, error, explained(reason, attribute));
        valid = false;
      }
    }
    if (!valid) {
      this.place.querySelector("[aria-invalid=true]")?.focus();
      return null;
    }
    return { method, body: method === "PUT" ? this.#whole(typed) : patch };
  }

  // The whole row as a PUT wants it: what was typed, and the rest as it was read. What is never shown stays as it is.
  #whole(typed) {
    const names = [...this.fields.keys()].filter((name) => Object.hasOwn(this.known.value, name));
    return { ...Object.fromEntries(names.map((name) => [name, this.known.value[name]])), ...typed };
  }

  // Somebody else has written the row: what was not touched here becomes what he wrote.
  async #catchUp(shown) {
    try {
      const { value, etag } = await request("GET", this.known.url);
      if (!shown()) {
        return;
      }
      Object.assign(this.known, { etag, value });
      for (const [name, one] of this.fields) {
        const text = textOf(one.attribute, value[name]);
        const touched = one.field.value !== one.before;
        if (!touched) {
          one.field.value = text;
        }
        one.before = touched ? text : one.field.value; // an input may hold a text otherwise than it was given
      }
      this.#say("Somebody else has changed this row meanwhile. What you had not touched is up to date now; look at it, and save again.");
    } catch (problem) {
      if (shown()) {
        this.#tell(problem);
      }
    }
  }

  #tell(problem) {
    const rest = [];
    for (const [name, message] of Object.entries(problem.findings ?? {})) {
      const known = this.fields.get(name);
      if (known) {
        mark(known.field, known.error, message);
      } else {
        rest.push(name === "" ? message : `${name}: ${message}`);
      }
    }
    const shownAtFields = Object.keys(problem.findings ?? {}).length > rest.length;
    this.#say(rest.length > 0 || !shownAtFields ? [problem.message, ...rest].join("\n") : "", false);
    this.place.querySelector("[aria-invalid=true]")?.focus();
  }

  #say(text, clear = true) {
    this.trouble.textContent = text;
    this.trouble.hidden = text === "";
    if (clear) {
      for (const { field, error } of this.fields?.values() ?? []) {
        field.removeAttribute("aria-invalid");
        error.textContent = "";
      }
    }
  }
}

function mark(field, error, message) {
  field.setAttribute("aria-invalid", "true");
  error.textContent = message;
}

function explained(reason, attribute) {
  return reason instanceof SyntaxError && attribute.kind === "json" ? `This is not JSON: ${reason.message}` : reason.message;
}

function hints(attribute, row) {
  const found = [attribute.description];
  if (attribute.kind === "datetime") {
    found.push("in UTC");
  }
  if (attribute.list && attribute.kind !== "json") {
    found.push("one a line");
  }
  if (attribute.reference !== undefined) {
    const { key, entity, relation, label } = attribute.reference;
    const now = row?.[relation]?.[label];
    found.push(now === undefined ? `the ${key} of ${entity}` : `the ${key} of ${entity}, now of ${now}`);
  }
  if (attribute.hidden) {
    found.push("never shown; empty leaves it as it is");
  }
  if (!row && attribute.default !== null && attribute.members.length === 0 && attribute.kind !== "boolean") {
    found.push(`default: ${typeof attribute.default === "object" ? JSON.stringify(attribute.default) : attribute.default}`);
  }
  return found.filter(Boolean).join(" · ");
}
