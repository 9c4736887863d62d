"""`check --watch`: a real process, real saves; what it prints is waited for, never a time."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

GOOD = "domain: shop\nentities:\n- name: Item\n  attributes: {sku: string}\n"
BROKEN = GOOD.replace("string", "strnig")
WAITING = "Waiting for changes; Ctrl-C ends this."


class Check:
    """A running `watcherd check --watch`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def look(self) -> list[str]:
        """The lines of the next look, up to where it waits again."""
        assert self._process.stdout is not None
        lines: list[str] = []
        while (line := (await self._process.stdout.readline()).decode()) != f"{WAITING}\n":
            assert line, lines
            lines.append(line.rstrip("\n"))
        return [line for line in lines if line]

    async def end(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return await self._process.wait()


def save(file: Path, text: str) -> None:
    """Whole at once: of one that is written in place, a beginning may be looked at, too."""
    beside = file.with_name(f".{file.name}.tmp")
    beside.write_text(text)
    beside.replace(file)


async def start(directory: Path, *arguments: str) -> Check:
    root = str(Path(__file__).parents[3])
    return Check(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "watcherd", "check", "--watch", *arguments),
            cwd=directory,
            env={**os.environ, "PYTHONPATH": root},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )


async def test_each_save_is_looked_at_and_the_last_look_decides_how_it_ends(tmp_path: Path) -> None:
    models = tmp_path / "pim_models"
    models.mkdir()
    save(models / "shop.yaml", GOOD)
    check = await start(tmp_path)
    assert (await check.look())[-1].startswith("1 file, 0 errors")
    save(models / "shop.yaml", BROKEN)
    assert (await check.look())[0].startswith("pim_models/shop.yaml:4:21: PIM207 error")
    save(models / "other.yaml", GOOD.replace("shop", "other"))
    assert (await check.look())[-1].startswith("2 files, 1 error")
    (models / "shop.yaml").unlink()
    assert (await check.look())[-1].startswith("1 file, 0 errors")
    save(models / "shop.yaml", BROKEN)
    await check.look()
    assert await check.end() == 1


async def test_a_single_file_is_looked_at_when_its_neighbour_changes(tmp_path: Path) -> None:
    save(tmp_path / "a.yaml", GOOD.replace("string", "{reference: other.Thing}"))
    check = await start(tmp_path, "a.yaml")
    assert "PIM502" in (await check.look())[0]
    save(tmp_path / "b.yaml", "domain: other\nentities: [{name: Thing}]\n")
    assert (await check.look())[-1].startswith("1 file, 0 errors")
    assert await check.end() == 0
