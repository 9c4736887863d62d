"""Event streams of rows over several processes: one feed in the parent, a mirror where readers are.

Owns who has to hear of what. The parent (`RowHub`) numbers the events of all workers and keeps the
last; a worker (`RowMirror`) passes on what it has committed, once somebody anywhere listens, and
hands what comes back to its readers. A reader may come back to another worker, whose mirror begins
with what the parent keeps. Does not own the ring and the readers (feeds).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from itertools import accumulate, pairwise
from typing import Any

from pydantic_core import to_json

from watcherd import problems
from watcherd.feeds import EMITTED, Feed, Feeds, FeedState, Reader, Readers
from watcherd.problems import Problem
from watcherd.workers.channel import CallFailedError, Channel, ChannelClosedError, Said

Shape = tuple[str, ...]
Key = tuple[str, str]
"""Folded model and entity."""


class RowHub(Feeds):
    """The parent's half: the feeds themselves. It has no readers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._channels: set[Channel] = set()
        self._shared: dict[Key, _SharedFeed] = {}

    async def attach(self, channel: Channel) -> None:
        """Have a worker take part; returns when it knows which rows are listened to."""
        channel.tells["row"] = self._heard
        channel.tells["rows lost"] = self._lost
        channel.calls["listen"] = lambda said: self._join(channel, said)
        self._channels.add(channel)
        for key, feed in tuple(self._shared.items()):
            await _want(channel, key, feed.shape)

    def detach(self, channel: Channel) -> None:
        """A worker has gone. What it had committed and not told is unknown: everybody is to read again."""
        self._channels.discard(channel)
        for feed in self._shared.values():
            feed.channels.discard(channel)
            feed.reset()

    def forget(self, model: str) -> None:
        """Let go what is kept for a model that is not served any more, everywhere."""
        for key in [key for key in self._shared if key[0] == model]:
            del self._shared[key]
        for channel in self._channels:
            channel.tell("rows gone", model=model)

    async def _join(self, channel: Channel, said: Said) -> Said:
        """A worker has its first reader of an entity, or the first of another shape."""
        key, shape = (said.fields["model"], said.fields["entity"]), tuple(said.fields["shape"])
        feed = self._shared.get(key)
        if feed is None:
            feed = self._shared[key] = _SharedFeed(key, shape)
        elif feed.shape != shape:
            feed.shape = shape
            feed.reset()
        # Who listens must not miss what is committed from now on, wherever that is.
        wanting = [_want(other, key, shape) for other in tuple(self._channels)]
        await asyncio.gather(*wanting)
        feed.channels.add(channel)
        state = feed.state
        channel.tell(
            "mirror",
            b"".join(text for _, text in state.kept),
            model=key[0],
            entity=key[1],
            shape=shape,
            birth=state.birth,
            last=state.last,
            kept=[[number, len(text)] for number, text in state.kept],
        )
        return Said()

    def _heard(self, said: Said) -> None:
        feed = self._shared.get((said.fields["model"], said.fields["entity"]))
        if feed is not None:
            feed.publish(said.fields["kind"], said.body)

    def _lost(self, said: Said) -> None:
        feed = self._shared.get((said.fields["model"], said.fields["entity"]))
        if feed is not None:
            feed.reset()


class _SharedFeed(Feed):
    """A feed whose readers are in other processes."""

    def __init__(self, key: Key, shape: Shape) -> None:
        super().__init__(Readers())
        self.shape = shape
        self.channels: set[Channel] = set()
        self._key: dict[str, Any] = {"model": key[0], "entity": key[1]}

    def take(self, number: int, text: bytes) -> None:
        """Keep an event, and tell all workers that have readers."""
        super().take(number, text)
        for channel in self.channels:
            channel.tell("row", text, number=number, **self._key)

    def forget_what_was(self) -> None:
        """Here, and in the workers."""
        super().forget_what_was()
        for channel in self.channels:
            channel.tell("rows forgotten", **self._key)


async def _want(channel: Channel, key: Key, shape: Shape) -> None:
    with contextlib.suppress(ChannelClosedError):  # it has gone, and commits nothing any more
        await channel.call("rows wanted", model=key[0], entity=key[1], shape=shape)


class RowMirror(Feeds):
    """A worker's half: its readers, and what it has committed."""

    def __init__(self, most: int, channel: Channel) -> None:
        super().__init__(most)
        self._channel = channel
        self._wanted: dict[Key, Shape] = {}
        channel.calls["rows wanted"] = self._want
        channel.tells["mirror"] = self._mirror
        channel.tells["row"] = self._heard
        channel.tells["rows forgotten"] = self._forgotten
        channel.tells["rows gone"] = lambda said: self.forget(said.fields["model"])

    async def listen(self, model: str, entity: str, shape: Shape, last_event_id: str | None) -> Reader:
        """A reader, once every worker tells of these rows. Raises TooManyReadersError; Problem without a parent."""
        while (found := self._feeds.get(model, {}).get(entity)) is None or found[1] != shape:
            try:
                await self._channel.call("listen", model=model, entity=entity, shape=shape)
            except (ChannelClosedError, CallFailedError) as error:
                raise Problem(problems.UNAVAILABLE, "the server is stopping", headers={"retry-after": "1"}) from error
        return found[0].subscribe(last_event_id)

    def publish(self, model: str, entity: str, kind: str, values: Mapping[str, Any]) -> None:
        """Tell the parent of a row, if anybody listens in any process."""
        shape = self._wanted.get((model, entity))
        if shape is not None:
            data = to_json({name: values[name] for name in shape if name in values})
            self._channel.tell("row", data, model=model, entity=entity, kind=kind)

    def announce(self, model: str, event: str, payload: Any) -> None:
        """Tell the parent of what a model's own code emitted, if anybody listens in any process."""
        if (model, EMITTED) in self._wanted:
            self._channel.tell("row", to_json(payload), model=model, entity=EMITTED, kind=event)

    def reset(self, model: str, entity: str) -> None:
        """Tell that more has changed than is told."""
        if (model, entity) in self._wanted:
            self._channel.tell("rows lost", model=model, entity=entity)

    def forget(self, model: str) -> None:
        """The parent has let it go."""
        super().forget(model)
        for key in [key for key in self._wanted if key[0] == model]:
            del self._wanted[key]

    async def _want(self, said: Said) -> Said:
        self._wanted[said.fields["model"], said.fields["entity"]] = tuple(said.fields["shape"])
        return Said()

    def _mirror(self, said: Said) -> None:
        """Begin a mirror where the parent's feed is now; one that is there already is at that place."""
        fields = said.fields
        feeds = self._feeds.setdefault(fields["model"], {})
        found = feeds.get(fields["entity"])
        if found is None:
            feed = Feed(self.readers)
            bounds = pairwise(accumulate((length for _, length in fields["kept"]), initial=0))
            kept = [(number, said.body[a:b]) for (number, _), (a, b) in zip(fields["kept"], bounds, strict=True)]
            feed.go_on(FeedState(fields["birth"], fields["last"], tuple(kept)))
        else:
            feed = found[0]
        feeds[fields["entity"]] = feed, tuple(fields["shape"])

    def _heard(self, said: Said) -> None:
        found = self._feeds.get(said.fields["model"], {}).get(said.fields["entity"])
        if found is not None:
            found[0].take(said.fields["number"], said.body)

    def _forgotten(self, said: Said) -> None:
        found = self._feeds.get(said.fields["model"], {}).get(said.fields["entity"])
        if found is not None:
            found[0].forget_what_was()
