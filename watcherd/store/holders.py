"""Which process holds which revisions: each says it in the database, with a heartbeat.

Owns the two tables for it, and the answer to "may something be taken away". What an older revision
needs is taken away when every process that lives has spoken since that was asked for the first
time, and none of them has said that it holds an older one. So it does not matter who was just
starting, or had not heard of a change yet.

A process on another host lives as long as its heartbeat is not older than `STALE_SECONDS`, by the
database's own clock. On SQLite all processes are on this machine, which is asked instead: then
nothing has to be written for as long as there is only one.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from watcherd.store.cursor import Cursor

BEAT_SECONDS: Final = 2.0
"""How often a process speaks."""

STALE_SECONDS: Final = 20.0
"""Who has not spoken for this long holds nothing any more."""

_STARTED: Final = 19
"""The start time's place in `/proc/<pid>/stat`, behind the name of the program."""


@dataclass(frozen=True, slots=True)
class Me:
    """This process: `name` is for people, `born` tells it from a later one with the same number."""

    process: str
    name: str
    pid: int
    born: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What a heartbeat finds out.

    `lapsed`: this process was taken for dead, and what older revisions needed may be gone. `applied`
    are revision and fingerprint of every model that a file speaks for, by folded name; empty where nobody
    else lives, or has lived meanwhile. `unloaded` are those of them that an administrator took out of service,
    `overrides` those that he took back: the digest of the file that an older source serves instead of.
    """

    lapsed: bool
    applied: Mapping[str, tuple[int, str]]
    unloaded: frozenset[str] = frozenset()
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Other:
    process: str
    name: str
    spoken: int
    holds: Mapping[str, int]


def me() -> Me:
    """This process as it calls itself."""
    pid = os.getpid()
    return Me(str(uuid.uuid4()), f"{socket.gethostname()}:{pid}", pid, _born(pid) or "")


def enter(cursor: Cursor, me: Me) -> None:
    """Begin to be counted: from now on nothing is taken away that this process could need."""
    _remove_the_dead(cursor)
    cursor.execute(
        "INSERT INTO watcherd_process (process, name, pid, born, beat_at, spoken) "  # noqa: S608 - our own words
        f"VALUES (?, ?, ?, ?, {cursor.dialect.milliseconds}, 0)",
        (me.process, me.name, me.pid, me.born),
    )


def speak(cursor: Cursor, me: Me, holds: Mapping[str, int] | None) -> Heard:
    """Say which revision is the oldest that this process holds of each model, and hear of the others.

    None: it cannot say yet, and may come to hold anything.
    """
    found = cursor.execute("SELECT beat_at FROM watcherd_process WHERE process = ?", (me.process,)).fetchone()
    lapsed = found is None or (cursor.dialect.is_server and found[0] < _now(cursor) - STALE_SECONDS * 1000)
    if found is None:
        enter(cursor, me)
    others = _others(cursor, me.process)
    if not others and not cursor.dialect.is_server:
        return Heard(lapsed, {})
    now = cursor.dialect.milliseconds
    cursor.execute(f"UPDATE watcherd_process SET beat_at = {now} WHERE process = ?", (me.process,))  # noqa: S608 - our own words
    if holds is None:
        return Heard(lapsed, {})
    if dict(_holds(cursor, me.process)) != holds:
        cursor.execute("DELETE FROM watcherd_hold WHERE process = ?", (me.process,))
        for model, revision in holds.items():
            cursor.execute(
                "INSERT INTO watcherd_hold (process, model, revision) VALUES (?, ?, ?)", (me.process, model, revision)
            )
    cursor.execute("UPDATE watcherd_process SET spoken = spoken + 1 WHERE process = ?", (me.process,))
    if not others and not lapsed:
        return Heard(lapsed, {})
    return hear(cursor, lapsed=lapsed)


def hear(cursor: Cursor, *, lapsed: bool = False) -> Heard:
    """What was last applied and decided, whoever did it."""
    rows = cursor.execute(
        "SELECT model, revision, fingerprint, unloaded, overrides FROM watcherd_model WHERE state = 'live'"
    ).fetchall()
    return Heard(
        lapsed,
        {model: (revision, fingerprint) for model, revision, fingerprint, _, _ in rows},
        frozenset(model for model, _, _, unloaded, _ in rows if unloaded),
        {model: overrides for model, _, _, _, overrides in rows if overrides is not None},
    )


def leave(cursor: Cursor, me: Me) -> None:
    """Hold nothing any more."""
    _forget(cursor, me.process)


def said(cursor: Cursor, mine: str | None) -> Mapping[str, int]:
    """How often each of the others has spoken so far: to be asked for before `in_the_way`."""
    return {one.process: one.spoken for one in _others(cursor, mine)}


def in_the_way(cursor: Cursor, mine: str | None, model: str, revision: int, before: Mapping[str, int]) -> str | None:
    """Who may still need what revisions of a model before `revision` need; None: nobody.

    `mine` is this process, which knows about itself; `before` what `said` answered when that
    revision was the last one. For people: a name, and what it holds.
    """
    for one in _others(cursor, mine):
        held = one.holds.get(model)
        if held is not None and held < revision:
            return f"{one.name} holds revision {held}"
        if one.spoken == before.get(one.process, 0):
            return f"{one.name} has not said yet what it holds"
    return None


def users(cursor: Cursor, model: str, revision: int | None) -> str | None:
    """Who may need what a model has out of service; `revision` is the one applied, None: it is not in service."""
    for one in _others(cursor, None):
        held = one.holds.get(model)
        if not one.spoken:
            return f"{one.name} has not said yet what it holds"
        if held is not None and held != revision:
            return f"{one.name} holds revision {held}"
    return None


def _others(cursor: Cursor, mine: str | None) -> list[_Other]:
    """The processes that live, but for this one."""
    rows = cursor.execute("SELECT process, name, pid, born, beat_at, spoken FROM watcherd_process").fetchall()
    stale = _now(cursor) - STALE_SECONDS * 1000 if rows else 0
    living = []
    for process, name, pid, born, beat_at, spoken in rows:
        lives = beat_at >= stale if cursor.dialect.is_server else _born(pid) == born
        if lives and process != mine:
            living.append(_Other(process, name, spoken, dict(_holds(cursor, process))))
    return living


def _remove_the_dead(cursor: Cursor) -> None:
    living = {one.process for one in _others(cursor, None)}
    for (process,) in cursor.execute("SELECT process FROM watcherd_process").fetchall():
        if process not in living:
            _forget(cursor, process)


def _forget(cursor: Cursor, process: str) -> None:
    cursor.execute("DELETE FROM watcherd_hold WHERE process = ?", (process,))
    cursor.execute("DELETE FROM watcherd_process WHERE process = ?", (process,))


def _holds(cursor: Cursor, process: str) -> list[tuple[str, int]]:
    return cursor.execute("SELECT model, revision FROM watcherd_hold WHERE process = ?", (process,)).fetchall()


def _now(cursor: Cursor) -> int:
    (milliseconds,) = cursor.execute(f"SELECT {cursor.dialect.milliseconds}").fetchone()
    return int(milliseconds)


def _born(pid: int) -> str | None:
    """When a process of this machine started, as the system counts; empty where it does not tell, None: no process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _alive(pid)
    return stat.rpartition(")")[2].split()[_STARTED]


def _alive(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return ""
    return ""
