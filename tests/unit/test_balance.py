"""Processes that share a listening socket have about as many connections each."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from watcherd.balance import Balance, Counted
from watcherd.server import Acceptor


@pytest.fixture
def shared() -> Iterator[Balance]:
    balance = Balance.among(2)
    yield balance
    os.close(balance.descriptor)


def test_who_has_more_waits_and_who_is_absent_counts_for_nothing(shared: Balance) -> None:
    one = Balance(shared.descriptor, 2, 0)
    one.have(5)
    assert one.is_my_turn()  # nobody else is there
    other = Balance(shared.descriptor, 2, 1)
    other.have(4)
    assert (one.is_my_turn(), other.is_my_turn()) == (False, True)
    other.expect()
    assert one.is_my_turn()
    other.have(0)
    assert not one.is_my_turn()
    shared.absent(1)
    assert one.is_my_turn()


def test_a_few_more_of_many_are_even_enough(shared: Balance) -> None:
    one, other = (Balance(shared.descriptor, 2, seat) for seat in (0, 1))
    other.have(80)
    one.have(90)
    assert one.is_my_turn()
    one.have(91)
    assert not one.is_my_turn()


def test_a_set_of_connections_tells_how_many_they_are(shared: Balance) -> None:
    one, other = (Balance(shared.descriptor, 2, seat) for seat in (0, 1))
    other.have(1)
    connections: Counted[str] = Counted(one)
    connections.add("a")
    connections.add("a")
    assert one.is_my_turn()
    connections.add("b")
    assert not one.is_my_turn()
    connections.discard("b")
    connections.discard("unknown")
    assert one.is_my_turn()


async def test_a_crowd_that_comes_at_once_is_shared_evenly_even_when_one_process_wakes_up_late(
    shared: Balance,
) -> None:
    """Both acceptors are on this loop, where the first one is always asked first."""
    taken: list[int] = [0, 0]
    everybody = asyncio.Event()

    class Connection(asyncio.Protocol):
        def __init__(self, seat: int) -> None:
            taken[seat] += 1
            if sum(taken) == CROWD:
                everybody.set()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener, listener.dup() as again:
        balances = [Balance(shared.descriptor, 2, seat) for seat in (0, 1)]
        for balance in balances:
            balance.have(0)
        acceptors = [
            Acceptor(one, lambda seat=seat: Connection(seat), balances[seat])
            for seat, one in enumerate((listener, again))
        ]
        clients = [socket.create_connection(listener.getsockname()) for _ in range(CROWD)]
        await everybody.wait()
        for acceptor in acceptors:
            acceptor.close()
            await acceptor.wait_closed()
        for client in clients:
            client.close()
    assert taken == [CROWD // 2, CROWD // 2]


async def test_a_process_that_does_not_come_keeps_nobody_waiting(shared: Balance) -> None:
    begun = asyncio.Event()

    class Connection(asyncio.Protocol):
        def connection_made(self, _transport: asyncio.BaseTransport) -> None:
            begun.set()

    Balance(shared.descriptor, 2, 1).have(0)  # has fewer, and hangs
    mine = Balance(shared.descriptor, 2, 0)
    mine.have(10)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = Acceptor(listener, Connection, mine)
        with closing(socket.create_connection(listener.getsockname())):
            await begun.wait()
        acceptor.close()
        await acceptor.wait_closed()


CROWD = 16
