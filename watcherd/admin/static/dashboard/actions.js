// What buttons do: ask whether it is meant, send the request to the admin API, say what came of it.
// A button has data-url, data-method, data-title and data-text; perhaps data-body (JSON), and the
// word for the button that does it: data-go, or data-danger where it takes something away.

const dialog = document.getElementById("confirm");
const title = document.getElementById("confirm-title");
const text = document.getElementById("confirm-text");
const trouble = document.getElementById("confirm-problem");
const go = document.getElementById("confirm-go");
let run = null;
let asked = 0; // grows with each question: what comes of an earlier one is no answer to this one

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[data-action]");
  if (button) {
    const { url, method, body, title: question, text: why, danger, go: word } = button.dataset;
    confirmThat({ title: question, text: why, danger, word }, () => send(url, method, body));
  }
  const copy = event.target.closest?.("button[data-copy]");
  if (copy) {
    copyText(copy);
  }
});

// Asks, and does it when it is meant; what `doing` throws is said, and may be tried again.
export function confirmThat({ title: question, text: why, danger, word }, doing) {
  run = doing;
  title.textContent = question;
  text.textContent = why;
  trouble.hidden = true;
  go.textContent = danger ?? word ?? "Go on";
  go.className = danger === undefined ? "primary" : "danger";
  go.disabled = false;
  asked += 1;
  dialog.showModal();
}

dialog.querySelector("form").addEventListener("submit", async (event) => {
  if (event.submitter?.value !== "go") {
    return;
  }
  event.preventDefault();
  go.disabled = true;
  const number = asked;
  try {
    await run();
    if (number === asked) {
      dialog.close();
    }
  } catch (error) {
    if (number === asked) {
      error.again?.();
      trouble.textContent = error.message;
      trouble.hidden = false;
    }
  } finally {
    if (number === asked) {
      go.disabled = false;
    }
  }
});

async function send(url, method, body) {
  let response;
  try {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    response = await fetch(url, { method, headers, body });
  } catch {
    throw new Error("The daemon does not answer.");
  }
  if (response.ok) {
    return;
  }
  const problem = await response.json().catch(() => ({}));
  if (problem.dependants !== undefined) {
    const again = () => {
      run = () => send(`${url}?force=true`, method, body);
      go.textContent = "Unload all the same";
    };
    throw Object.assign(new Error(`${problem.detail}. Requests that need it will fail until it is back.`), { again });
  }
  const found = (problem.diagnostics ?? []).map((item) => `${item.line}:${item.column} ${item.code} ${item.message}`);
  throw new Error([problem.detail ?? `The daemon answered ${response.status}.`, ...found].join("\n"));
}

async function copyText(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  const word = button.firstChild;
  const before = word.nodeValue;
  word.nodeValue = "Copied";
  window.setTimeout(() => { word.nodeValue = before; }, 1500);
}
