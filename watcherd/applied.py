"""What the catalog says of every model, and keeping it true: numbers, sources, decisions.

Owns the copy of the catalog's records that a reload reads, and every writing of them; `Store` owns the
database. Does not own when anything is written, which is told by the reload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType

from watcherd.ledger import FileEntry, Live, Rollback, World
from watcherd.pim import fingerprint, parse
from watcherd.store import Applied, Record, Rejection, SchemaPlan, StalePlanError, Store


@dataclass(frozen=True, slots=True)
class Identity:
    """What a revision is known by in the catalog."""

    number: int
    fingerprint: str


class AppliedModels:
    """The records by folded model name, as they were read at the start and written since."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, Applied] = {}

    @property
    def records(self) -> Mapping[str, Applied]:
        """Everything that was ever applied."""
        return self._records

    async def recall(self) -> World:
        """Read the catalog; answers what is known before any file is read."""
        self._records = dict(await self._store.catalog())
        kept = {model: applied for model, applied in self._records.items() if applied.state == "live"}
        return World(
            owners=MappingProxyType({model: applied.file for model, applied in kept.items()}),
            unloaded=frozenset(model for model, applied in kept.items() if applied.unloaded),
            rolled_back=MappingProxyType(
                {model: rollback for model, applied in kept.items() if (rollback := _remembered(applied)) is not None}
            ),
        )

    async def learn(self, *models: str | None) -> None:
        """Read again what the catalog says of models: another process may have written it."""
        for model in models:
            if model is None:
                continue
            applied = await self._store.applied(model)
            if applied is None:
                self._records.pop(model, None)
            else:
                self._records[model] = applied

    def turned(self, model: str) -> tuple[Rollback | None, bytes] | None:
        """The older source that serves of a model instead of its file, if one does, and what serves in any case.

        None: nothing does.
        """
        applied = self._records.get(model)
        return None if applied is None or applied.state != "live" else (_remembered(applied), applied.source)

    def identity(self, plan: SchemaPlan, live: Live | None) -> Identity:
        """What a revision is known by: the last number if it means the same and does not serve yet, else the next."""
        print_ = fingerprint(plan.linked.spec, plan.linked.code)
        applied = self._records.get(plan.renamed_model or plan.linked.spec.name)
        if applied is None:
            return Identity(1, print_)
        is_news = live is None or live.revision.number < applied.revision
        is_known = is_news and applied.fingerprint == print_
        return Identity(applied.revision if is_known else applied.next_revision, print_)

    async def expand(
        self, plan: SchemaPlan, identity: Identity, entry: FileEntry, rollback: Rollback | None
    ) -> tuple[Rejection, ...]:
        """Widen the tables and write the record, unless it says all that already.

        Answers why not, as `Store.expand`. StoreError, StalePlanError.
        """
        spec, code = plan.linked.spec, plan.linked.code
        source = entry.source.content if rollback is None else rollback.source
        overrides = None if rollback is None else rollback.overrides
        applied = self._records.get(spec.name)
        if (
            applied is not None
            and not plan.changes_schema
            and (applied.revision, applied.fingerprint, applied.file)
            == (identity.number, identity.fingerprint, entry.path)
            and (applied.state, applied.overrides) == ("live", overrides)
            and not applied.unloaded
        ):
            return ()
        assert source is not None  # noqa: S101 - it was parsed
        record = Record(
            model=spec.name,
            domain=spec.domain,
            file=entry.path,
            revision=identity.number,
            source=source,
            fingerprint=identity.fingerprint,
            overrides=overrides,
            code=code,
        )
        rejections = await self._store.expand(plan, record)
        if not rejections:
            self._keep(plan, record)
        return rejections

    async def note_file(self, live: Live, entry: FileEntry, rollback: Rollback | None) -> None:
        """Write down that a file was renamed, or a rollback is over: the next start must know what speaks."""
        linked = live.revision.linked
        applied = self._records.get(linked.spec.name)
        overrides = None if rollback is None else rollback.overrides
        if applied is not None and (applied.file, applied.overrides) != (entry.path, overrides):
            identity = Identity(live.revision.number, fingerprint(linked.spec, linked.code))
            try:
                await self.expand(await self._store.plan(linked), identity, entry, rollback)
            except StalePlanError:
                # Another process has gone on: it has noted its file with its revision, which is taken up soon.
                await self.learn(linked.spec.name)

    async def write_decisions(self, before: World, after: World, decided_elsewhere: frozenset[str]) -> None:
        """Write an administrator's decisions down before they take effect, so that they are kept."""
        for model in (before.unloaded ^ after.unloaded) | decided_elsewhere:
            unloaded = model in after.unloaded
            if model in after.owners and self._records[model].unloaded != unloaded:
                await self._store.set_unloaded(model, unloaded=unloaded)
                self._records[model] = replace(self._records[model], unloaded=unloaded)

    async def park_what_is_gone(self, owners: Mapping[str, str]) -> list[Applied]:
        """Mark the models whose file is gone, and answer them; their data stays."""
        # All records are gone through by Python itself: with thousands of models each save would pay for them.
        missing = (self._records[model] for model in sorted(self._records.keys() - owners.keys()))
        gone = [applied for applied in missing if applied.state == "live"]
        for applied in gone:
            await self._store.park(applied.model)
            self._records[applied.model] = replace(applied, state="parked", unloaded=False)
        return gone

    def _keep(self, plan: SchemaPlan, record: Record) -> None:
        """The record as the catalog has it now."""
        known = self._records.get(plan.renamed_model or record.model)
        if plan.renamed_model is not None:
            self._records.pop(plan.renamed_model, None)
        self._records[record.model] = Applied(
            model=record.model,
            domain=record.domain,
            file=record.file,
            revision=record.revision,
            source=record.source,
            fingerprint=record.fingerprint,
            state="live",
            unloaded=known is not None and known.unloaded,
            applied_at=datetime.now(UTC).isoformat(),
            next_revision=max(record.revision + 1, 0 if known is None else known.next_revision),
            renamed_from=plan.renamed_model or (None if known is None else known.renamed_from),
            overrides=record.overrides,
            code=record.code,
        )


def _remembered(applied: Applied) -> Rollback | None:
    """The rollback that a model was in when the catalog was last written."""
    if applied.overrides is None:
        return None
    parsed = parse(applied.source, applied.file)
    return None if parsed.spec is None else Rollback(applied.source, parsed, applied.overrides, applied.code)
