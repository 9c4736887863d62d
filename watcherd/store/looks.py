"""What has to be looked for in the rows of an entity before it changes: those that its new form does not allow.

Owns the questions; who asks them, and when, is `apply`. They are asked before the first step of a
change, on a reader as well as in its transaction, so a column that is not there yet stands in them
as the value that its rows will have.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import Attribute
from watcherd.store.codecs import signature
from watcherd.store.constraints import Wanted
from watcherd.store.dialect import Dialect
from watcherd.store.layout import StoredAttribute, StoredEntity
from watcherd.store.limits import Facts, limits, tightened
from watcherd.store.names import alias, quoted
from watcherd.store.plan import KEY_ALIAS, Scan
from watcherd.store.renames import namesake_hint

MEND_HINT: Final = "correct or delete these rows first, or take the change back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """The questions about the rows of one entity, which has the table `before`, if any.

    `held` is what the columns of its attributes hold, `made` the tables that are there already.
    `values` is filled before an attribute is asked about: its value in SQL, as the rows will have it.
    `later` are those to be asked again, with the attributes that they are about.
    """

    entity: str
    before: StoredEntity | None
    table: str
    held: Mapping[str, Attribute]
    linked: LinkedModel
    made: Container[str]
    dialect: Dialect
    values: dict[str, str] = field(default_factory=dict)
    scans: list[Scan] = field(default_factory=list)
    later: list[tuple[Scan, tuple[str, ...]]] = field(default_factory=list)

    def for_limits(self, attribute: Attribute, old: Facts, new: Facts) -> None:
        """Look for values beyond the limits that are narrower than they were."""
        stricter = tightened(old, new)
        if "required" in stricter:
            self.for_null("PIM603", attribute, MEND_HINT)
        column = alias(attribute.name)
        for limit in limits(attribute, self.held[attribute.name], old, stricter):
            violation = ""
            if limit.violation is not None and attribute.is_list:
                items = self.dialect.items(column, signature(self.linked, attribute))
                violation = f"EXISTS (SELECT 1 FROM {items} WHERE {limit.violation('item.value')})"  # noqa: S608 - quoted names
            elif limit.violation is not None:
                violation = limit.violation(column)
            scan = self._scan(limit.code, (attribute.name,), violation, f"are not {limit.text}", MEND_HINT)
            if not violation:
                scan = replace(scan, column=attribute.name, limit=limit, is_list=attribute.is_list)
            self._now_and_later(scan, (attribute.name,))

    def for_null(self, code: str, attribute: Attribute, hint: str) -> None:
        """Look for rows without a value."""
        violation = f"{alias(attribute.name)} IS NULL"
        self._now_and_later(
            self._scan(code, (attribute.name,), violation, "have no value for it", hint), (attribute.name,)
        )

    def for_orphans(self, attribute: Attribute, wanted: StoredAttribute) -> None:
        """Look for rows that refer to nothing; where the other table is new, all that refer do."""
        violation = f"{alias(attribute.name)} IS NOT NULL"
        if wanted.target_table in self.made:
            keys = f"SELECT {quoted(str(wanted.target_column))} FROM {quoted(str(wanted.target_table))}"  # noqa: S608 - quoted names
            violation += f" AND {alias(attribute.name)} NOT IN ({keys})"
        demand = f"refer to no {attribute.reference.entity if attribute.reference else ''}"
        self.scans.append(self._scan("PIM608", (attribute.name,), violation, demand, MEND_HINT))

    def for_namesake(self, attribute: Attribute, parked: StoredAttribute, old: str, default: str | None) -> None:
        """Look for values, other than the default, of what is parked under the new name of a renamed attribute."""
        violation = f"{alias(parked.name)} IS NOT NULL"
        violation += f" AND {alias(parked.name)} <> {default}" if default is not None else ""
        scan = self._scan("PIM610", (), violation, "", namesake_hint(old))
        values = f"{quoted(self._key)} AS {KEY_ALIAS}, {quoted(parked.column)} AS {alias(parked.name)}"
        source = f"(SELECT {values} FROM {quoted(self.table)})"  # noqa: S608 - quoted names
        demand = f"have a value in what is parked as {parked.name}, so that {old} cannot get this name"
        self.scans.append(replace(scan, attribute=attribute.name, source=source, demand=demand))

    def for_breaches(self, new: Wanted) -> None:
        """Look for rows that break a constraint, or share their values where they must not."""
        stored = new.stored
        if stored.kind in {"check", "rule"}:
            demand = f"break the {'sentence' if new.expression is None else 'check'} '{stored.label}'"
            scan = self._scan("PIM607", stored.attributes, new.violation or "", demand, MEND_HINT)
            if new.expression is not None:
                held = tuple(self.held[name] for name in stored.attributes)
                scan = replace(scan, expression=new.expression, attributes=stored.attributes, held=held)
                self.later.append((scan, stored.attributes))
        else:
            columns = ", ".join(alias(name) for name in stored.attributes)
            present = " AND ".join(f"{alias(name)} IS NOT NULL" for name in stored.attributes)
            scan = self._scan("PIM604", stored.attributes, "", "share their value with another", MEND_HINT)
            duplicates = f"SELECT {columns} FROM {scan.source} WHERE {present} GROUP BY {columns} HAVING count(*) > 1"  # noqa: S608 - quoted names
            scan = replace(scan, violation=f"({columns}) IN ({duplicates})")
        self.scans.append(scan)

    def again(self, key: str, columns: Mapping[str, StoredAttribute]) -> list[Scan]:
        """Those to be asked again once the change is made, of the `columns` that serve then; `key` is an attribute."""
        return [replace(scan, source=self._as_it_will_be(key, names, columns)) for scan, names in self.later]

    def _as_it_will_be(self, key: str, names: tuple[str, ...], columns: Mapping[str, StoredAttribute]) -> str:
        values = "".join(f", {quoted(columns[name].column)} AS {alias(name)}" for name in names)
        return f"(SELECT {quoted(columns[key].column)} AS {KEY_ALIAS}{values} FROM {quoted(self.table)})"  # noqa: S608 - quoted names

    @property
    def _key(self) -> str:
        return self.before.key.column if self.before is not None else ""

    def _now_and_later(self, scan: Scan, involved: tuple[str, ...]) -> None:
        """Look now, and again later: the validators of this revision alone hold the rows to it."""
        self.scans.append(scan)
        self.later.append((scan, involved))

    def _scan(self, code: str, involved: tuple[str, ...], violation: str, demand: str, hint: str) -> Scan:
        """A look at the rows as they will be: `involved` are the attributes that the violation names."""
        values = "".join(f", {self.values[name]} AS {alias(name)}" for name in involved)
        source = f"(SELECT {quoted(self._key)} AS {KEY_ALIAS}{values} FROM {quoted(self.table)})"  # noqa: S608 - quoted names
        return Scan(
            code=code,
            entity=self.entity,
            attribute=involved[0] if len(involved) == 1 else None,
            source=source,
            violation=violation,
            demand=demand,
            hint=hint,
        )
