"""Server-sent events: what happened lately, who listens, and how a listener goes.

Owns the ring of the last events, the bounded queue of each reader, the text of the events and the
heartbeat. Does not own what is told (compile, the daemon) nor how it is sent (exchange, admin).

A reader gets, after a `Last-Event-ID`, what it has missed; where that is no longer known, or
something else may have been missed, a `reset` event says so: read again what you show. Its last
event is a `bye` with the reason and a `retry:` of its own, so that many readers who are sent away
together do not come back together.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import to_json

from watcherd.errors import WatcherdError

MEDIA: Final = b"text/event-stream"
HEADERS: Final = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))

RING: Final = 256
"""Events that a feed keeps for those who come back."""

QUEUE: Final = 256
"""Events that may wait for one reader; one that is slower is sent away."""

EMITTED: Final = "-"
"""In place of an entity: what the methods of a model emit. No entity has this name."""

HEARTBEAT_SECONDS: Final = 15.0
RETRY_MS: Final = (500, 5000)
"""The bounds between which a reader that is sent away is told to wait."""

_HELLO: Final = b": welcome\n\n"
_HEARTBEAT: Final = b": still here\n\n"

_jitter = random.SystemRandom()


class TooManyReadersError(WatcherdError):
    """No more streams are open to anybody for now (503)."""


class Readers:
    """How many streams are open in the whole process, and how many may be."""

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.open = 0

    def take(self) -> None:
        """Count one in. Raises TooManyReadersError."""
        if self.open >= self.most:
            raise TooManyReadersError(f"{self.most} event streams are open already")
        self.open += 1


class Feeds:
    """The feeds of rows, by model and entity; they outlive revisions, so that readers can come back.

    A feed is there from its first reader on: what nobody has ever asked for costs nothing.
    """

    def __init__(self, most: int = 1000) -> None:
        self.readers = Readers(most)
        self._feeds: dict[str, dict[str, tuple[Feed, tuple[str, ...]]]] = {}

    def subscribe(self, model: str, entity: str, shape: tuple[str, ...], last_event_id: str | None) -> Reader:
        """A reader of an entity's changes, as rows of these attributes. Raises TooManyReadersError.

        Where they were others before, what is kept of before is let go: it may show too much.
        """
        feeds = self._feeds.setdefault(model, {})
        feed, former = feeds.get(entity) or (Feed(self.readers), shape)
        if former != shape:
            feed.reset()
        feeds[entity] = feed, shape
        return feed.subscribe(last_event_id)

    async def listen(self, model: str, entity: str, shape: tuple[str, ...], last_event_id: str | None) -> Reader:
        """The same where others may have to be told first that somebody listens."""
        return self.subscribe(model, entity, shape, last_event_id)

    def publish(self, model: str, entity: str, kind: str, values: Mapping[str, Any]) -> None:
        """Tell of a row, if anybody was ever here to listen; of its values only those of the feed's shape."""
        found = self._feeds.get(model, {}).get(entity)
        if found is not None:
            feed, shape = found
            feed.publish(kind, to_json({name: values[name] for name in shape if name in values}))

    def announce(self, model: str, event: str, payload: Any) -> None:
        """Tell of what a model's own code emitted, if anybody was ever here to listen."""
        found = self._feeds.get(model, {}).get(EMITTED)
        if found is not None:
            found[0].publish(event, to_json(payload))

    def reset(self, model: str, entity: str) -> None:
        """Tell that more has changed than is told."""
        found = self._feeds.get(model, {}).get(entity)
        if found is not None:
            found[0].reset()

    def forget(self, model: str) -> None:
        """Let go what is kept for a model that is not served any more."""
        for feed, _ in self._feeds.pop(model, {}).values():
            feed.send_away("unloaded")


@dataclass(frozen=True, slots=True)
class FeedState:
    """What a feed is called, the number of its last event, and the events that it keeps, by number."""

    birth: str
    last: int
    kept: tuple[tuple[int, bytes], ...]


class Feed:
    """One source of events: numbers them, keeps the last, hands them to its readers."""

    def __init__(self, readers: Readers, *, ring: int = RING, queue: int = QUEUE) -> None:
        self._all_readers = readers
        self._readers: set[Reader] = set()
        # Numbers begin anew with each feed: an id of an earlier one must not be taken for its own.
        self._birth = secrets.token_hex(4)
        self._last = 0
        self._ring: deque[tuple[int, bytes]] = deque(maxlen=ring)
        self._queue = queue

    @property
    def state(self) -> FeedState:
        """What another process needs to go on with the same feed."""
        return FeedState(self._birth, self._last, tuple(self._ring))

    def go_on(self, state: FeedState) -> None:
        """Be the feed that another process has begun."""
        self._birth, self._last = state.birth, state.last
        self._ring.clear()
        self._ring.extend(state.kept)

    def publish(self, kind: str, data: bytes) -> None:
        """Tell all readers. `data` is JSON in one line. Neither blocks nor raises."""
        number = self._last + 1
        self.take(number, b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (self._birth.encode(), number, kind.encode(), data))

    def take(self, number: int, text: bytes) -> None:
        """Keep an event that has its number, and tell all readers."""
        self._last = number
        self._ring.append((number, text))
        for reader in tuple(self._readers):
            reader.put(text)

    def reset(self) -> None:
        """Tell all readers, those who come back included, that something may have been missed."""
        self.forget_what_was()
        self.publish("reset", b"{}")

    def forget_what_was(self) -> None:
        """Whoever comes back has missed something from now on."""
        self._ring.clear()

    def subscribe(self, last_event_id: str | None = None) -> Reader:
        """A new reader, which must be closed. Raises TooManyReadersError."""
        self._all_readers.take()
        reader = Reader(self, self._missed(last_event_id), self._queue)
        self._readers.add(reader)
        return reader

    def send_away(self, reason: str) -> None:
        """Let every reader go."""
        for reader in tuple(self._readers):
            reader.leave(reason)

    def forget(self, reader: Reader) -> None:
        """Count a reader out."""
        if reader in self._readers:
            self._readers.discard(reader)
            self._all_readers.open -= 1

    def _missed(self, last_event_id: str | None) -> list[bytes]:
        """What came after an id."""
        if last_event_id is None:
            return []
        birth, _, digits = last_event_id.partition("-")
        known = birth == self._birth and digits.isascii() and digits.isdigit() and len(digits) < len(str(2**63))
        seen = int(digits) if known else -1
        oldest = self._ring[0][0] if self._ring else self._last + 1
        if not oldest - 1 <= seen <= self._last:
            here = b"id: %s-%d\n" % (self._birth.encode(), self._last)
            return [here + b"event: reset\ndata: {}\n\n"]
        return [text for number, text in self._ring if number > seen]


class Reader(AsyncIterator[bytes]):
    """One open stream. Iterate it to its end, then `aclose` it; a heartbeat keeps it from falling asleep."""

    def __init__(self, feed: Feed, missed: list[bytes], capacity: int) -> None:
        self._feed = feed
        self._capacity = capacity
        self._waiting: deque[bytes] = deque([_HELLO, *missed])
        self._farewell: bytes | None = None
        self._news = asyncio.Event()
        self._ended = False

    def put(self, text: bytes) -> None:
        """Queue an event; a reader whose queue is full goes, without what it has not read."""
        if self._farewell is not None:
            return
        if len(self._waiting) >= self._capacity:
            self._waiting.clear()
            self.leave("too slow")
            return
        self._waiting.append(text)
        self._news.set()

    def leave(self, reason: str) -> None:
        """Say goodbye after what is queued, and end."""
        if self._farewell is None:
            retry = _jitter.randint(*RETRY_MS)
            self._farewell = b"retry: %d\nevent: bye\ndata: %s\n\n" % (retry, to_json({"reason": reason}))
            self._news.set()

    def __aiter__(self) -> Reader:
        return self

    async def __anext__(self) -> bytes:
        if not self._waiting and self._farewell is None:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                return _HEARTBEAT
        self._news.clear()
        if self._waiting:
            texts = b"".join(self._waiting)
            self._waiting.clear()
            return texts
        if self._farewell is None or self._ended:
            raise StopAsyncIteration
        self._ended = True
        return self._farewell

    async def aclose(self) -> None:
        """Stop listening."""
        self._feed.forget(self)
