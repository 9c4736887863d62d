"""Expressions as SQL: the part of the language that a database answers exactly as it is answered here.

Owns the translation of typed nodes into a condition over the stored forms of columns (see
`codecs`), in which null means what it means in expressions: `==` and `in` are true or false,
everything else of a null is null, and `AND`, `OR`, `NOT` are three-valued in both. What is not in
the part raises `UntranslatableError` with the reason; nothing is translated that could answer
otherwise. The values of constants are in the text: it is the same for the same expression.

Decimals and whole numbers are compared as integers of one scale. Products and sums may leave 64
bits, where SQLite goes on with floats and PostgreSQL gives up: PostgreSQL computes them as
`numeric`; for SQLite the sums are among `inexact`, and whoever must not be wrong looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from watcherd.errors import EvaluationError, WatcherdError
from watcherd.expressions import BOOL, Expression, Typed, compile_expression, constant_of, to_wire
from watcherd.pim.scopes import check_scope
from watcherd.pim.spec import Attribute, Kind
from watcherd.store.codecs import TEXT_KINDS, literal, scale_of
from watcherd.store.dialect import SQLITE, Dialect
from watcherd.store.names import quoted

_ANY_TIME: Final = datetime(2000, 1, 1, tzinfo=UTC)
_TEXT: Final = frozenset({*TEXT_KINDS, Kind.UUID})
_TYPES: Final = {
    Kind.INTEGER: "number",
    Kind.DECIMAL: "number",
    Kind.FLOAT: "float",
    Kind.BOOLEAN: "bool",
    Kind.DATETIME: "timestamp",
    Kind.DATE: "date",
    Kind.TIME: "time",
}


class UntranslatableError(WatcherdError):
    """A part of an expression that SQL would not answer as it is answered here; `offset` is its place."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Value:
    """SQL for a value: its type, for numbers the places by which it is scaled, and whether it is a literal."""

    sql: str
    type: str
    places: int = 0
    constant: Decimal | None = None


@dataclass(slots=True)
class Translation:
    """One expression on its way into SQL.

    `columns` are the attributes of the row as they are stored, `sql` gives the SQL of one. `now` is
    the time of day, where expressions may ask for it. `inexact` gathers the sums and products.
    """

    dialect: Dialect
    columns: Mapping[str, Attribute]
    sql: Callable[[str], str]
    now: datetime | None = None
    inexact: list[str] = field(default_factory=list)

    def condition(self, node: Typed) -> str:
        """SQL that is true, false or null as the condition is."""
        folded = self._folded(node)
        if folded is not None:
            return folded.sql if folded.type == "null" else f"({folded.sql} = 1)"
        translate = _CONDITIONS.get(node.op)
        if translate is not None:
            return translate(self, node)
        value = self.value(node)
        if value.type != "bool":
            raise UntranslatableError("a condition that is none before it is evaluated", node.offset)
        return f"({value.sql} = 1)"

    def value(self, node: Typed) -> Value:
        """SQL for a value that is no condition."""
        folded = self._folded(node)
        if folded is not None:
            return folded
        translate = _VALUES.get(node.op)
        if translate is None:
            raise _untranslatable(node)
        return translate(self, node)

    def _logic(self, node: Typed) -> str:
        word = " AND " if node.op == "&&" else " OR "
        return f"({word.join(self.condition(one) for one in node.operands)})"

    def _not(self, node: Typed) -> str:
        return f"(NOT {self.condition(node.operands[0])})"

    def _equality(self, node: Typed) -> str:
        one, two = (self.value(operand) for operand in node.operands)
        equal = self._equal(one, two, node)
        return equal if node.op == "==" else f"(NOT {equal})"

    def _order(self, node: Typed) -> str:
        one, two = (self.value(operand) for operand in node.operands)
        left, right = self._aligned(one, two, node)
        return f"({left} {node.op} {right})"

    def _has(self, node: Typed) -> str:
        if not self._is_row(node.operands[0]):
            raise _untranslatable(node)
        return f"({self._column(node.value[0], node).sql} IS NOT NULL)"

    def _attribute(self, node: Typed) -> Value:
        is_own = node.op == "name" or self._is_row(node.operands[0])
        if not is_own or node.value not in self.columns:
            raise _untranslatable(node)
        return self._column(node.value, node)

    def _is_row(self, node: Typed) -> bool:
        return node.op == "name" and node.type.name == "object"

    def _negative(self, node: Typed) -> Value:
        value = self._number(node.operands[0])
        sql = f"(-{_exact(value)})"
        self.inexact.append(sql)
        return Value(sql, "number", value.places)

    def _call(self, node: Typed) -> Value:
        name, operand = node.value[0].name, node.operands[0]
        if name == "size" and operand.type.name == "string":
            return Value(f"length({self._text(operand)})", "number")
        if name == "abs":
            value = self._number(operand)
            # Not abs(): for the smallest of all integers it is an error.
            sql = f"(CASE WHEN {value.sql} < 0 THEN -{_exact(value)} ELSE {_exact(value)} END)"
            self.inexact.append(sql)
            return Value(sql, "number", value.places)
        raise _untranslatable(node)

    def _folded(self, node: Typed) -> Value | None:
        """What does not depend on the row is computed here."""
        try:
            is_constant, value = constant_of(node, self.now)
        except EvaluationError as error:
            raise UntranslatableError(f"it has no value: {error}", node.offset) from error
        if not is_constant or isinstance(value, list | dict):
            return None
        if value is None:
            return Value("NULL", "null")
        if isinstance(value, bool):
            return Value(str(int(value)), "bool")
        if isinstance(value, int | Decimal):
            return _scaled(Decimal(value))
        if isinstance(value, float):
            return Value(repr(value), "float")
        text = to_wire(value)
        if "\0" in text:
            raise UntranslatableError("a text with a NUL character, which nothing stored has", node.offset)
        return Value(literal(text), "string" if isinstance(value, str) else node.type.name)

    def _column(self, name: str, node: Typed) -> Value:
        attribute = self.columns[name]
        if attribute.is_list or attribute.kind is Kind.JSON:
            return Value(self.sql(name), "json")
        if attribute.kind in _TEXT:
            return Value(self.sql(name), "string")
        if attribute.kind not in _TYPES:
            raise _untranslatable(node)
        places = scale_of(attribute) if attribute.kind is Kind.DECIMAL else 0
        return Value(self.sql(name), _TYPES[attribute.kind], places)

    def _converted(self, node: Typed) -> Value:
        value = self.value(node.operands[0])
        if node.type.name == "timestamp" and value.type == "date":
            return Value(f"({value.sql} || 'T00:00:00.000000Z')", "timestamp")
        if node.type.name == "float" and value.type == "number" and not value.places:
            return Value(f"CAST({value.sql} AS DOUBLE PRECISION)", "float")
        return value

    def _computed(self, node: Typed) -> Value:
        if node.type.name == "string" and node.op == "+":
            return Value(f"({' || '.join(self._text(one) for one in node.operands)})", "string")
        if node.type.name not in {"int", "decimal"}:
            raise _untranslatable(node)
        one, two = (self._number(operand) for operand in node.operands)
        if node.op == "*":
            sql, places = f"({_exact(one)} * {_exact(two)})", one.places + two.places
        else:
            left, right = self._aligned(one, two, node)
            sql, places = f"({_exact(Value(left, ''))} {node.op} {right})", max(one.places, two.places)
        self.inexact.append(sql)
        return Value(sql, "number", places)

    def _number(self, node: Typed) -> Value:
        value = self.value(node)
        if value.type != "number":
            raise _untranslatable(node)
        return value

    def _text(self, node: Typed) -> str:
        value = self.value(node)
        if value.type != "string":
            raise _untranslatable(node)
        return value.sql

    def _aligned(self, one: Value, two: Value, node: Typed) -> tuple[str, str]:
        """The SQL of two values that can be compared."""
        if "null" in {one.type, two.type}:
            return "1", "NULL"
        if one.type != two.type or one.type == "json":
            raise _untranslatable(node)
        if one.type != "number":
            return one.sql, two.sql
        places = max(one.places, two.places)
        return self._to_places(one, places), self._to_places(two, places)

    def _to_places(self, value: Value, places: int) -> str:
        if value.places == places:
            return value.sql
        if value.constant is not None:
            return str(int(value.constant.scaleb(places)))
        sql = f"({_exact(value)} * {10 ** (places - value.places)})"
        self.inexact.append(sql)
        return sql

    def _equal(self, one: Value, two: Value, node: Typed) -> str:
        """Equality as expressions have it: never null."""
        if "null" in {one.type, two.type}:
            return f"({two.sql if one.type == 'null' else one.sql} IS NULL)"
        left, right = self._aligned(one, two, node)
        if two.constant is not None or _is_literal(right):
            return f"({left} = {right} AND {left} IS NOT NULL)"
        both = f"{left} = {right} AND {left} IS NOT NULL AND {right} IS NOT NULL"
        return f"({both} OR {left} IS NULL AND {right} IS NULL)"

    def _among(self, node: Typed) -> str:
        wanted, within = node.operands
        if within.op != "list":
            raise _untranslatable(node)
        value = self.value(wanted)
        equal = [self._equal(value, self.value(one), node) for one in within.operands]
        return f"({' OR '.join(equal)})" if equal else "(1 = 0)"

    def _tested(self, node: Typed) -> str:
        name = node.value[0].name
        if name not in _TESTS or node.operands[0].type.name != "string":
            raise _untranslatable(node)
        text, part = (self._text(one) for one in node.operands)
        return _TESTS[name](self.dialect, text, part)


class Conditions:
    """The expressions that lists of one entity are filtered by; `held` are its attributes as they are stored.

    `columns` are their names in the table.
    """

    def __init__(
        self, dialect: Dialect, entity: str, held: Mapping[str, Attribute], columns: Mapping[str, str]
    ) -> None:
        self._dialect = dialect
        self._entity = entity
        self._held = held
        self._columns = columns

    def sql(self, text: str, now: datetime | None) -> str:
        """The condition as SQL. Raises what `filter_expression` raises."""
        expression = filter_expression(text, self._entity, self._held)
        translation = Translation(self._dialect, self._held, lambda name: quoted(self._columns[name]), now)
        return translation.condition(expression.root)


def filter_expression(text: str, entity: str, held: Mapping[str, Attribute]) -> Expression:
    """The expression that a list is filtered by. Raises InvalidExpressionError, and UntranslatableError."""
    expression = compile_expression(text, check_scope(entity, held), BOOL)
    # Whether it can be translated does not depend on the database, nor on the time of day.
    Translation(SQLITE, held, quoted, _ANY_TIME).condition(expression.root)
    return expression


def violation(translation: Translation, node: Typed) -> str:
    """SQL that is true for a row that breaks a check: never for one of which SQLite is not sure."""
    condition = f"(NOT {translation.condition(node)})"
    if not translation.dialect.leaves_integers:
        return condition
    certain = [f"typeof({sql}) <> 'real'" for sql in dict.fromkeys(translation.inexact)]
    return f"({' AND '.join((condition, *certain))})" if certain else condition


def _scaled(value: Decimal) -> Value:
    exponent = value.normalize().as_tuple().exponent
    places = max(-exponent, 0) if isinstance(exponent, int) else 0
    return Value(str(int(value.scaleb(places))), "number", places, value)


def _exact(value: Value) -> str:
    """For PostgreSQL, whose integers would overflow; to SQLite it says nothing."""
    return f"CAST({value.sql} AS NUMERIC)"


def _is_literal(sql: str) -> bool:
    return sql[0] in "'0123456789-"


def _untranslatable(node: Typed) -> UntranslatableError:
    what = node.value[0].name if node.op == "call" else node.value[0] if node.op == "each" else node.op
    what = {"field": "a part of a value", "index": "an item of a list", "variable": "a macro"}.get(what, f"`{what}`")
    return UntranslatableError(f"{what} is not computed in the database", node.offset)


def _contains(dialect: Dialect, text: str, part: str) -> str:
    return f"({dialect.position}({text}, {part}) > 0)"


def _starts(dialect: Dialect, text: str, part: str) -> str:  # noqa: ARG001 - one of several
    return f"(substr({text}, 1, length({part})) = {part})"


def _ends(dialect: Dialect, text: str, part: str) -> str:  # noqa: ARG001 - one of several
    # Where the text is shorter than the ending, what is left of it is shorter too, so never equal.
    return f"(substr({text}, length({text}) - length({part}) + 1) = {part})"


_TESTS: Final[Mapping[str, Callable[[Dialect, str, str], str]]] = {
    "contains": _contains,
    "startsWith": _starts,
    "endsWith": _ends,
}
_CONDITIONS: Final[Mapping[str, Callable[[Translation, Typed], str]]] = {
    "&&": Translation._logic,  # noqa: SLF001 - the module's own, as all of these
    "||": Translation._logic,  # noqa: SLF001
    "!": Translation._not,  # noqa: SLF001
    "==": Translation._equality,  # noqa: SLF001
    "!=": Translation._equality,  # noqa: SLF001
    "<": Translation._order,  # noqa: SLF001
    "<=": Translation._order,  # noqa: SLF001
    ">": Translation._order,  # noqa: SLF001
    ">=": Translation._order,  # noqa: SLF001
    "in": Translation._among,  # noqa: SLF001
    "has": Translation._has,  # noqa: SLF001
    "call": Translation._tested,  # noqa: SLF001
}
_VALUES: Final[Mapping[str, Callable[[Translation, Typed], Value]]] = {
    "name": Translation._attribute,  # noqa: SLF001
    "field": Translation._attribute,  # noqa: SLF001
    "convert": Translation._converted,  # noqa: SLF001
    "+": Translation._computed,  # noqa: SLF001
    "-": Translation._computed,  # noqa: SLF001
    "*": Translation._computed,  # noqa: SLF001
    "negative": Translation._negative,  # noqa: SLF001
    "call": Translation._call,  # noqa: SLF001
}
