"""The thread that waits for events: it is heard when it ends, whatever it ends of."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from watcherd.watch.notify import Notifier, NotifyFailedError, RawEvents


@pytest.mark.parametrize("error", [KeyError("a"), MemoryError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")])
async def test_a_thread_that_ends_of_the_unforeseen_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_: Notifier, __: set[tuple[int, str]]) -> RawEvents:
        raise error

    monkeypatch.setattr(Notifier, "_relative", fail)
    heard: asyncio.Queue[RawEvents | NotifyFailedError] = asyncio.Queue()
    notifier = Notifier(tmp_path, heard.put_nowait, step=0.001)
    try:
        (tmp_path / "shop.yaml").write_text("domain: shop")
        failure = await asyncio.wait_for(heard.get(), 60)
        assert isinstance(failure, NotifyFailedError)
        assert failure.__cause__ is error
    finally:
        notifier.close()
