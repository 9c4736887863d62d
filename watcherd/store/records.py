"""Which revision of a model was applied from which file, and the admin's decisions.

Owns the records of models and of their last good sources: values, and functions over a cursor.
Revision numbers never go back, whatever happens to the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from watcherd.errors import StoreError
from watcherd.pim.linked import NO_CODE, Code
from watcherd.store.cursor import Cursor, any_among, insert

KEPT_REVISIONS: Final = 20
"""How many of the last good sources of a model are kept."""

_MODEL_COLUMNS: Final = (
    "model", "domain", "file", "revision", "next_revision", "fingerprint", "state", "unloaded", "applied_at",
    "overrides",
)  # fmt: skip
_REVISION_COLUMNS: Final = ("model", "revision", "source", "fingerprint", "file", "applied_at", "code")

_APPLIED: Final = (
    "SELECT m.model, m.domain, m.file, m.revision, r.source, m.fingerprint, m.state, m.unloaded, m.applied_at, "
    "m.next_revision, m.renamed_from, m.overrides, r.code FROM watcherd_model AS m "
    "JOIN watcherd_revision AS r ON r.model = m.model AND r.revision = m.revision"
)
"""What `_applied` reads."""

State = Literal["live", "parked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One good revision as it is applied.

    `source` are the file's bytes, `file` is its display name, `code` what its handlers need. After a
    rollback `source` is older than the file, and `overrides` the digest of what the file has.
    """

    model: str
    domain: str
    file: str
    revision: int
    source: bytes
    fingerprint: str
    overrides: str | None = None
    code: Code = NO_CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was last applied of a model. `applied_at` is RFC 3339 in UTC.

    `next_revision` never goes back, also not while the model is parked. `unloaded` is the admin's
    decision, independent of whether the file is there (`state`). `renamed_from` is the (folded)
    name that the model had before its last rename, `overrides` as in `Record`.
    """

    model: str
    domain: str
    file: str
    revision: int
    source: bytes
    fingerprint: str
    state: State
    unloaded: bool
    applied_at: str
    next_revision: int
    renamed_from: str | None = None
    overrides: str | None = None
    code: Code = NO_CODE


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRevision:
    """One of the last good revisions of a model."""

    model: str
    revision: int
    source: bytes
    fingerprint: str
    file: str
    applied_at: str
    code: Code = NO_CODE


def applied(cursor: Cursor) -> dict[str, Applied]:
    """Everything that was ever applied, by folded model name."""
    return {row[0]: _applied(row) for row in cursor.execute(f"{_APPLIED} ORDER BY m.model")}


def applied_one(cursor: Cursor, model: str) -> Applied | None:
    """What was last applied of one model."""
    row = cursor.execute(f"{_APPLIED} WHERE m.model = ?", (model,)).fetchone()
    return None if row is None else _applied(row)


def any_known(cursor: Cursor, models: Sequence[str]) -> bool:
    """Whether the catalog knows one of these models."""
    return any_among(cursor, "watcherd_model", "model", models)


def revisions(cursor: Cursor, model: str) -> tuple[KeptRevision, ...]:
    """The kept revisions of a model, newest first."""
    rows = cursor.execute(
        "SELECT revision, source, fingerprint, file, applied_at, code FROM watcherd_revision WHERE model = ? "
        "ORDER BY revision DESC",
        (model,),
    )
    return tuple(
        KeptRevision(
            model=model,
            revision=row[0],
            source=bytes(row[1]),
            fingerprint=row[2],
            file=row[3],
            applied_at=row[4],
            code=Code.of_text(row[5]),
        )
        for row in rows
    )


def record(cursor: Cursor, new: Record) -> None:
    """Make a revision the applied one, and forget all but the last `KEPT_REVISIONS`.

    A revision that is applied already is not written again.
    """
    old = applied_one(cursor, new.model)
    if old is not None and old.state == "live" and _same(old, new):
        return
    now = _now()
    cursor.execute(
        "INSERT INTO watcherd_model (model, domain, file, revision, next_revision, fingerprint, state, unloaded, "
        "applied_at, overrides) VALUES (?, ?, ?, ?, ?, ?, 'live', 0, ?, ?) ON CONFLICT (model) DO UPDATE "
        "SET domain = excluded.domain, file = excluded.file, revision = excluded.revision, "
        "fingerprint = excluded.fingerprint, state = 'live', overrides = excluded.overrides, "
        "next_revision = CASE WHEN excluded.next_revision > watcherd_model.next_revision "
        "THEN excluded.next_revision ELSE watcherd_model.next_revision END, applied_at = excluded.applied_at",
        (new.model, new.domain, new.file, new.revision, new.revision + 1, new.fingerprint, now, new.overrides),
    )
    cursor.execute(
        "INSERT INTO watcherd_revision (model, revision, source, fingerprint, file, applied_at, code) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (model, revision) DO UPDATE "
        "SET source = excluded.source, fingerprint = excluded.fingerprint, "
        "file = excluded.file, applied_at = excluded.applied_at, code = excluded.code",
        (new.model, new.revision, new.source, new.fingerprint, new.file, now, new.code.as_text()),
    )
    cursor.execute(
        "DELETE FROM watcherd_revision WHERE model = ? AND revision <> ? AND revision NOT IN "
        "(SELECT revision FROM watcherd_revision WHERE model = ? ORDER BY revision DESC LIMIT ?)",
        (new.model, new.revision, new.model, KEPT_REVISIONS),
    )


def record_first(cursor: Cursor, new: Sequence[Record]) -> None:
    """Write the first records of models that the catalog does not know."""
    now = _now()
    insert(
        cursor,
        "watcherd_model",
        _MODEL_COLUMNS,
        [
            (
                one.model,
                one.domain,
                one.file,
                one.revision,
                one.revision + 1,
                one.fingerprint,
                "live",
                0,
                now,
                one.overrides,
            )
            for one in new
        ],
    )
    insert(
        cursor,
        "watcherd_revision",
        _REVISION_COLUMNS,
        [(one.model, one.revision, one.source, one.fingerprint, one.file, now, one.code.as_text()) for one in new],
    )


def set_parked(cursor: Cursor, model: str) -> None:
    """Mark a model whose file is gone; with the file goes the admin's decision about it."""
    cursor.execute("UPDATE watcherd_model SET state = 'parked', unloaded = 0 WHERE model = ?", (model,))


def set_unloaded(cursor: Cursor, model: str, *, unloaded: bool) -> None:
    """Keep the admin's decision; StoreError for a model that was never applied."""
    cursor.execute("UPDATE watcherd_model SET unloaded = ? WHERE model = ?", (int(unloaded), model))
    if cursor.rowcount == 0:
        raise StoreError(f"cannot mark the model {model}: the catalog does not know it")


def rename(cursor: Cursor, old: str, new: str) -> None:
    """Let a model's record and its revisions follow it to a new name, into service.

    A record that the new name has from a time without tables goes; its numbers are not used again.
    """
    row = cursor.execute("SELECT next_revision FROM watcherd_model WHERE model = ?", (new,)).fetchone()
    cursor.execute("DELETE FROM watcherd_model WHERE model = ?", (new,))
    cursor.execute("DELETE FROM watcherd_revision WHERE model = ?", (new,))
    cursor.execute(
        "UPDATE watcherd_model SET model = ?, renamed_from = ?, unloaded = 0 WHERE model = ?", (new, old, old)
    )
    cursor.execute("UPDATE watcherd_revision SET model = ? WHERE model = ?", (new, old))
    if row is not None:
        cursor.execute(
            "UPDATE watcherd_model SET next_revision = ? WHERE model = ? AND next_revision < ?", (row[0], new, row[0])
        )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _same(old: Applied, new: Record) -> bool:
    return (old.domain, old.file, old.revision, old.fingerprint, old.source, old.overrides) == (
        new.domain,
        new.file,
        new.revision,
        new.fingerprint,
        new.source,
        new.overrides,
    )


def _applied(row: tuple[Any, ...]) -> Applied:
    return Applied(
        model=row[0],
        domain=row[1],
        file=row[2],
        revision=row[3],
        source=bytes(row[4]),
        fingerprint=row[5],
        state=row[6],
        unloaded=bool(row[7]),
        applied_at=row[8],
        next_revision=row[9],
        renamed_from=row[10],
        overrides=row[11],
        code=Code.of_text(row[12]),
    )
