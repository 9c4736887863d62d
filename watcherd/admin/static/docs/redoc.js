// /redoc: Redoc on the document of the daemon, following its generations.

import { DOCUMENT, followDocument } from "./docs-refresh.js";

// Redoc cannot exchange its document. A reload keeps the place (it is in the address) and leaves
// nothing of the old document in memory; a search that is being typed is waited for.
async function showNewDocument() {
  const field = document.activeElement;
  if (field instanceof HTMLInputElement && field.value !== "") {
    throw new Error("a search is being typed");
  }
  window.location.reload();
}

await followDocument(showNewDocument);
window.Redoc.init(DOCUMENT, { hideDownloadButton: false, expandResponses: "200,201" }, document.getElementById("docs"));
