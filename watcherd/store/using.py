"""`using`: the values of an attribute of another type, computed from the rows as they were.

Owns the scope of such an expression (the entity as it was last applied, which the catalog tells)
and its translation, which is wider than that of conditions: choices and conversions as well. Where
an expression would fail for a row, the SQL is null, and `failing` says so: such a row is in the
way. It may say so of more rows than would really fail (a text that only just is a number), never
of fewer. What SQL cannot say raises `UntranslatableError`. How it is kept in step is in `sync`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from watcherd.expressions import Typed, compile_expression
from watcherd.pim.scopes import attribute_type, attributes_in, check_scope
from watcherd.pim.spec import Attribute, Kind
from watcherd.store.codecs import TEXT_KINDS, literal, scale_of
from watcherd.store.conditions import Translation, UntranslatableError, Value
from watcherd.store.conversions import Computed, integer_of_text
from watcherd.store.dialect import Dialect
from watcherd.store.layout import StoredAttribute, StoredEntity
from watcherd.store.limits import limits, tightened
from watcherd.store.names import quoted

_MAX_INTEGER: Final = 2**63 - 1
_MAX_SQL: Final = 100_000
_MAX_PART: Final = 3
_SIGNATURE: Final = re.compile(r"(?:reference:)?(?P<kind>\w+)(?:\(\d+,(?P<scale>\d+)\))?(?P<list>\[\])?")
_WANTED: Final = {Kind.BOOLEAN: "bool", Kind.DATETIME: "timestamp", Kind.DATE: "date", Kind.TIME: "time"}
_SPACES: Final = "' \t\n\r'"


def computed(dialect: Dialect, before: StoredEntity, new: Attribute, wanted: StoredAttribute) -> Computed:
    """How the values of `new` come about by its `using`, from those of `before`.

    `new` is the attribute as it is stored. Raises InvalidExpressionError, and UntranslatableError.
    """
    assert new.using is not None  # noqa: S101 - who asks has looked
    held = {one.name: _attribute(one) for one in before.attributes if not one.parked}
    columns = {one.name: one.column for one in before.attributes if not one.parked}
    if new.is_list or new.kind in {Kind.JSON, Kind.UUID, Kind.REFERENCE}:
        message = f"the database cannot compute {'a list' if new.is_list else f'values of type {new.kind.value}'}"
        raise UntranslatableError(message, 0)
    expression = compile_expression(new.using, check_scope(before.name, held), attribute_type(new), clock=False)

    def forward(prefix: str) -> tuple[str, str]:
        translation = _Filling(dialect, held, lambda name: prefix + quoted(columns[name]), places=scale_of(new))
        sql = translation.stored(expression.root, new)
        sql = dialect.typed(sql, wanted.type)
        failing = " OR ".join(translation.failures()) or "1 = 0"
        if len(sql) + len(failing) > _MAX_SQL:
            raise UntranslatableError("it is too long for the database", 0)
        return sql, f"({failing})"

    value, failing = forward("")
    broken = [failing]
    facts = {name: fact for name, fact in wanted.facts.items() if name != "required"}
    demands = limits(new, new, {}, tightened({}, facts))
    broken += [f"({one.violation(value)})" for one in demands if one.violation is not None]
    if new.required:
        broken.append(f"({value} IS NULL)")
    return Computed(
        forward=lambda _: value,
        backward=lambda _: "NULL",
        violation=lambda _: failing,
        demand=f"have no value as {wanted.type} by `using: {new.using}`",
        exact=False,
        of_row=lambda prefix: forward(prefix)[0],
        refused=f"coalesce({' OR '.join(broken)}, 1 = 0)",
        reads=tuple(columns[name] for name in attributes_in(expression, held)),
    )


def _attribute(stored: StoredAttribute) -> Attribute:
    """An attribute as expressions see it, of what the catalog keeps."""
    found = _SIGNATURE.fullmatch(stored.type)
    assert found is not None  # noqa: S101 - `signature` wrote it
    scale = found["scale"]
    return Attribute(
        name=stored.name,
        kind=Kind(found["kind"]),
        is_list=found["list"] is not None,
        members=tuple(stored.facts.get("members", ())),
        scale=None if scale is None else int(scale),
    )


@dataclass(slots=True)
class _Filling(Translation):
    """A translation that computes values. `places` are those of decimals that are read from text.

    `path` are the conditions under which the part at hand counts.
    """

    places: int = 0
    path: list[str] = field(default_factory=list)
    failing: list[str] = field(default_factory=list)

    def stored(self, node: Typed, new: Attribute) -> str:
        """SQL for the stored form of the value as one of the attribute."""
        if new.kind is Kind.BOOLEAN:
            return self._boolean(node)
        value = self.value(node)
        if value.type == "null":
            return "NULL"
        if new.kind in TEXT_KINDS and value.type == "string":
            return value.sql
        if new.kind in {Kind.INTEGER, Kind.DECIMAL} and value.type == "number":
            return self._whole(value, scale_of(new) if new.kind is Kind.DECIMAL else 0, node)
        if new.kind is Kind.FLOAT and value.type in {"float", "number"} and not value.places:
            return f"CAST({value.sql} AS DOUBLE PRECISION)"
        if value.type == _WANTED.get(new.kind):
            return value.sql
        message = f"a value that is known to be {new.kind.value} only once it is computed"
        raise UntranslatableError(message, node.offset)

    def value(self, node: Typed) -> Value:
        """As in conditions, and choices and conversions too."""
        folded = self._folded(node)
        if folded is not None:
            return folded
        if node.op == "?:":
            return self._chosen(node)
        if node.op == "index":
            return self._part(node)
        if node.op == "call" and (convert := _CALLS.get(node.value[0].name)) is not None:
            return convert(self, node)
        if node.type.name == "bool" and node.op not in {"name", "field"}:
            return Value(self._boolean(node), "bool")
        # Not super(): a dataclass with slots is made twice.
        return Translation.value(self, node)

    def failures(self) -> tuple[str, ...]:
        """SQL of each way in which a row fails."""
        sums = [f"typeof({sql}) = 'real'" for sql in self.inexact] if self.dialect.leaves_integers else []
        return tuple(dict.fromkeys([*self.failing, *sums]))

    def fails_unless(self, sound: str) -> None:
        """Remember that the row fails where this is not true, and the part counts."""
        self.failing.append(f"({' AND '.join([*self.path, f'NOT ({sound})'])})")

    def _boolean(self, node: Typed) -> str:
        if node.op == "?:":
            return self._chosen(node).sql
        if node.op == "call" and node.value[0].name == "bool":
            return self.value(node).sql
        condition = self.condition(node)
        return "NULL" if condition == "NULL" else f"(CASE WHEN {condition} THEN 1 WHEN NOT {condition} THEN 0 END)"

    def _chosen(self, node: Typed) -> Value:
        condition = self.condition(node.operands[0])
        no = f"(NOT {condition})"
        sides = []
        for met, operand in zip((condition, no), node.operands[1:], strict=True):
            self.path.append(met)
            sides.append(self.value(operand))
            self.path.pop()
        types = {one.type for one in sides} - {"null"}
        if not types:
            return Value("NULL", "null")
        if len(types) > 1 or types == {"json"}:
            raise UntranslatableError("a choice of two types is not computed in the database", node.offset)
        places = max(one.places for one in sides)
        type_ = types.pop()
        yes, other = (
            self._to_places(one, places) if type_ == "number" and one.type == type_ else one.sql for one in sides
        )
        return Value(f"(CASE WHEN {condition} THEN {yes} WHEN {no} THEN {other} END)", type_, places)

    def _whole(self, value: Value, places: int, node: Typed) -> str:
        """A number as the integer that stores it; null where there is none, which fails."""
        if value.constant is not None:
            shifted = value.constant.scaleb(places)
            if shifted != int(shifted) or abs(shifted) > _MAX_INTEGER:
                raise UntranslatableError(f"{value.constant} does not fit the attribute", node.offset)
            return str(int(shifted))
        sql = self._to_places(value, max(places, value.places))
        divisor = 10 ** max(value.places - places, 0)
        sound = [f"typeof({sql}) = 'integer'"] if self.dialect.leaves_integers else []
        if not self.dialect.leaves_integers:
            sound = [f"{sql} / {divisor} BETWEEN -{_MAX_INTEGER} - 1 AND {_MAX_INTEGER}"]
        if divisor > 1:
            sound.append(f"{sql} % {divisor} = 0")
            sql = f"({sql} / {divisor})"
        fits = " AND ".join(sound)
        self.fails_unless(f"({sql} IS NULL OR ({fits}))")
        return f"(CASE WHEN {fits} THEN CAST({sql} AS BIGINT) END)"

    def _integer(self, node: Typed) -> Value:
        value = self.value(node.operands[0])
        if value.type == "string":
            text = f"ltrim(rtrim({value.sql}, {_SPACES}), {_SPACES})"
            sql = integer_of_text(text)
            self.fails_unless(f"{value.sql} IS NULL OR {sql} IS NOT NULL")
            return Value(f"({sql})", "number")
        if value.type != "number":
            raise UntranslatableError(f"`int` of a {value.type} is not computed in the database", node.offset)
        if not value.places:
            return value
        divisor = 10**value.places
        cut = f"({value.sql} / {divisor})" if self.dialect.leaves_integers else f"div({value.sql}, {divisor})"
        return Value(cut, "number")

    def _float(self, node: Typed) -> Value:
        value = self.value(node.operands[0])
        if value.type == "float":
            return value
        if value.type != "number" or value.places:
            shown = "decimal" if value.type == "number" else value.type
            raise UntranslatableError(f"`float` of a {shown} is not computed in the database", node.offset)
        return Value(f"CAST({value.sql} AS DOUBLE PRECISION)", "float")

    def _decimal(self, node: Typed) -> Value:
        """Of a text: digits, with as many after the point as the attribute has, or zeros."""
        value = self.value(node.operands[0])
        if value.type == "number":
            return value
        if value.type != "string":
            raise UntranslatableError(f"`decimal` of a {value.type} is not computed in the database", node.offset)
        text = f"ltrim(rtrim({value.sql}, {_SPACES}), {_SPACES})"
        point = f"{self.dialect.position}({text}, '.')"
        before = f"(CASE WHEN {point} > 0 THEN substr({text}, 1, {point} - 1) ELSE {text} END)"
        after = f"(CASE WHEN {point} > 0 THEN rtrim(substr({text}, {point} + 1), '0') ELSE '' END)"
        # The sign goes after the digits are put together, so that leading zeros are no digits.
        negative = f"substr({text}, 1, 1) = '-'"
        whole = f"(CASE WHEN {negative} THEN substr({before}, 2) ELSE {before} END)"
        digits = f"({whole} || substr({after} || '{'0' * self.places}', 1, {self.places}))"
        bare = f"ltrim({digits}, '0')"
        sound = (
            f"{whole} <> '' AND rtrim({whole} || {after}, '0123456789') = '' "
            f"AND length({after}) <= {self.places} AND length({bare}) <= 18"
        )
        number = f"CAST({digits} AS BIGINT)"
        sql = f"(CASE WHEN {sound} THEN CASE WHEN {negative} THEN -{number} ELSE {number} END END)"
        self.fails_unless(f"{value.sql} IS NULL OR ({sound})")
        return Value(sql, "number", self.places)

    def _truth(self, node: Typed) -> Value:
        text = self._text(node.operands[0])
        self.fails_unless(f"{text} IS NULL OR {text} IN ('true', 'false')")
        return Value(f"(CASE {text} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)", "bool")

    def _string(self, node: Typed) -> Value:
        value = self.value(node.operands[0])
        if value.type == "bool":
            return Value(f"(CASE {value.sql} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)", "string")
        if value.type == "number" and not value.places:
            return Value(f"CAST({value.sql} AS TEXT)", "string")
        if value.type in {"string", "timestamp", "date", "time"}:
            return Value(value.sql, "string")
        shown = "decimal" if value.type == "number" else value.type
        raise UntranslatableError(f"`string` of a {shown} is not computed in the database", node.offset)

    def _day(self, node: Typed) -> Value:
        return self._piece_of_moment(node, "date", "1, 10")

    def _time_of_day(self, node: Typed) -> Value:
        return self._piece_of_moment(node, "time", "12, 15")

    def _piece_of_moment(self, node: Typed, name: str, place: str) -> Value:
        value = self.value(node.operands[0])
        if value.type != "timestamp":
            raise UntranslatableError(f"`{name}` of a {value.type} is not computed in the database", node.offset)
        return Value(f"substr({value.sql}, {place})", name)

    def _moment(self, node: Typed) -> Value:
        value = self.value(node.operands[0])
        if value.type == "date":
            return Value(f"({value.sql} || 'T00:00:00.000000Z')", "timestamp")
        if value.type == "timestamp":
            return value
        raise UntranslatableError(f"`timestamp` of a {value.type} is not computed in the database", node.offset)

    def _part(self, node: Typed) -> Value:
        """One part of a text that is split at a literal."""
        split, place = node.operands
        at = place.value
        if split.op != "call" or split.value[0].name != "split" or place.op != "literal":
            raise UntranslatableError("an item of a list is not computed in the database", node.offset)
        separator = split.operands[1]
        if separator.op != "literal" or not separator.value:
            raise UntranslatableError("a text is split in the database by a literal only", separator.offset)
        if not 0 <= at <= _MAX_PART:
            message = f"a text is split in the database into the parts 0 to {_MAX_PART} only"
            raise UntranslatableError(message, place.offset)
        text = self._text(split.operands[0])
        mark, rest = literal(separator.value), text
        for _ in range(at):
            found = f"{self.dialect.position}({rest}, {mark})"
            rest = f"(CASE WHEN {found} > 0 THEN substr({rest}, {found} + {len(separator.value)}) END)"
        if at:
            self.fails_unless(f"{text} IS NULL OR {rest} IS NOT NULL")
        found = f"{self.dialect.position}({rest}, {mark})"
        return Value(f"(CASE WHEN {found} > 0 THEN substr({rest}, 1, {found} - 1) ELSE {rest} END)", "string")


_CALLS: Final[Mapping[str, Callable[[_Filling, Typed], Value]]] = {
    "int": _Filling._integer,  # noqa: SLF001 - the module's own, as all of these
    "decimal": _Filling._decimal,  # noqa: SLF001
    "float": _Filling._float,  # noqa: SLF001
    "double": _Filling._float,  # noqa: SLF001
    "bool": _Filling._truth,  # noqa: SLF001
    "string": _Filling._string,  # noqa: SLF001
    "date": _Filling._day,  # noqa: SLF001
    "time": _Filling._time_of_day,  # noqa: SLF001
    "timestamp": _Filling._moment,  # noqa: SLF001
}
