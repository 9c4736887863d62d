// Keeps a page at what is true: hears the event stream, and lets the page ask for itself again when
// something has happened; asks every other second for the figures that change without an event.
//
// A page that nobody sees does nothing and holds no connection: browsers open few to one host, and
// an operator may have many tabs. When it is seen again it catches up.

export const ROOT = document.documentElement.dataset.root;

const EVENTS = [
  "model.loaded", "model.swapped", "model.unloaded", "model.rejected", "model.rolled_back", "model.unchanged",
  "model.drained", "model.drain_timeout",
  "reload.finished", "reload.failed", "schema.drifted", "schema.restored", "schema.rows_left",
  "watch.started", "watch.degraded", "watch.recovered", "watch.restarted", "database.degraded", "database.recovered", "daemon.starting", "daemon.started",
  "task.failed",
  "reset",
];
const GATHER_MS = 40;
const PULSE_MS = 2000;
const AGO_MS = 5000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];

const connection = document.getElementById("connection");
const away = document.querySelector("main.narrow") !== null;
let stream = null;
let failures = 0;
let missed = false;
let gathering = null;
let retrying = null;

// -- events ----------------------------------------------------------------------------------------

// Tells the page, once for all that happens together.
function tell() {
  gathering ??= window.setTimeout(() => {
    gathering = null;
    if (!document.hidden) { // else it has missed this, and asks when it is seen again
      document.body.dispatchEvent(new CustomEvent("world", { bubbles: true }));
    }
  }, GATHER_MS);
}

function listen() {
  if (stream !== null || document.hidden) {
    return;
  }
  window.clearTimeout(retrying);
  stream = new EventSource(`${ROOT}admin/events`);
  stream.addEventListener("open", () => {
    failures = 0;
    say("live", "Live");
    if (missed) {
      missed = false;
      tell();
    }
  });
  for (const name of EVENTS) {
    stream.addEventListener(name, tell);
  }
  // An EventSource gives up for good when the server refuses it, as it does while it stops.
  stream.addEventListener("error", () => {
    hangUp();
    say("away", "Reconnecting");
    retrying = window.setTimeout(listen, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
  });
}

function hangUp() {
  missed = true;
  stream?.close();
  stream = null;
  window.clearTimeout(retrying);
}

function say(state, text) {
  if (connection.dataset.state !== state) {
    connection.dataset.state = state;
    connection.textContent = text;
  }
}

// -- figures ---------------------------------------------------------------------------------------

const perSecond = (rate) => (rate === 0 ? "0" : rate.toFixed(rate < 100 ? 1 : 0));

function write(element, text) {
  if (element !== null && element.textContent !== text) {
    element.textContent = text;
  }
}

function showPulse({ models, rates, in_flight: inFlight, generation }) {
  const none = [0, 0, 0, 0, 0];
  for (const row of document.querySelectorAll("[data-model]")) {
    const [busy, draining, requests, refused, failed] = models[row.dataset.model] ?? none;
    write(row.querySelector("[data-stat=in_flight]"), String(busy));
    write(row.querySelector("[data-stat=draining]"), String(draining));
    if (rates !== null) {
      const errors = row.querySelector("[data-stat=errors]");
      write(row.querySelector("[data-stat=requests]"), perSecond(requests));
      write(errors, perSecond(refused + failed));
      if (errors !== null) {
        errors.title = `${perSecond(refused)}/s answered 4xx, ${perSecond(failed)}/s answered 5xx`;
        errors.classList.toggle("failing", failed > 0);
      }
    }
  }
  write(document.querySelector("[data-total=in_flight]"), String(inFlight));
  write(document.querySelector("[data-total=generation]"), String(generation));
  if (rates !== null) {
    write(document.querySelector("[data-total=requests]"), perSecond(rates[0]));
    write(document.querySelector("[data-total=errors]"), perSecond(rates[1] + rates[2]));
  }
}

async function pulse() {
  if (!document.hidden && stream !== null) {
    try {
      const response = await fetch(`${ROOT}admin/pulse`, { cache: "no-store" });
      if (response.status === 401 || response.status === 403) {
        window.location.reload(); // the session has ended
        return;
      }
      if (response.ok) {
        const figures = await response.json();
        if (figures.version !== document.documentElement.dataset.version) {
          window.location.reload(); // another version of the daemon has other scripts
          return;
        }
        showPulse(figures);
      }
    } catch {
      // Nobody answers: the stream says so, and goes on trying.
    }
  }
  window.setTimeout(pulse, PULSE_MS);
}

// -- times -----------------------------------------------------------------------------------------

const STEPS = [[60, "second"], [60, "minute"], [24, "hour"], [Infinity, "day"]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "narrow" });

function ago(moment) {
  let amount = Math.max(0, (Date.now() - Date.parse(moment)) / 1000);
  if (amount < 2) {
    return "just now";
  }
  for (const [size, unit] of STEPS) {
    if (amount < size) {
      return relative.format(-Math.floor(amount), unit);
    }
    amount /= size;
  }
  return moment;
}

export function sayTimes() {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    write(element, ago(element.dateTime));
  }
}

// -- the page --------------------------------------------------------------------------------------

// A daemon that is about to stop answers with a problem: the page stays as it is until it is back.
document.addEventListener("htmx:before:response", (event) => {
  const { raw, status, headers } = event.detail.ctx.response;
  if (new URL(raw.url).pathname.endsWith("/admin/login")) {
    window.location.reload();
    event.preventDefault();
  } else if (status >= 500 || !(headers.get("Content-Type") ?? "").startsWith("text/html")) {
    missed = true;
    event.preventDefault();
  }
});
document.addEventListener("htmx:after:swap", sayTimes);
document.addEventListener("htmx:error", () => { missed = true; });

// The filter of the list: the address says what is chosen, so that the page can be kept and sent.
let typing = null;
document.addEventListener("input", (event) => {
  const form = event.target.closest?.("form.filter");
  if (form === null || form === undefined || !event.target.matches("[data-filter]")) {
    return;
  }
  window.clearTimeout(typing);
  typing = window.setTimeout(() => {
    const chosen = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
    const address = `${window.location.pathname}${chosen.size > 0 ? `?${chosen}` : ""}`;
    window.history.replaceState(null, "", address);
    const main = document.getElementById("live");
    main.setAttribute("hx-get", address);
    window.htmx.process(main);
    tell();
  }, 120);
});

if (!away) {
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      hangUp();
    } else {
      listen();
    }
  });
  window.addEventListener("pagehide", hangUp);
  window.addEventListener("pageshow", () => listen());
  listen();
  window.setTimeout(pulse, PULSE_MS);
  window.setInterval(() => { if (!document.hidden) { sayTimes(); } }, AGO_MS);
} else {
  connection.hidden = true;
}
sayTimes();
