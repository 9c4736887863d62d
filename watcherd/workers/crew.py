"""The parent's side of several workers: starts them, keeps them in step, replaces those that end.

Owns which generation is wanted, who serves it, and who holds which build. `follow` says what is
wanted and waits until all that serve are there; a task for each worker brings it there, from
wherever it is: a worker that has just begun lacks all builds, one that has followed so far only the
new ones. Does not own what is wanted (reload), what is said to a worker (`member`), nor what workers say
of themselves (`survey`).
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

from watcherd import events
from watcherd.balance import Balance
from watcherd.followers import Figures, FollowerError, Survey
from watcherd.gateway import Gateway
from watcherd.lasting import lasting, not_cancelled
from watcherd.ledger import World
from watcherd.revision import Revision
from watcherd.settings import Settings
from watcherd.store import SchemaPlan
from watcherd.tally import Tally, total
from watcherd.workers.channel import CallFailedError, ChannelClosedError, Fields, Said
from watcherd.workers.member import HUNG_SECONDS, Member, Wanted, WorkerEndedError, how_it_ended
from watcherd.workers.packing import Build, pack
from watcherd.workers.relay import Relayed
from watcherd.workers.rows import RowHub
from watcherd.workers.survey import SURVEY_SECONDS, added_up, ask_all, surveyed

BACKOFF_SECONDS: Final = (0.0, 0.5, 1.0, 2.0, 5.0)
"""How long to wait before a worker is started again: longer each time that it did not live long."""

SHORT_LIFE_SECONDS: Final = 10.0

Tell = Callable[[str, Mapping[str, Any]], None]
"""Takes an event of a worker: its name and its fields."""


class Crew:
    """All workers. Has what a reload needs of them (`Followers`), and what a stop needs (`Front`)."""

    alone = False
    started = True

    def __init__(  # noqa: PLR0913 - the parts that workers take part in, composed once by the daemon
        self,
        settings: Settings,
        listener: socket.socket,
        gateway: Gateway,
        hub: RowHub,
        *,
        publish: events.Publish,
        tell: Tell,
        accept: bool,
    ) -> None:
        """`tell` takes what a worker publishes; with `accept` they take connections before the first scan is done."""
        self._settings = settings
        self._listener = listener
        self._gateway = gateway
        self._hub = hub
        self._publish = publish
        self._tell = tell
        self._accept = accept
        self._balance = Balance.among(settings.workers)
        self._members: dict[int, Member] = {}
        self._failures: dict[int, str] = {}
        self._restarts: Counter[int] = Counter()
        self._gone = Tally()
        self._wanted: Wanted | None = None
        self._numbers = count(1)
        self._serials = count(1)
        self._newest = 0
        self._builds: WeakKeyDictionary[Revision, int] = WeakKeyDictionary()
        self._news = asyncio.Event()
        self._stopping = False
        self._leaving = asyncio.Event()
        self._overran = False

    # -- what a reload needs ------------------------------------------------------------------

    async def prepare(self, revision: Revision, plan: SchemaPlan) -> None:
        """Have all that serve build a revision. FollowerError when one cannot."""
        build = self._builds[revision] = self._newest = next(self._numbers)
        packed = pack(Build.of(plan, revision.number))
        members = self._in_service()
        prepared = await asyncio.gather(*(member.prepare(build, packed) for member in members), return_exceptions=True)
        for member, outcome in zip(members, prepared, strict=True):
            if isinstance(outcome, CallFailedError):
                raise FollowerError(f"worker {member.number} could not build it: {outcome}") from outcome
            if isinstance(outcome, TimeoutError):
                member.kill()
            elif isinstance(outcome, BaseException) and not isinstance(outcome, ChannelClosedError):
                raise outcome

    async def follow(self, generation: int, world: World) -> None:
        """Have all serve a generation; returns when those that serve at all do."""
        lives = {self._number(live.revision): live for live in world.live.values()}
        models = {live.spec.name: build for build, live in lives.items()}
        wanted = self._wanted = Wanted(
            next(self._serials),
            generation,
            models,
            lives,
            _rejected(world),
            self._newest,
            starting=bool(world.waiting),
            awaited=world.awaited,
        )
        self._tell_news()
        await self._until(lambda: all(_is_at(member, wanted) for member in self._in_service()))

    async def drained(self, revision: Revision) -> None:
        """Return when no worker holds a retired revision."""
        build = self._builds.get(revision)
        await self._until(lambda: not any(build in member.holds for member in self._members.values()))

    async def all_serve(self) -> None:
        """Return when every worker serves what is wanted. WorkerEndedError when one has ended before."""
        everyone = range(1, self._settings.workers + 1)
        await self._until(
            lambda: bool(self._failures) or all(_is_at(self._members.get(number), self._wanted) for number in everyone)
        )
        for number, reason in self._failures.items():
            raise WorkerEndedError(f"worker {number} {reason}")

    # -- how they are -------------------------------------------------------------------------

    def reasons(self, database: str | None) -> tuple[str, ...]:
        """Why fewer processes serve than should, and for whom the database is not as it should be: for one, maybe.

        What the daemon says of it already, `database`, is not said of each of them again.
        """
        ended = [f"worker {number} {reason}" for number, reason in sorted(self._failures.items())]
        said: dict[str, list[int]] = defaultdict(list)
        for member in self._members.values():
            if member.database not in {None, database}:
                said[member.database].append(member.number)
        named = [f"worker {', '.join(map(str, sorted(numbers)))}: {reason}" for reason, numbers in said.items()]
        return (*ended, *named)

    def silence(self) -> str | None:
        """Who gives no sign of life; None when all do."""
        now = time.monotonic()
        for member in self._members.values():
            age = now - member.answered_at
            if age > HUNG_SECONDS / 2:
                return f"worker {member.number} has given no sign of life for {age:.1f} s"
        return None if self._in_service() else "no worker serves"

    async def figures(self) -> Figures:
        """What all have in hand; what they have counted is up to date afterwards."""
        answers = await ask_all(self._members.values())
        return added_up(answers, workers=len(self._in_service()), restarts=self._restarts.total())

    def tally(self) -> Tally:
        """What all had counted when they were last asked."""
        return total([self._gone, *(member.tally for member in self._members.values())])

    async def survey(self) -> Survey:
        """What is in flight, and each worker's generation."""
        return surveyed(await ask_all(self._members.values()), self._settings.workers, self._restarts)

    async def reload_keys(self) -> None:
        """Have all read the API keys again; those that answer in time have them in force afterwards."""
        for member in self._members.values():
            if member.began:
                member.channel.tell("keys")
        await ask_all(self._members.values())  # whatever is said after it is answered after it

    # -- their lives --------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep all workers alive until told to leave, then see all of them end."""
        seats = [
            asyncio.create_task(
                lasting(f"worker {number}", partial(self._keep_seat, number), self._publish), name=f"worker {number}"
            )
            for number in range(1, self._settings.workers + 1)
        ]
        leaving = asyncio.create_task(self._leaving.wait(), name="workers leave")
        try:
            await asyncio.wait({leaving, *seats}, return_when=asyncio.FIRST_EXCEPTION)
            if leaving.done():
                await asyncio.wait(seats)
            for seat in seats:
                if seat.done():
                    seat.result()
        finally:
            for member in self._members.values():
                member.kill()
            for task in (leaving, *seats):
                task.cancel()
            await asyncio.gather(leaving, *seats, return_exceptions=True)

    async def _keep_seat(self, number: int) -> None:
        """One worker after the other, until the stop."""
        short_lives = 0
        while not self._stopping:
            await asyncio.sleep(BACKOFF_SECONDS[min(short_lives, len(BACKOFF_SECONDS) - 1)])
            if self._stopping:
                return
            try:
                member = await Member.start(number, self._listener, self._balance)
            except OSError as error:  # no process, memory or descriptor to spare: those that serve go on
                short_lives += 1
                self._failed(number, None, f"cannot be started: {error.strerror or error}")
                continue
            try:
                if self._stopping:
                    return
                reason = await self._live(member)
            finally:
                member.kill()
                await member.process.wait()
            if self._stopping:
                return
            short = time.monotonic() - member.began_at < SHORT_LIFE_SECONDS
            short_lives = short_lives + 1 if short else 0
            self._restarts[number] += 1
            self._failed(number, member.process.pid, reason)

    def _failed(self, number: int, pid: int | None, reason: str) -> None:
        self._failures[number] = f"{reason}; another one is starting"
        self._publish(events.WorkerEnded(number, pid, reason))
        self._tell_news()

    async def _live(self, member: Member) -> str:
        """The life of one worker; returns how it ended."""
        Relayed(member.channel, self._gateway)
        member.channel.tells["event"] = lambda said: self._heard(member, said)
        member.channel.tells["released"] = lambda said: self._released(member, said)
        tasks = {
            asyncio.create_task(member.channel.run(), name=f"channel of worker {member.number}"),
            asyncio.create_task(member.process.wait(), name=f"end of worker {member.number}"),
            asyncio.create_task(self._lead(member), name=f"lead of worker {member.number}"),
        }
        self._members[member.number] = member
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            failed = next((fault for task in done if (fault := _fault(task)) is not None), None)
            if failed is None and self._leaving.is_set():
                await member.process.wait()
            return how_it_ended(failed, await member.ended())
        finally:
            del self._members[member.number]
            self._gone = total([self._gone, member.tally])
            self._hub.detach(member.channel)
            for task in tasks:
                task.cancel()
            member.channel.close()
            self._balance.absent(member.number - 1)
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tell_news()

    async def _lead(self, member: Member) -> None:
        """Begin, then keep it in step, and look after it; raises what ends it."""
        await member.begin(self._settings, accept=self._accept and self._wanted is None)
        await self._hub.attach(member.channel)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(not_cancelled(self._keep_in_step(member)), name=f"steps of worker {member.number}")
            tasks.create_task(not_cancelled(member.look_after()), name=f"health of worker {member.number}")

    async def _keep_in_step(self, member: Member) -> None:
        """Bring a worker to what is wanted, again and again."""
        while True:
            await self._until(lambda: member.at is not self._wanted)
            wanted = self._wanted
            assert wanted is not None  # noqa: S101 - there was something to bring it to
            for build in member.lacks(wanted):
                if wanted is not self._wanted:
                    break
                live = wanted.lives[build]
                await member.prepare(build, pack(Build.of(live.plan, live.revision.number)))
            if wanted is not self._wanted:
                continue  # what nobody else holds any more may have been loosened: it must not serve
            first = member.at is None
            await member.swap(wanted)
            if first:
                self._failures.pop(member.number, None)
                ms = round((time.monotonic() - member.began_at) * 1000, 1)
                self._publish(events.WorkerStarted(member.number, member.process.pid, wanted.generation, ms))
            self._tell_news()

    def _heard(self, member: Member, said: Said) -> None:
        self._tell(said.fields["name"], {**said.fields["event"], "worker": member.number})

    def _released(self, member: Member, said: Said) -> None:
        member.holds.discard(said.fields["build"])
        self._tell_news()

    # -- the stop -----------------------------------------------------------------------------

    async def stop(self, *, stop_accepting: bool) -> int:
        """Have all refuse new requests; how many are in flight, of those who say so soon.

        They are told, not called: who gives up a call takes it back, and one that hears of it late is to obey as well.
        """
        self._stopping = True
        for member in self._members.values():
            if member.began and (member.at is not None or not stop_accepting):
                member.channel.tell("stop", stop_accepting=stop_accepting)
            else:
                member.kill()  # it serves nobody yet, and is not to begin
        answers = await self._call_all("stopping", SURVEY_SECONDS)
        return sum(answer.get("in_flight", 0) for answer in answers.values() if answer is not None)

    async def requests_end(self) -> None:
        """Return when what was in flight at the stop has ended."""
        await self._call_all("drained", None)

    async def cut(self) -> None:
        """Have all cancel what did not end in its time."""
        await self._call_all("cut", None)

    async def holders(self) -> tuple[str, ...]:
        """What is in flight still, one line each."""
        answers = await self._call_all("holders", SURVEY_SECONDS)
        lines: list[str] = []
        for member, answer in answers.items():
            lines += [f"worker {member.number} (no answer)"] if answer is None else answer.get("requests", ())
        return tuple(lines)

    @property
    def should_exit(self) -> bool:
        """Whether all were told to leave."""
        return self._leaving.is_set()

    @should_exit.setter
    def should_exit(self, _now: bool) -> None:
        self._leaving.set()
        for member in self._members.values():
            if member.began:
                member.channel.tell("leave")
            else:
                member.kill()  # it has not come so far that it could be asked

    def stop_accepting(self) -> None:
        """Nothing: the parent accepts no connections, and `stop` tells those that do."""

    async def _call_all(self, kind: str, seconds: float | None) -> dict[Member, Fields | None]:
        """What each says that has begun; None: it hangs."""
        asked = [member for member in self._members.values() if member.began]
        answers = await asyncio.gather(*(member.ask(kind, seconds) for member in asked))
        return dict(zip(asked, answers, strict=True))

    # -- who is where -------------------------------------------------------------------------

    def _in_service(self) -> list[Member]:
        return [member for member in self._members.values() if member.at is not None]

    def _number(self, revision: Revision) -> int:
        build = self._builds.get(revision)
        if build is None:  # it serves again from what is known of it, without having been prepared
            build = self._builds[revision] = self._newest = next(self._numbers)
        return build

    def _tell_news(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._news.wait()


def _fault(task: asyncio.Task[int | None]) -> BaseException | None:
    """What a task that has ended, of those that go on as long as a worker lives, ended with; None: as it should."""
    return WorkerEndedError("is led by nobody any more, and was ended") if task.cancelled() else task.exception()


def _is_at(member: Member | None, wanted: Wanted | None) -> bool:
    """Whether a worker serves what is wanted, or what was wanted after that."""
    return member is not None and wanted is not None and member.at is not None and member.at.serial >= wanted.serial


def _rejected(world: World) -> frozenset[str]:
    """The models whose requests are told of errors in a file, instead of that there is no such model."""
    spoken_for = {world.speaks_for.get(path) for path in world.refusals}
    return frozenset(
        model for model in spoken_for if model is not None and model not in world.live and model not in world.unloaded
    )
