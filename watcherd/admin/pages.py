"""How a page of the dashboard becomes an answer: templates, headers, addresses.

Owns the template environment and the Content-Security-Policy: scripts and styles come from files of
the package alone, nothing inline, nothing from another host. Does not own what the pages say.

Addresses in the pages are relative, so that they also work below a path of a proxy: a template
writes `{{ root }}static/...`, where `root` leads from the page's own path to `/`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

import watcherd

_TEMPLATES = Path(__file__).parent / "templates" / "dashboard"

_DIRECTIVES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
HEADERS: Mapping[str, str] = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in _DIRECTIVES.items()),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Pages:
    """The templates, compiled once each."""

    def __init__(self, *, signed_in: bool) -> None:
        """`signed_in` says that whoever sees a page had to give the token, and may sign out."""
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters |= {
            "moment": moment,
            "ms": milliseconds,
            "count": count,
            "rate": per_second,
            "q": q,
            "written": written,
        }
        self._templates.globals |= {"version": watcherd.__version__, "signed_in": signed_in}

    async def answer(
        self, request: Request, template: str, values: Mapping[str, Any] | None = None, *, status: int = 200
    ) -> Response:
        """Render a page, in a thread: a large one must not hold up requests. `values` must not change meanwhile."""
        path, query = request.url.path, request.url.query
        given = {
            "root": root_of(path),
            "here": (path.rpartition("/")[2] or "./") + (f"?{query}" if query else ""),
            "page": template.removesuffix(".html"),
            **(values or {}),
        }
        text = await asyncio.to_thread(self._templates.get_template(template).render, given)
        return Response(text, status_code=status, media_type="text/html", headers=dict(HEADERS))


def root_of(path: str) -> str:
    """What leads from a path to `/`, relatively."""
    return "../" * (path.count("/") - 1) or "./"


def q(text: str) -> str:
    """A name as a segment of a path or a value of a query."""
    return quote(text, safe="")


def moment(when: datetime | str) -> Markup:
    """A point in time as an element that the page's script keeps saying relatively."""
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    when = when.astimezone(UTC)
    shown = f"{when:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" data-ago title="{}">{}</time>').format(when.isoformat(), shown, shown)


def milliseconds(ms: float) -> str:
    """A duration as people read it."""
    if ms < 1:
        return f"{ms:.2f} ms"
    if ms < 100:  # noqa: PLR2004 - where a digit after the point stops saying something
        return f"{ms:.1f} ms"
    return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"  # noqa: PLR2004 - as above


def per_second(rate: float | None) -> str:
    """A rate; None where nobody has looked long enough to know."""
    if rate is None:
        return "–"
    if rate == 0:
        return "0"
    return f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"  # noqa: PLR2004 - as above


def written(value: object) -> str:
    """A value of a model file: text as it is, all else as JSON; other alphabets than Latin stay readable."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 model`, `2 models`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
