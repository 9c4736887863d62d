"""Real signals, sent to this very process: which of them ask for what."""

from __future__ import annotations

import os
import signal

import pytest

from watcherd import signals
from watcherd.signals import Signals


async def sent(which: Signals, *numbers: signal.Signals) -> None:
    """Send signals, and wait until they have been heard: they are in the order in which they were sent."""
    for number in (*numbers, signal.SIGHUP):
        os.kill(os.getpid(), number)
    await which.hang_up.wait()
    which.hang_up.clear()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
async def test_two_signals_at_once_are_one(first: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "ONE_SIGNAL_SECONDS", 3600)  # however slow this machine is
    heard = Signals()
    await sent(heard, first, signal.SIGTERM)
    assert heard.stop.is_set()
    assert not heard.hurry.is_set()
    assert heard.name == "SIGTERM"


async def test_a_second_one_later_asks_for_the_end_of_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "ONE_SIGNAL_SECONDS", -1)  # however quick this machine is
    heard = Signals()
    await sent(heard, signal.SIGTERM)
    assert (heard.stop.is_set(), heard.hurry.is_set()) == (True, False)
    await sent(heard, signal.SIGINT)
    assert heard.hurry.is_set()
    assert heard.name == "SIGINT"


async def test_a_hang_up_asks_for_no_stop() -> None:
    heard = Signals()
    await sent(heard)
    assert not heard.stop.is_set()
