// /docs: Swagger UI on the document of the daemon, following its generations.

import { DOCUMENT, followDocument } from "./docs-refresh.js";

// Swagger UI has dark colours, and shows them when it is told to.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const recolor = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", recolor);
recolor();

// Not specActions.download: its loading screen would close what is open and drop what is typed.
async function showNewDocument(ui) {
  const response = await fetch(DOCUMENT, { cache: "no-store" });
  if (!response.ok) {
    throw new Error(`openapi.json answered ${response.status}`);
  }
  const text = await response.text();
  keepPlace();
  ui.specActions.updateSpec(text);
}

const FIELDS = "input, textarea, select";
const SETTLED_MS = 3000;

// With a new document Swagger UI makes the operations that are open anew. What was typed it keeps
// itself, but not where: the field that somebody is typing in gets the focus and the cursor back.
function keepPlace() {
  const field = document.activeElement;
  const around = field?.matches(FIELDS) ? field.closest("[id^=operations-]") : null;
  if (!around) {
    return;
  }
  const number = [...around.querySelectorAll(FIELDS)].indexOf(field);
  const { selectionStart, selectionEnd } = field;
  const top = field.getBoundingClientRect().top;
  const observer = new MutationObserver(() => {
    const again = document.getElementById(around.id)?.querySelectorAll(FIELDS)[number];
    if (!again || again === field || document.activeElement !== document.body) {
      return;
    }
    again.focus({ preventScroll: true });
    if (selectionStart !== null && again.setSelectionRange) {
      again.setSelectionRange(selectionStart, selectionEnd);
    }
    window.scrollBy(0, again.getBoundingClientRect().top - top);
  });
  observer.observe(document.getElementById("docs"), { childList: true, subtree: true });
  window.setTimeout(() => observer.disconnect(), SETTLED_MS);
}

let ui = null;
await followDocument(() => showNewDocument(ui));
ui = window.SwaggerUIBundle({
  url: DOCUMENT,
  dom_id: "#docs",
  deepLinking: true,
  docExpansion: "list",
  filter: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
  validatorUrl: null,
});
