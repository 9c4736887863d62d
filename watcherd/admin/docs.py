"""`/docs` and `/redoc`: pages that show the OpenAPI document, from one template and files in the package.

Owns the pages, their scripts and how browsers may keep them. No page loads anything from another
host, and none has an inline script, which the Content-Security-Policy enforces. The pages ask for
the ETag of `openapi.json` each second and show the new document when it has changed; `?model=` shows
one model alone. Does not own that document.

Addresses in the pages are relative, so that they also work below a path of a proxy.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_OWN_FILES = ("docs/", "dashboard/")

_DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",  # both pages make their styles as they go
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "worker-src": "blob:",  # Redoc's search
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
_PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in _DIRECTIVES.items()),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def docs_routes() -> list[BaseRoute]:
    """Make the routes `/docs`, `/redoc` and `/static/...`."""
    return [
        _page("docs", library="swagger-ui-5.35.0/swagger-ui-bundle.js", styles=["swagger-ui-5.35.0/swagger-ui.css"]),
        _page("redoc", library="redoc-2.5.4/redoc.standalone.js", styles=[]),
        Mount("/static", _PackagedFiles(directory=STATIC), name="static"),
    ]


def _page(name: str, *, library: str, styles: list[str]) -> Route:
    """The page `name`: with the files of the library that draws it, and the script of that name that starts it."""
    templates = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    content = templates.get_template("docs.html").render(page=name, library=library, styles=styles).encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'

    async def page(request: Request) -> Response:
        headers = {**_PAGE_HEADERS, "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="text/html", headers=headers)

    return Route(f"/{name}", page, name=name, include_in_schema=False)


class _PackagedFiles(StaticFiles):
    """Files of the package. Those of others have their version in the path and may be kept for good."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        own = path.startswith(_OWN_FILES)
        response.headers["Cache-Control"] = "no-cache" if own else "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response
