"""The events of an entity's rows: hears of them after each commit, and answers those who listen.

Owns which attributes are shown. Does not own the ring and the readers (feeds), nor when a row is
committed (store). The feed outlives the revision, the stream does not: when the revision retires,
its readers are told to come back, and find the feed of its successor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from watcherd import problems
from watcherd.compile.query import refuse_parameters
from watcherd.feeds import EMITTED, HEADERS, MEDIA, Feeds, TooManyReadersError
from watcherd.pim.spec import Entity
from watcherd.problems import Problem
from watcherd.store import RowChange
from watcherd.wire import Answer, Call


async def emitted(model: str, feeds: Feeds, call: Call) -> Answer:
    """200: a stream of what the methods of a (folded) model emit."""
    return await _stream(feeds, model, EMITTED, (), call)


async def _stream(feeds: Feeds, model: str, entity: str, shape: tuple[str, ...], call: Call) -> Answer:
    refuse_parameters(call.query)
    last = call.header(b"last-event-id")
    try:
        reader = await feeds.listen(model, entity, shape, None if last is None else last.decode("latin-1"))
    except TooManyReadersError as error:
        raise Problem(problems.UNAVAILABLE, str(error), headers={"retry-after": "5"}) from error
    return Answer(200, media=MEDIA, headers=HEADERS, stream=reader, leave=reader.leave)


class RowEvents:
    """One entity's changes, for one revision."""

    __slots__ = ("_entity", "_feeds", "_model", "_shape")

    def __init__(self, model: str, entity: Entity, feeds: Feeds) -> None:
        """`model` is folded."""
        self._model = model
        self._entity = entity.name
        self._feeds = feeds
        self._shape = tuple(item.name for item in entity.attributes.values() if not item.write_only)

    def heard(self, kind: RowChange, values: Mapping[str, Any]) -> None:
        """Tell the readers of a row that was committed."""
        self._feeds.publish(self._model, self._entity, kind, values)

    def lost(self) -> None:
        """Tell the readers that more was committed than they are told."""
        self._feeds.reset(self._model, self._entity)

    async def answer(self, call: Call) -> Answer:
        """200: a stream of events, from after `Last-Event-ID` on where that is given."""
        return await _stream(self._feeds, self._model, self._entity, self._shape, call)
