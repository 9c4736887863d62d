"""One live worker as its parent knows it: the process, the channel, what it holds.

Owns starting the process, the words that are said to it, and how it ended. When they are said is the crew's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

import watcherd
from watcherd.balance import Balance
from watcherd.errors import WatcherdError
from watcherd.ledger import Live
from watcherd.pim.spec import EMPTY
from watcherd.settings import Settings
from watcherd.tally import Tally
from watcherd.workers.channel import CallFailedError, Channel, ChannelClosedError, Fields, Said

PREPARE_SECONDS: Final = 60.0
SWAP_SECONDS: Final = 15.0
"""How long a worker may take over a build, and over a swap; one that takes longer hangs, and is replaced."""

LOOK_SECONDS: Final = 2.0
"""How often a worker is asked how it is: a crash loses no more of its counts than it makes in this time."""

HUNG_SECONDS: Final = 20.0
"""A worker that gives no answer for this long is replaced."""

ASKED: Final = 2
"""How often it is asked in that time: a parent that stood still itself finds the first answer late, and it was not."""

_SHARED: Final = ("max_in_flight", "max_streams", "max_waiting_writes")
"""Settings that bound the whole: each worker has its part."""

_PARENTS_OWN: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")
"""Variables by which the service manager talks to the parent alone."""


class WorkerEndedError(WatcherdError):
    """A worker ended, or had to be ended; the message says how."""


@dataclass(frozen=True, eq=False, slots=True)
class Wanted:
    """A generation that all are to serve: which build serves each model, and who is refused (folded names).

    `serial` grows with each decision; `newest` is the last build that was known then: older ones that
    are not in it are of no use any more. While it is `starting` more models are to come, which refer
    to the `awaited`.
    """

    serial: int
    generation: int
    models: Mapping[str, int]
    lives: Mapping[int, Live] = field(repr=False)
    rejected: frozenset[str]
    newest: int
    starting: bool = False
    awaited: frozenset[str] = frozenset()


class Member:
    """One worker process. `at` is the generation that it serves, None until it has swapped to one."""

    def __init__(self, number: int, process: Process, channel: Channel) -> None:
        self.number = number
        self.process = process
        self.channel = channel
        self.at: Wanted | None = None
        self.holds: set[int] = set()
        self.began_at = time.monotonic()
        self.answered_at = time.monotonic()
        self.tally = Tally()
        self.database: str | None = None
        """Why its database is not as it should be, as of its last word; None where it is."""
        self.began = False
        self._ready: set[int] = set()
        self._serving: Mapping[str, int] = EMPTY
        channel.tells["released"] = lambda said: self.holds.discard(said.fields["build"])

    @classmethod
    async def start(cls, number: int, listener: socket.socket, balance: Balance) -> Member:
        """Start a process; it waits for `begin`. OSError where the system has none, or no descriptors, to spare."""
        ours, theirs = socket.socketpair()
        root = str(Path(watcherd.__file__).parent.parent)
        environment = {name: value for name, value in os.environ.items() if name not in _PARENTS_OWN}
        # The same code as ours, wherever that is, and nothing that lies in the working directory.
        path = os.pathsep.join(part for part in (root, environment.get("PYTHONPATH")) if part)
        inherited = (theirs.fileno(), listener.fileno(), balance.descriptor)
        with contextlib.ExitStack() as where_it_fails:
            where_it_fails.enter_context(ours)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-P", "-m", "watcherd.workers", *map(str, inherited)),
                    stdin=DEVNULL,
                    pass_fds=inherited,
                    env=environment | {"PYTHONPATH": path},
                )
            where_it_fails.callback(process.kill)
            member = cls(number, process, await Channel.over(ours))
            where_it_fails.pop_all()
        return member

    async def begin(self, settings: Settings, *, accept: bool) -> None:
        """Have it open the database, and with `accept` take connections before it has a model to serve."""
        await self.channel.call("begin", settings=as_json(settings), worker=self.number, accept=accept)
        self.began = True

    async def prepare(self, build: int, packed: bytes) -> None:
        """Have it compile a build. CallFailedError, ChannelClosedError, TimeoutError."""
        self.holds.add(build)
        try:
            async with asyncio.timeout(PREPARE_SECONDS):
                await self.channel.call("prepare", packed, build=build)
        except BaseException:
            self.holds.discard(build)
            raise
        self._ready.add(build)

    def lacks(self, wanted: Wanted) -> list[int]:
        """The builds that it has to have before it can swap."""
        return [build for build in wanted.models.values() if build not in self.holds]

    async def swap(self, wanted: Wanted) -> None:
        """Have it serve a generation whose builds it has. CallFailedError, ChannelClosedError, TimeoutError."""
        drop = [build for build in self._ready if build <= wanted.newest and build not in wanted.lives]
        changed = {model: build for model, build in wanted.models.items() if self._serving.get(model) != build}
        async with asyncio.timeout(SWAP_SECONDS):
            await self.channel.call(
                "swap",
                generation=wanted.generation,
                models=changed,
                gone=[model for model in self._serving if model not in wanted.models],
                drop=drop,
                rejected=sorted(wanted.rejected),
                starting=wanted.starting,
                awaited=sorted(wanted.awaited),
            )
        self._ready.difference_update(drop, changed.values())
        self.holds.difference_update(drop)
        self._serving = wanted.models
        self.at = wanted

    async def survey(self, seconds: float) -> Fields:
        """How it is. CallFailedError, ChannelClosedError, TimeoutError."""
        async with asyncio.timeout(seconds):
            try:
                said: Said = await self.channel.call("survey")
            except CallFailedError:
                self.answered_at = time.monotonic()  # that is an answer
                raise
        self.answered_at = time.monotonic()
        self.tally = Tally.from_json(said.fields["tally"])
        self.database = said.fields["database"]
        return said.fields

    async def look_after(self) -> None:
        """Ask now and then how it is, for ever. WorkerEndedError when it does not say for too long."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._give_a_sign()

    async def _give_a_sign(self) -> None:
        for _ in range(ASKED):
            try:
                await self.survey(HUNG_SECONDS / ASKED)
            except TimeoutError:
                continue
            except CallFailedError:
                pass  # whoever says that he cannot lives, and his log says why
            return
        raise WorkerEndedError(f"gave no sign of life for {HUNG_SECONDS:g} s, and was ended")

    async def ask(self, kind: str, seconds: float | None) -> Fields | None:
        """Ask something at a stop. Who has gone has nothing in flight; None: who hangs is ended later."""
        try:
            async with asyncio.timeout(seconds):
                return (await self.channel.call(kind)).fields
        except ChannelClosedError:
            return {}
        except (CallFailedError, TimeoutError):
            return None

    async def ended(self) -> int | None:
        """The exit status of a worker that has closed its channel: it is about to end, if it has not."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                return await self.process.wait()
        return None

    def kill(self) -> None:
        """End it, whatever it does."""
        if self.process.returncode is None:
            self.process.kill()


def how_it_ended(failed: BaseException | None, status: int | None) -> str:
    """Say of a worker what the log does: `failed` is what broke in the parent, `status` None where it went on."""
    if isinstance(failed, BaseExceptionGroup):
        failed = failed.exceptions[0]
    if status is None:
        return str(failed or "closed its channel, and was ended")
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    if failed is not None and not isinstance(failed, ChannelClosedError):
        return str(failed) or type(failed).__name__
    return f"ended with status {status}"


def as_json(settings: Settings) -> dict[str, Any]:
    """The settings of one of several workers, secrets included: the channel is ours alone."""
    values = settings.model_dump(mode="json")
    for name in values:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            values[name] = value.get_secret_value()
        if name in _SHARED:
            values[name] = -(-value // settings.workers)
    return values
