// Requests to the models' own API: JSON that loses no digit, problems as errors, a key where one is asked for.

import { ROOT } from "../live.js";

const KEY = "watcherd-api-key";

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `The daemon answered ${status}.`);
    this.status = status;
    // By the member of the body that they are about; what is about none of them is under "".
    this.findings = {};
    for (const { pointer, message } of body.errors ?? []) {
      const name = (pointer.split("/")[1] ?? "").replaceAll("~1", "/").replaceAll("~0", "~");
      this.findings[name] = [this.findings[name], message].filter(Boolean).join("; ");
    }
  }
}

export const address = (path) => new URL(`${ROOT}${path}`, document.baseURI);

export function keepKey(key) {
  window.sessionStorage.setItem(KEY, key);
}

export const hasKey = () => window.sessionStorage.getItem(KEY) !== null;

export async function request(method, url, { body, match } = {}) {
  const headers = {};
  const key = window.sessionStorage.getItem(KEY);
  if (key !== null) {
    headers["X-API-Key"] = key;
  }
  if (match !== undefined) {
    headers["If-Match"] = match;
  }
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(url, { method, headers, cache: "no-store", body: body && written(body) });
  } catch {
    throw new Problem(0, { detail: "The daemon does not answer." });
  }
  const text = await response.text();
  const value = text === "" ? null : read(text);
  if (!response.ok) {
    throw new Problem(response.status, value ?? {});
  }
  return { value, etag: response.headers.get("ETag") };
}

// JSON as a value. Integers have 64 bits here, and 53 in a script: beyond those they are BigInts.
export function read(text) {
  return JSON.parse(text, (_name, value, context) => {
    const exact = typeof value !== "number" || Number.isSafeInteger(value) || !/^-?\d+$/.test(context?.source ?? "");
    return exact ? value : BigInt(context.source);
  });
}

// A value as JSON, with every digit of its integers.
export function written(value, indent) {
  return JSON.stringify(value, (_name, item) => (typeof item === "bigint" ? JSON.rawJSON(String(item)) : item), indent);
}
