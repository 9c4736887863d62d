"""Answers that reach a page later than those to what it asked afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from playwright.async_api import Page, Request, Route

from tests.e2e.browser import WAIT_MS

_TELL = """
const ask = window.fetch;
window.fetch = async (...asked) => {
  const answer = await ask(...asked);
  for (const way of ["text", "json"]) {
    const read = answer[way].bind(answer);
    // After what waits for the content has gone on with it.
    answer[way] = async () => {
      const content = await read();
      window.setTimeout(() => window.hasTaken(answer.url));
      return content;
    };
  }
  window.setTimeout(() => window.hasTaken(answer.url + " " + answer.status));
  return answer;
};
"""


class Slow:
    """One request of a page, answered by the daemon at once; the page has the answer when it is told to."""

    def __init__(self, chosen: Callable[[Request], bool], *, read: bool) -> None:
        self._chosen = chosen
        self._read = read
        self._taken = False
        self._asked = asyncio.Event()
        self._go = asyncio.Event()
        self._done = asyncio.Event()
        self._url = ""

    @classmethod
    async def on(cls, page: Page, chosen: Callable[[Request], bool], *, read: bool = True) -> Slow:
        """Hold the first request that is chosen from now on; one a page, before the page is opened.

        `read` says that the page looks at the body of the answer, not at its status alone.
        """
        slow = cls(chosen, read=read)
        await page.expose_function("hasTaken", slow._has_taken)
        await page.add_init_script(_TELL)
        await page.route("**/*", slow._handle)
        return slow

    async def asked(self) -> None:
        """The request was sent and answered, and the page does not know yet."""
        async with asyncio.timeout(WAIT_MS / 1000):
            await self._asked.wait()

    async def arrive(self) -> None:
        """Let the page have the answer, and wait until it has dealt with it."""
        self._go.set()
        async with asyncio.timeout(WAIT_MS / 1000):
            await self._done.wait()

    async def _handle(self, route: Route) -> None:
        if self._taken or not self._chosen(route.request):
            await route.fallback()
            return
        self._taken = True
        answer = await route.fetch()
        self._url = route.request.url if self._read else f"{route.request.url} {answer.status}"
        self._asked.set()
        await self._go.wait()
        await route.fulfill(response=answer)

    def _has_taken(self, url: str) -> None:
        if self._go.is_set() and url == self._url:
            self._done.set()
