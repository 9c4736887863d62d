"""A real Chromium on the daemon's pages, and what it must never do there."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT_MS = 120_000
"""How long the browser waits for what has to appear: an upper bound, never a delay."""
expect.set_options(timeout=WAIT_MS)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="Chromium is not installed (Debian: apt install chromium)"
)

_NOTE_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
});
"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    assert CHROMIUM is not None, "Chromium is not installed"
    async with async_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


class Reader:
    """Somebody who has a page open: what the page says on the console, and whom it asks, is kept."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.troubles: list[str] = []
        self.expected: list[str] = []
        """Parts of console errors that the test brings about itself, such as a status that it provokes."""
        self._host = urlsplit(address).netloc
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.troubles.append(f"uncaught: {error}"))
        page.on("request", self._asked)

    async def check(self) -> None:
        """Nothing was said, nobody else was asked, and no policy was violated on the page that is open."""
        assert self.troubles == []
        assert await self.page.evaluate("window.violations") == []

    async def serious_faults(self) -> list[str]:
        """What keeps people from using the page, as axe-core finds it."""
        found: dict[str, Any] = (await Axe().run(self.page)).response
        return [
            f"{one['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for one in found["violations"]
            if one["impact"] in {"serious", "critical"}
            for node in one["nodes"]
        ]

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not any(part in message.text for part in self.expected):
            self.troubles.append(f"{message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in {"data", "blob"} and address.netloc != self._host:
            self.troubles.append(f"asked another host: {request.url}")


@asynccontextmanager
async def reading(
    browser: Browser, address: str, *, scheme: Literal["light", "dark"] = "light", width: int = 1280
) -> AsyncIterator[Reader]:
    """A new window on the daemon at `address`; what troubles there were is looked at when it closes."""
    context = await browser.new_context(
        base_url=address, color_scheme=scheme, viewport={"width": width, "height": 900}, locale="en-GB"
    )
    try:
        context.set_default_timeout(WAIT_MS)
        await context.add_init_script(_NOTE_VIOLATIONS)
        reader = Reader(await context.new_page(), address)
        yield reader
        await reader.check()
    finally:
        await context.close()
