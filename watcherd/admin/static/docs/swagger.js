// /docs: Swagger UI on the document of the daemon, following its generations.

import { DOCUMENT, followDocument } from "./docs-refresh.js";

// Not specActions.download: its loading screen would close what is open and drop what is typed.
async function showNewDocument(ui) {
  const response = await fetch(DOCUMENT, { cache: "no-store" });
  if (!response.ok) {
    throw new Error(`openapi.json answered ${response.status}`);
  }
  ui.specActions.updateSpec(await response.text());
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
