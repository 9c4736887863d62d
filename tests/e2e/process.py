"""A daemon as a real process: started, watched through its log, and ended by its pid."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

Line = dict[str, Any]
T = TypeVar("T")

HANG_SECONDS: Final = 120
"""After so long what is waited for does not come: a bound of what hangs, on a machine that is busy otherwise."""

WORKERS: Final = os.environ.get("TEST_WORKERS")
"""How many processes answer in a daemon of which a test does not say it: two by `make test-workers`."""


class Process:
    """A running `watcherd serve`. Every log line is kept; waiting is for lines, never for time."""

    def __init__(self, process: asyncio.subprocess.Process, models: Path, data: Path) -> None:
        self.models = models
        self.data = data
        self.lines: list[Line] = []
        self.address = ""
        self._process = process
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self, which: signal.Signals) -> None:
        self._process.send_signal(which)

    async def ended(self) -> int:
        status = await self._process.wait()
        await self._reading
        return status

    async def wait_for(self, event: str, since: int = 0, where: Callable[[Line], bool] = lambda _: True) -> Line:
        """The first line of an event from index `since` on; fails if the process ends before it."""
        async with self._news:
            while True:
                for line in self.lines[since:]:
                    if line.get("event") == event and where(line):
                        return line
                if self._reading.done():
                    raise AssertionError(f"ended without {event}: {self.lines[-20:]}")
                await self._news.wait()

    async def all_answer(self, workers: int = int(WORKERS or 1)) -> None:
        """Wait until each of so many workers has what serves; until then it answers that the daemon is starting."""
        for worker in range(1, workers + 1) if workers > 1 else ():
            await self.wait_for("worker.started", where=lambda line, number=worker: line["worker"] == number)  # type: ignore[misc]  # a default of a lambda

    async def has_told(self, enough: Callable[[], bool]) -> None:
        """Wait until what was logged so far is enough; fails if the process ends before it."""
        async with self._news:
            while not enough():
                assert not self._reading.done(), f"ended without it: {self.lines[-20:]}"
                await self._news.wait()

    def of(self, event: str, since: int = 0) -> list[Line]:
        return [line for line in self.lines[since:] if line.get("event") == event]

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client that keeps its connections as long as the daemon does; of itself httpx does so for five seconds."""
        options = {"limits": httpx.Limits(keepalive_expiry=None)} | options
        return httpx.AsyncClient(base_url=self.address, timeout=HANG_SECONDS, **options)

    def write(self, name: str, text: str) -> None:
        """Save as careful editors do: another file, renamed over."""
        target = self.models / name
        temporary = target.with_name(f".{target.name}.new")
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(target)

    async def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            async for raw in stream:
                line = json.loads(raw)
                async with self._news:
                    self.lines.append(line)
                    self._news.notify_all()
        finally:
            async with self._news:
                self._news.notify_all()


async def once(ask: Callable[[], Awaitable[T]], is_right: Callable[[T], bool]) -> T:
    """What is answered as soon as it is right: for what follows in a moment, and is not told."""
    answers: list[T] = []
    try:
        async with asyncio.timeout(HANG_SECONDS):
            while not is_right(answer := await ask()):
                answers = [answer]
                await asyncio.sleep(0.005)
            return answer
    except TimeoutError:
        raise AssertionError(f"it stays at {answers}") from None


async def until_ready_is(client: httpx.AsyncClient, status: str, *reasons: str) -> Line:
    """What `/readyz` says once it has this status, and where reasons are given just these.

    Of workers it hears every other second, and a database that is slow to answer degrades it for a moment.
    """

    async def ask() -> Line:
        said: Line = (await client.get("/readyz")).json()
        return said

    return await once(ask, lambda said: said["status"] == status and (not reasons or said["reasons"] == [*reasons]))


async def shown(client: httpx.AsyncClient, is_right: Callable[[Line], bool]) -> Line:
    """What the admin API shows of the one file that there is, once it is right."""

    async def ask() -> Line:
        (entry,) = (await client.get("/admin/pim")).json()["pims"]
        return {**entry}

    return await once(ask, is_right)


def clean_environment() -> dict[str, str]:
    """Ours without settings of watcherd: what a developer has set is not what is tested."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WATCHERD_")}


@asynccontextmanager
async def running(
    models: Path,
    data: Path,
    *arguments: str,
    environment: dict[str, str] | None = None,
    ready: bool = True,
    entry: Sequence[str] = (sys.executable, "-m", "watcherd"),
    pass_fds: Sequence[int] = (),
) -> AsyncIterator[Process]:
    """Start a daemon on a free port; on the way out it is stopped, if it still runs."""
    models.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *entry,
        "serve",
        "--models",
        str(models),
        "--data-dir",
        str(data),
        "--port",
        "0",
        "--log-format",
        "json",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        limit=2**22,
        env=clean_environment() | ({} if WORKERS is None else {"WATCHERD_WORKERS": WORKERS}) | (environment or {}),
        pass_fds=pass_fds,
    )
    daemon = Process(process, models, data)
    try:
        if ready:
            daemon.address = (await daemon.wait_for("daemon.started"))["address"]
        yield daemon
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    await daemon.ended()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
