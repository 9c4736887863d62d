"""The commands beside the operations: each of them can be sent as it is, and is understood."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.helpers import serving
from tests.samples import sample_texts
from watcherd.admin.samples import curl

UNDERSTOOD = {200, 201, 204, 404, 409, 422, 501}
"""What a command with `ID` in place of a key, and with values that fit the types alone, may be answered."""


@pytest.mark.parametrize("name", sorted(sample_texts()))
async def test_every_command_is_understood_by_the_model(name: str, tmp_path: Path) -> None:
    async with serving(tmp_path, sample_texts()) as walk:
        live = next(live for live in walk.reloader.world.live.values() if live.path == name)
        base = f"/api/{live.spec.domain}"
        for operation in live.revision.operations:
            command = curl(operation, live.spec, base)
            words = shlex.split(command)
            assert words[0] == "curl"
            if "-sN" in words:
                continue  # a stream has no end
            body = words[words.index("-d") + 1].encode() if "-d" in words else b""
            kind = next((word.partition(": ")[2] for word in words if word.startswith("Content-Type")), "")
            given = "-X" in words
            method = words[words.index("-X") + 1] if given else "POST" if "-d" in words else "GET"
            method = "POST" if "--data-binary" in words else method
            assert method == operation.method
            if "--data-binary" in words:
                continue  # of a file that is not there
            reply = await walk.send(method, words[2], body, kind or "application/json")
            assert reply.status in UNDERSTOOD, (command, reply.body)
