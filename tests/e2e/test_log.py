"""A daemon whose log nobody reads any more: it serves, says so where it is asked, and goes on with the next reader."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.e2e.process import HANG_SECONDS, clean_environment

COMMAND = (sys.executable, "-m", "watcherd", "serve", "--port", "0", "--log-format", "json")


def lines_of(reader: int) -> Callable[[], list[dict[str, str]]]:
    """Everything that has come out of a pipe so far, as lines of the log."""
    received = bytearray()

    def lines() -> list[dict[str, str]]:
        try:
            while data := os.read(reader, 2**16):
                received.extend(data)
        except BlockingIOError:
            pass
        return [json.loads(line) for line in received.splitlines(keepends=True) if line.endswith(b"\n")]

    return lines


async def until(lines: Callable[[], list[dict[str, str]]], event: str) -> dict[str, str]:
    """The first line of an event; whoever writes them is another process."""
    while not (found := [line for line in lines() if line["event"] == event]):
        await asyncio.sleep(0.005)
    return found[0]


async def test_a_daemon_whose_log_nobody_reads_serves_says_so_and_goes_on_with_the_next_reader(
    tmp_path: Path, shop_models: Path
) -> None:
    path = tmp_path / "log"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(path, os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--models", str(shop_models), "--data-dir", str(tmp_path / "data"), stdout=writer,
        env=clean_environment(),
    )  # fmt: skip
    os.close(writer)
    try:
        address = (await until(lines_of(reader), "daemon.started"))["address"]
        async with httpx.AsyncClient(base_url=address, timeout=HANG_SECONDS) as client:
            os.close(reader)
            while (ready := (await client.get("/readyz")).json())["status"] == "ok":
                assert (await client.get("/api/shop/items")).status_code == 200
            assert ready["reasons"][0].startswith("the log cannot be written: [Errno 32] Broken pipe; ")

            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            lines = lines_of(reader)
            assert (await until(lines, "log.dropped"))["level"] == "warning"
            while (await client.get("/readyz")).json()["status"] != "ok":
                pass
            assert (await client.get("/api/shop")).status_code == 200
            await until(lines, "request")
        process.terminate()
        assert await process.wait() == 0
    finally:
        os.close(reader)
        if process.returncode is None:
            process.kill()
            await process.wait()
