"""`Idempotency-Key` on a POST: the write and the record of its answer are one transaction.

Owns what a key looks like, who a caller is, and when a kept answer is given again. Does not own
how answers are kept (store), nor what is written (entity, batch, imports).

Kept is what was written, and nothing else: a request that was refused has changed nothing, so its
key may be used again, with a corrected body too. A caller is known by the name of its API key, however
that is sent; where none are asked for, by the `Authorization` header: those without one are one caller.
Both spellings of a model and of a service's path are the same path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b

from watcherd import problems
from watcherd.compile.writes import Admit, Performance, Prepare
from watcherd.errors import StillRunningError
from watcherd.problems import Problem
from watcherd.store import AnswerName, Cursor, KeptAnswer, ModelTables
from watcherd.wire import Answer, Call

MAX_KEY_LENGTH = 255

_KEY = re.compile(rb"[\x21-\x7e]{1,%d}" % MAX_KEY_LENGTH)
_REPLAYED = (b"idempotency-replayed", b"true")


class PostEndpoint:
    """One POST of a model: prepares what to write, and writes it once for each idempotency key."""

    __slots__ = ("_admit", "_clock", "_max_bytes", "_name", "_prepare", "_tables")

    def __init__(  # noqa: PLR0913 - the parts of a POST, put together once
        self,
        name: str,
        prepare: Prepare,
        tables: ModelTables,
        clock: Callable[[], datetime],
        *,
        max_bytes: int | None = None,
        admit: Admit | None = None,
    ) -> None:
        """`name` is the path with the folded model's name, the same for all spellings of it.

        `max_bytes` bounds the body where that is not the bound of every call. Without `admit` the
        answers that are kept are for whoever has the key.
        """
        self._admit = admit
        self._max_bytes = max_bytes
        self._name = f"POST {name}"
        self._prepare = prepare
        self._tables = tables
        self._clock = clock

    async def answer(self, call: Call) -> Answer:
        """The answer of the write, or the one that was kept. Raises `Problem`: 400, 409, 422, and what is refused."""
        sent = call.header(b"idempotency-key")
        if sent is None:
            prepared = await self._prepare(call)
            if isinstance(prepared, Performance):
                return await prepared.perform(None)
            return await self._tables.write(prepared)
        name = AnswerName(_caller(call), self._name, read_key(sent))
        if self._admit is not None:
            self._admit(call)  # who must not have a first answer must not have it again either
        kept = await self._tables.answers.find(name, self._now())
        if kept is not None:
            return await self._replay(call, kept)
        try:
            with self._tables.answers.running(name):
                return await self._perform(call, name)
        except StillRunningError as error:
            raise Problem(problems.STILL_RUNNING, str(error), headers={"retry-after": "1"}) from error

    async def _perform(self, call: Call, name: AnswerName) -> Answer:
        digest = call.fingerprint_body()
        prepared = await self._prepare(call)
        fingerprint, now = _fingerprint(call, digest()), self._now()

        def keep(cursor: Cursor, answer: Answer) -> None:
            self._tables.answers.keep(cursor, name, _kept(answer, fingerprint), now)

        if isinstance(prepared, Performance):
            return await prepared.perform(keep)
        work = prepared

        def work_and_keep(cursor: Cursor) -> Answer:
            answer = work(cursor)
            keep(cursor, answer)
            return answer

        return await self._tables.write(work_and_keep)

    async def _replay(self, call: Call, kept: KeptAnswer) -> Answer:
        digest = call.fingerprint_body()
        async for _ in call.chunks(self._max_bytes or call.max_body_bytes):
            pass
        if _fingerprint(call, digest()) != kept.fingerprint:
            raise Problem(problems.KEY_REUSED, "the idempotency key belongs to a request with another body")
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept.headers]
        return Answer(kept.status, kept.body, kept.media.encode("ascii"), [*headers, _REPLAYED])

    def _now(self) -> int:
        return int(self._clock().timestamp())


def read_key(sent: bytes) -> str:
    """The key of a header, with or without quotes. Raises `Problem` 400 for one that is malformed."""
    sent = sent.strip()
    key = sent[1:-1] if len(sent) > 1 and sent[:1] == sent[-1:] == b'"' else sent
    if _KEY.fullmatch(key) is None:
        raise Problem(
            problems.BAD_REQUEST,
            f"an Idempotency-Key has 1 to {MAX_KEY_LENGTH} visible ASCII characters and no spaces, such as a UUID",
        )
    return key.decode("ascii")


def _caller(call: Call) -> str:
    """Who sends a request: the name of its API key, else a hash, since what is sent is a secret."""
    if call.identity is not None:
        return f"key {call.identity}"
    sent = call.header(b"authorization")
    return "" if sent is None else blake2b(sent, digest_size=16).hexdigest()


def _fingerprint(call: Call, body: str) -> str:
    """What must be the same in a request that is sent again: the body, and the parameters where it has any."""
    return f"{body} {call.query.decode('latin-1')}"


def _kept(answer: Answer, fingerprint: str) -> KeptAnswer:
    return KeptAnswer(
        fingerprint=fingerprint,
        status=answer.status,
        media=answer.media.decode("ascii"),
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers),
        body=answer.body,
    )
