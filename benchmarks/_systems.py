"""The systems under comparison, each a real process over a directory of its own.

Owns how each is laid out, started, edited and stopped. An edit is a whole new content of one
file. Its version changes each time, and what else changes goes by turns, see `EDITS`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _client import Connection, Count, wait_for
from _process import REPOSITORY, end, free_port, start

MODELS = REPOSITORY / "pim_models"
HANDWRITTEN = Path(__file__).resolve().parent / "peers" / "handwritten"

INDEX = "/api/user-management"
ROWS = "/api/user-management/users?limit=10"

EDITS = ("attribute added", "attribute removed", "version only")
"""What save 1, 2, 3 does, then again from the first: another attribute of a user each time."""

START_SECONDS = 60.0

_SMALL_MODEL = """\
domain: sample-{number}
version: 1.0.0
description: One of many small models
entities:
  - name: Item
    attributes:
      name: {{type: string, required: true, max_length: 80}}
      quantity: {{type: integer, default: 0, minimum: 0}}
      price: {{type: decimal, scale: 2}}
    constraints:
      - name cannot be empty
  - name: Note
    attributes:
      itemId: {{type: reference, reference: Item}}
      text: text
"""


@dataclass(slots=True)
class System:
    """One system: what it is called, how it is run, and which file is edited how.

    `edited(number)` is the content for save `number`, from 1. `saves` are the number of each save
    that counts and the seconds that it took.
    """

    name: str
    command: Sequence[str]
    directory: Path
    file: Path
    edited: Callable[[int], str]
    port: int
    started_line: bytes
    started_seconds: float = 0.0
    saves: list[tuple[int, float]] = field(default_factory=list)
    count: Count = field(default_factory=Count)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where the process writes to."""
        return self.directory / "output.log"

    def start(self) -> None:
        """Start the process; note how long the first answer took. RuntimeError if none came."""
        began = time.perf_counter()
        self._process = start(self.command, self.directory, self.log)
        connection = Connection(self.port)
        try:
            wait_for(connection, INDEX, b'"version"', Count(), seconds=START_SECONDS, pause=0.005)
            self.started_seconds = time.perf_counter() - began
            self._wait_for_line(began + START_SECONDS)
        except TimeoutError as error:
            raise RuntimeError(f"{self.name} did not start: {error}\n{self.log.read_text()[-2000:]}") from error
        finally:
            connection.close()

    def _wait_for_line(self, deadline: float) -> None:
        while self.started_line not in self.log.read_bytes():
            if time.perf_counter() > deadline:
                raise TimeoutError(f"its log has no {self.started_line.decode()}")
            time.sleep(0.005)

    def prepare(self, number: int) -> Path:
        """Write save `number` beside the file, under a name that no watcher minds."""
        fresh = self.file.with_name(f".{self.file.name}.new")
        fresh.write_text(self.edited(number), encoding="utf-8")
        return fresh

    def stop(self) -> None:
        """End the process and what it has started."""
        process, self._process = self._process, None
        if process is not None:
            end(process)


def watcherd(workspace: Path, models: int, *, workers: int = 1) -> System:
    """The daemon over the sample models and as many small ones as are missing to `models`."""
    directory = workspace / f"watcherd-{models}"
    shutil.copytree(MODELS, directory / "pim_models")
    samples = len(list((directory / "pim_models").glob("*.yaml")))
    for number in range(models - samples):
        (directory / "pim_models" / f"sample_{number}.yaml").write_text(_SMALL_MODEL.format(number=number))
    file = directory / "pim_models" / "user_management.yaml"
    original, port = file.read_text(encoding="utf-8"), free_port()

    def edited(number: int) -> str:
        text = _replaced(original, "version: 1.0.0\n", f"version: 1.0.{number}\n")
        added = f"      bench_{number}: {{type: string, max_length: 40}}\n" if edit_of(number) == EDITS[0] else ""
        return _replaced(text, "      homepage: url\n", f"      homepage: url\n{added}")

    return System(
        f"watcherd, {models} models",
        [sys.executable, "-m", "watcherd", "serve", "--models", "pim_models", "--data-dir", "data",
         "--port", str(port), "--log-format", "json", "--workers", str(workers)],
        directory, file, edited, port, b"daemon.started",
    )  # fmt: skip


def handwritten(workspace: Path) -> System:
    """One of the models as a hand-written app under `uvicorn --reload`.

    Its edit changes the bodies alone: to add the column as well would take it a migration.
    """
    directory = workspace / "handwritten"
    shutil.copytree(HANDWRITTEN, directory, ignore=shutil.ignore_patterns("__pycache__", "*.db"))
    file = directory / "schemas.py"
    original, port = file.read_text(encoding="utf-8"), free_port()

    def edited(number: int) -> str:
        text = _replaced(original, 'VERSION = "1.0.0"\n', f'VERSION = "1.0.{number}"\n')
        last = "    preferences: dict[str, Any] | None = None\n"
        added = (
            f"    bench_{number}: Annotated[str | None, Field(max_length=40)] = None\n"
            if edit_of(number) == EDITS[0]
            else ""
        )
        return _replaced(text, last, f"{last}{added}")

    return System(
        "uvicorn --reload",
        [sys.executable, "-m", "uvicorn", "app:app", "--reload", "--port", str(port), "--no-access-log"],
        directory, file, edited, port, b"startup complete",
    )  # fmt: skip


def edit_of(number: int) -> str:
    """Which of `EDITS` save `number` is, from 1."""
    return EDITS[(number - 1) % len(EDITS)]


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise RuntimeError(f"the benchmark expects the line {old.strip()!r} exactly once in what it edits")
    return text.replace(old, new)
