// Keeps a documentation page at the generation that is served: asks for the ETag of the document,
// which changes exactly when the document does, and says so when it did.

// The document of all that is served, or of the model that the page's address names.
const model = new URLSearchParams(window.location.search).get("model");
const query = model === null ? "" : `?model=${encodeURIComponent(model)}`;
export const DOCUMENT = new URL(`openapi.json${query}`, document.baseURI).href;
if (model !== null) {
  document.title = `${model}: the API`;
  for (const link of document.querySelectorAll("#bar a[data-keep]")) {
    link.search = query;
  }
}

const VISIBLE_MS = 1000;
const HIDDEN_MS = 10000;

// Resolves with the first ETag, so that the page loads a document at least as new as that; from
// then on calls `changed` after each change.
export async function followDocument(changed) {
  let seen = await currentTag();
  const look = async () => {
    const tag = await currentTag();
    document.getElementById("away").hidden = tag !== null;
    if (tag !== null && tag !== seen) {
      try {
        await changed();
        seen = tag;
      } catch (error) {
        console.warn("The new document could not be shown; trying again.", error);
      }
    }
    window.setTimeout(look, document.hidden ? HIDDEN_MS : VISIBLE_MS);
  };
  window.setTimeout(look, VISIBLE_MS);
}

// The ETag of the document, or null while nobody answers (a restart of the daemon).
async function currentTag() {
  try {
    const response = await fetch(DOCUMENT, { method: "HEAD", cache: "no-store" });
    return response.ok ? response.headers.get("ETag") : null;
  } catch {
    return null;
  }
}
