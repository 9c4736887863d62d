"""Answers kept by idempotency key: what a request was told is written together with what it wrote.

Owns their table and which requests with a key are running in this process. An answer is kept in
the transaction of its write, so that no crash separates the two, and for `KEPT_SECONDS`. Expired
ones are removed when the database is opened, and a few with each that is kept. Does not own what a
key looks like, nor what is answered (compile).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from watcherd.errors import StillRunningError
from watcherd.store.cursor import Cursor, IntegrityError
from watcherd.store.database import Database

KEPT_SECONDS: Final = 24 * 60 * 60
_REMOVED_AT_ONCE: Final = 10
"""How many expired answers one new answer takes away: more than one, so that they become fewer."""

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS watcherd_answer (
        caller TEXT NOT NULL, path TEXT NOT NULL, idempotency_key TEXT NOT NULL, fingerprint TEXT NOT NULL,
        status INTEGER NOT NULL, media TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL,
        kept_at BIGINT NOT NULL, PRIMARY KEY (caller, path, idempotency_key))""",
    """CREATE INDEX IF NOT EXISTS watcherd_answer_kept_at ON watcherd_answer (kept_at)""",
)
_NAMED: Final = "caller = ? AND path = ? AND idempotency_key = ?"


@dataclass(frozen=True, slots=True)
class AnswerName:
    """What an answer is kept under. `path` begins with the method and the model, however it was spelt."""

    caller: str
    path: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAnswer:
    """An answer, and the fingerprint of the request that it was given to."""

    fingerprint: str
    status: int
    media: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def create(cursor: Cursor, now: int) -> None:
    """Make the table where there is none, and remove what has expired; `now` in seconds of the epoch."""
    for statement in _TABLES:
        cursor.execute(statement.replace("BLOB", cursor.dialect.blob))
    cursor.execute("DELETE FROM watcherd_answer WHERE kept_at <= ?", (now - KEPT_SECONDS,))


class Answers:
    """The kept answers of one database; shared by all revisions, so that a reload forgets none."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: set[AnswerName] = set()

    async def find(self, name: AnswerName, now: int) -> KeptAnswer | None:
        """The answer under a name unless it has expired; `now` in seconds of the epoch."""
        row = await self._database.fetch_row(
            f"SELECT fingerprint, status, media, headers, body FROM watcherd_answer WHERE {_NAMED} AND kept_at > ?",  # noqa: S608 - our own words
            (name.caller, name.path, name.key, now - KEPT_SECONDS),
        )
        if row is None:
            return None
        fingerprint, status, media, headers, body = row
        pairs = tuple((one, value) for one, value in json.loads(headers))
        return KeptAnswer(fingerprint=fingerprint, status=status, media=media, headers=pairs, body=bytes(body))

    @contextmanager
    def running(self, name: AnswerName) -> Iterator[None]:
        """Mark a request as running while it is. StillRunningError when one of the same name runs."""
        if name in self._running:
            raise StillRunningError("a request with this idempotency key is still running")
        self._running.add(name)
        try:
            yield
        finally:
            self._running.discard(name)

    def keep(self, cursor: Cursor, name: AnswerName, answer: KeptAnswer, now: int) -> None:
        """Keep an answer inside the write that it tells of.

        StillRunningError when somebody else kept one meanwhile: another daemon on the same
        database, or a request whose caller was cancelled while its write was waiting. Raised inside
        the write, it takes back what this one wrote.
        """
        cursor.execute(
            "DELETE FROM watcherd_answer WHERE (caller, path, idempotency_key) IN "
            "(SELECT caller, path, idempotency_key FROM watcherd_answer WHERE kept_at <= ? LIMIT ?)",
            (now - KEPT_SECONDS, _REMOVED_AT_ONCE),
        )
        named = (name.caller, name.path, name.key)
        cursor.execute(f"DELETE FROM watcherd_answer WHERE {_NAMED} AND kept_at <= ?", (*named, now - KEPT_SECONDS))  # noqa: S608 - our own words
        try:
            cursor.execute(
                "INSERT INTO watcherd_answer (caller, path, idempotency_key, fingerprint, status, media, headers, "
                "body, kept_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*named, answer.fingerprint, answer.status, answer.media, json.dumps(answer.headers), answer.body, now),
            )
        except IntegrityError as error:
            raise StillRunningError("a request with this idempotency key has just been answered") from error
