"""Feeds: what a reader gets, what it may miss, and that it always learns when it goes."""

from __future__ import annotations

import re

import pytest

from watcherd import feeds
from watcherd.feeds import Feed, Feeds, Reader, Readers, TooManyReadersError


def kinds(text: bytes) -> list[str]:
    return re.findall(r"^event: (\S+)", text.decode(), re.MULTILINE)


def last_id(text: bytes) -> str:
    return str(re.findall(r"^id: (\S+)", text.decode(), re.MULTILINE)[-1])


async def rest(reader: Reader) -> bytes:
    """Everything until the end."""
    text = b"".join([part async for part in reader])
    await reader.aclose()
    return text


async def test_a_reader_gets_what_is_published_in_order_with_ids_that_lead_on() -> None:
    feed = Feed(Readers())
    feed.publish("before", b"0")
    reader = feed.subscribe()
    feed.publish("created", b'{"a":1}')
    feed.publish("deleted", b"2")
    reader.leave("done")
    text = await rest(reader)

    assert kinds(text) == ["created", "deleted", "bye"]
    assert b'event: created\ndata: {"a":1}\n\n' in text


async def test_who_comes_back_with_the_last_id_gets_what_came_after_it() -> None:
    feed = Feed(Readers())
    reader = feed.subscribe()
    feed.publish("one", b"1")
    seen = last_id(await anext(reader))
    feed.publish("two", b"2")
    feed.publish("three", b"3")
    again = feed.subscribe(seen)
    again.leave("done")

    assert kinds(await rest(again)) == ["two", "three", "bye"]


@pytest.mark.parametrize(
    "known", ["", "x", "another-1", "{birth}-99", "{birth}-", "{birth}-²", "{birth}-" + "9" * 5000]
)
async def test_an_id_that_is_not_known_is_answered_with_a_reset_that_leads_on(known: str) -> None:
    feed = Feed(Readers())
    first = feed.subscribe()
    feed.publish("one", b"1")
    birth, _, _ = last_id(await anext(first)).partition("-")
    reader = feed.subscribe(known.format(birth=birth))
    feed.publish("two", b"2")
    text = await anext(reader)

    assert kinds(text) == ["reset", "two"]
    assert re.findall(r"^id: .*-(\d+)$", text.decode(), re.MULTILINE) == ["1", "2"]


async def test_an_id_that_fell_out_of_the_ring_is_answered_with_a_reset() -> None:
    feed = Feed(Readers(), ring=2)
    reader = feed.subscribe()
    feed.publish("one", b"1")
    oldest = last_id(await anext(reader))
    feed.publish("two", b"2")
    feed.publish("three", b"3")
    assert kinds(await anext(feed.subscribe(oldest))) == ["two", "three"]

    feed.publish("four", b"4")

    assert kinds(await anext(feed.subscribe(oldest))) == ["reset"]


async def test_a_reader_that_is_too_slow_is_sent_away_and_holds_no_more_than_its_queue() -> None:
    feed = Feed(Readers(), queue=3)
    slow, quick = feed.subscribe(), feed.subscribe()
    for number in range(10):
        feed.publish("event", str(number).encode())
        await anext(quick)

    text = await rest(slow)
    assert kinds(text) == ["bye"]
    assert b"too slow" in text


async def test_those_who_are_sent_away_are_told_to_wait_for_different_times() -> None:
    feed = Feed(Readers())
    readers = [feed.subscribe() for _ in range(50)]
    feed.send_away("stopping")
    waits = [int(re.findall(rb"^retry: (\d+)", await rest(reader), re.MULTILINE)[0]) for reader in readers]

    low, high = feeds.RETRY_MS
    assert all(low <= wait <= high for wait in waits)
    assert len(set(waits)) > 10


async def test_a_stream_in_which_nothing_happens_has_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "HEARTBEAT_SECONDS", 0.001)
    feed = Feed(Readers())
    reader = feed.subscribe()
    await anext(reader)

    assert (await anext(reader)).startswith(b":")
    feed.publish("one", b"1")
    assert kinds(await anext(reader)) == ["one"]


async def test_only_so_many_streams_are_open_and_one_that_closes_makes_room() -> None:
    readers = Readers(2)
    feed = Feed(readers)
    first, _second = feed.subscribe(), feed.subscribe()
    with pytest.raises(TooManyReadersError, match="2 event streams"):
        feed.subscribe()
    await first.aclose()
    await first.aclose()

    assert readers.open == 1
    feed.subscribe()


async def test_rows_are_told_to_those_who_asked_and_cost_nothing_where_nobody_did() -> None:
    hub = Feeds()
    hub.publish("shop", "Item", "created", {"id": 1})
    reader = hub.subscribe("shop", "Item", ("id", "name"), None)
    hub.publish("shop", "Item", "created", {"id": 2, "name": "a", "secret": "planted"})
    hub.publish("shop", "Other", "created", {"id": 3})
    hub.publish("near", "Item", "created", {"id": 4})
    text = await anext(reader)

    assert kinds(text) == ["created"]
    assert b'data: {"id":2,"name":"a"}\n' in text


async def test_what_was_kept_in_another_shape_is_not_shown_any_more() -> None:
    hub = Feeds()
    old = hub.subscribe("shop", "Item", ("id", "pin"), None)
    hub.publish("shop", "Item", "created", {"id": 1, "pin": "planted"})
    seen = last_id(await anext(old))
    hub.publish("shop", "Item", "created", {"id": 2, "pin": "planted"})
    new = hub.subscribe("shop", "Item", ("id",), seen)
    hub.publish("shop", "Item", "updated", {"id": 2, "pin": "planted"})
    text = await anext(new)

    assert kinds(text)[0] == "reset"
    assert b"planted" not in text


async def test_the_readers_of_a_model_that_is_forgotten_go() -> None:
    hub = Feeds()
    reader = hub.subscribe("shop", "Item", ("id",), None)
    near = hub.subscribe("near", "Item", ("id",), None)
    hub.forget("shop")

    assert kinds(await rest(reader)) == ["bye"]
    hub.publish("near", "Item", "created", {"id": 1})
    assert kinds(await anext(near)) == ["created"]
    assert hub.readers.open == 1
