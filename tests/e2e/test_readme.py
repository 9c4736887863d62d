"""The README's tour and its load and unload sequence, command by command, as a newcomer types them."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.process import Process, running

ROOT = Path(__file__).parents[2]
VARIES = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"), "UUID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"), "TIME"),
]


@dataclass(frozen=True)
class Command:
    """What is typed, and what the README says that it prints."""

    line: str
    printed: str


def commands(section: str) -> list[list[Command]]:
    """The commands of a section, block by block."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    body = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [_block(block) for block in re.findall(r"```console\n(.*?)```", body, re.DOTALL)]


def _block(block: str) -> list[Command]:
    found = []
    for typed in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = typed.splitlines()
        last = next(number for number, line in enumerate(lines) if not line.endswith("\\"))
        found.append(Command("\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :])))
    return found


async def run(command: Command, daemon: Process, directory: Path) -> None:
    line = command.line.replace("http://127.0.0.1:8000", daemon.address)
    line = line.replace(".venv/bin/watcherd", f"{sys.executable} -m watcherd")
    shell = await asyncio.create_subprocess_shell(
        line, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await shell.communicate()
    assert plain(printed.decode()) == plain(command.printed), line
    if line.startswith("sed -i"):
        # A person takes longer than the watcher; a test has to ask.
        async with daemon.client() as client:
            assert (await client.post("/admin/reload")).status_code == 200


def plain(text: str) -> str:
    for pattern, name in VARIES:
        text = pattern.sub(name, text)
    return text.strip()


async def test_the_tour_works_as_it_is_written(tmp_path: Path) -> None:
    models = tmp_path / "pim_models"
    shutil.copytree(ROOT / "pim_models", models)
    blocks = commands("A tour of 60 seconds")
    assert len(blocks) >= 6
    async with running(models, tmp_path / "data") as daemon:
        for block in blocks:
            for command in block:
                await run(command, daemon, tmp_path)


async def test_load_and_unload_work_as_they_are_written(tmp_path: Path) -> None:
    models, data = tmp_path / "pim_models", tmp_path / "data"
    shutil.copytree(ROOT / "pim_models", models)
    before, after = commands("Load and unload")
    async with running(models, data) as daemon:
        for command in before:
            await run(command, daemon, tmp_path)
    async with running(models, data) as daemon:
        for command in after:
            await run(command, daemon, tmp_path)


async def test_export_and_import_work_as_they_are_written(tmp_path: Path) -> None:
    models = tmp_path / "pim_models"
    shutil.copytree(ROOT / "pim_models", models)
    export, import_ = commands("Export and import")
    async with running(models, tmp_path / "data") as daemon:
        for command in (*import_, *export):
            await run(command, daemon, tmp_path)
    assert (tmp_path / "authors.csv").read_bytes().splitlines()[1] == b"Ursula K. Le Guin,1929-10-21"
    assert (tmp_path / "books.csv").read_bytes().startswith(b"id,isbn,title,")
