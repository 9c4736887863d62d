"""The functions of expressions: what they take, what they answer, how they do it.

Arguments are values from inside (see `types`) and never null: a null argument makes the call
null before it gets here. A function that cannot answer raises `EvaluationError`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from functools import lru_cache
from typing import Any, Final

from pydantic_core import SchemaError, SchemaValidator, core_schema

from watcherd.errors import EvaluationError
from watcherd.expressions.types import (
    ANY,
    BOOL,
    DATE,
    DECIMAL,
    DURATION,
    FLOAT,
    INT,
    STRING,
    TIME,
    TIMESTAMP,
    Type,
    list_of,
    read_date,
    read_decimal,
    read_duration,
    read_moment,
    read_time,
    wire,
)

MOST_DIGITS: Final = 200
EXACT: Final = Context(prec=MOST_DIGITS, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""Sums and products: exact, or refused."""
ROUNDED: Final = Context(prec=34, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])
"""Quotients."""
_ROUNDING: Final = Context(prec=2 * MOST_DIGITS, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1
_LONGEST_TEXT: Final = 1_000_000
_MOST_PLACES: Final = 30
_EITHER: Final = "size"  # CEL lets one write it both ways

_PYTHON: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "int": (int,),
    "decimal": (Decimal,),
    "float": (float,),
    "number": (int, Decimal, float),
    "string": (str,),
    "list": (list,),
    "timestamp": (datetime,),
    "date": (date,),
    "time": (time,),
    "duration": (timedelta,),
    "any": (object,),
}
_NUMBERS: Final = frozenset({"int", "decimal", "float"})


@dataclass(frozen=True, slots=True)
class Function:
    """One overload: the names of the types that it takes; `number` and `any` stand for several."""

    name: str
    takes: tuple[str, ...]
    run: Callable[..., Any]
    answers: Type | None = None
    answer_of: Callable[[Sequence[Type]], Type] | None = None
    member: bool = False
    literals: tuple[int, ...] = ()

    @property
    def shown(self) -> str:
        """As a message shows it."""
        return ", ".join(self.takes) or "nothing"

    def accepts(self, types: Sequence[Type]) -> bool:
        """Whether values of these types may be its arguments."""
        return len(types) == len(self.takes) and all(map(_accepts, self.takes, types))

    def accepts_values(self, values: Sequence[Any]) -> bool:
        """The same of values, where the types were not known before."""
        return all(
            isinstance(value, _PYTHON[wanted])
            and (wanted in {"bool", "any"} or not isinstance(value, bool))
            and not (wanted == "date" and isinstance(value, datetime))
            for wanted, value in zip(self.takes, values, strict=True)
        )

    def result(self, types: Sequence[Type]) -> Type:
        """The type of its answer."""
        if self.answer_of is not None:
            return self.answer_of(types)
        return ANY if self.answers is None else self.answers


def _accepts(wanted: str, type_: Type) -> bool:
    return (
        wanted in {"any", type_.name}
        or type_.name in {"any", "null"}
        or (wanted == "number" and type_.name in _NUMBERS)
    )


def overloads(name: str, *, member: bool) -> tuple[Function, ...]:
    """The overloads of a function, as `x.f(y)` or as `f(x, y)`."""
    return tuple(one for one in _BY_NAME.get(name, ()) if one.member is member or name == _EITHER)


def names(*, member: bool) -> tuple[str, ...]:
    """The functions that there are."""
    return tuple(sorted({one.name for one in _FUNCTIONS if one.member is member}))


def whole(value: int) -> int:
    """An integer that has 64 bits."""
    if not _INT_MIN <= value <= _INT_MAX:
        raise EvaluationError("a whole number over 64 bits")
    return value


@lru_cache(maxsize=1024)
def pattern_validator(pattern: str) -> SchemaValidator:
    """What matches texts with a regular expression. Raises `SchemaError` where it is none."""
    # The engine of generated validators: it runs in linear time, whatever the pattern says.
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


@lru_cache(maxsize=1024)
def pattern_fault(pattern: str) -> str | None:
    """What is wrong with a regular expression, None if nothing is."""
    try:
        pattern_validator(pattern)
    except SchemaError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return next((line.removeprefix("error: ") for line in lines if line.startswith("error:")), lines[-1])
    return None


def _matches(text: str, pattern: str) -> bool:
    return pattern_validator(pattern).isinstance_python(text)


def _replace(text: str, old: str, new: str) -> str:
    count = text.count(old)
    if len(text) + count * (len(new) - len(old)) > _LONGEST_TEXT:
        raise EvaluationError("a text that is too long")
    return text.replace(old, new)


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise EvaluationError("`substring` outside of the text")
    return text[start:stop]


def _join(texts: list[Any], between: str) -> str:
    if not all(isinstance(one, str) for one in texts):
        raise EvaluationError("`join` of something that is not text")
    joined = between.join(texts)
    if len(joined) > _LONGEST_TEXT:
        raise EvaluationError("a text that is too long")
    return joined


def _split(text: str, at: str) -> list[str]:
    return text.split(at) if at else list(text)


def _sum(values: list[Any]) -> Any:
    total: Any = 0
    for value in values:
        if value is None:
            return None
        if isinstance(value, Decimal) or isinstance(total, Decimal):
            total = EXACT.add(_exact(total), _exact(value))
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise EvaluationError("`sum` of something that is not a number")
        else:
            total += value
    return whole(total) if isinstance(total, int) else total


def _exact(value: Any) -> Decimal:
    if isinstance(value, float) or not isinstance(value, int | Decimal):
        raise EvaluationError("`sum` of decimals and something else")
    return Decimal(value)


def _extreme(pick: Callable[[list[Any]], Any], name: str) -> Callable[[list[Any]], Any]:
    def find(values: list[Any]) -> Any:
        present = [value for value in values if value is not None]
        if not present:
            return None
        try:
            return pick(present)
        except TypeError as error:
            raise EvaluationError(f"`{name}` of things that have no order") from error

    return find


def _to_int(value: Any) -> int:
    try:
        return whole(int(value))
    except (ValueError, OverflowError) as error:
        raise EvaluationError(f"{value!r} is not a whole number") from error


def _to_float(value: Any) -> float:
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise EvaluationError(f"{value!r} is not a number") from error
    if number - number != 0:
        raise EvaluationError(f"{value!r} is not a finite number")
    return number


def _to_decimal(value: Any) -> Decimal:
    number = read_decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > MOST_DIGITS or len(number.as_tuple().digits) > MOST_DIGITS:
        raise EvaluationError(f"{value!r} is not a decimal")
    return number


def _to_bool(value: str) -> bool:
    if value not in {"true", "false"}:
        raise EvaluationError(f"{value!r} is neither true nor false")
    return value == "true"


def _to_string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        raise EvaluationError("a list or an object is no text")
    return str(wire(value))


def _round(value: Any, places: int = 0) -> Any:
    if not 0 <= places <= _MOST_PLACES:
        raise EvaluationError(f"a number has 0 to {_MOST_PLACES} places")
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return round(value, places)
    try:
        return value.quantize(Decimal(1).scaleb(-places), context=_ROUNDING)
    except DecimalException as error:
        raise EvaluationError("a number with too many digits") from error


def _days(count: int) -> timedelta:
    try:
        return timedelta(days=count)
    except OverflowError as error:
        raise EvaluationError("too long a duration") from error


def _day_of_year(value: date) -> int:
    return value.timetuple().tm_yday - 1


def midnight(value: date) -> datetime:
    """When a day begins."""
    return datetime(value.year, value.month, value.day)  # noqa: DTZ001 - naive is UTC inside of expressions


def _first(types: Sequence[Type]) -> Type:
    return types[0]


def _item(types: Sequence[Type]) -> Type:
    return types[0].item or ANY


def _members(name: str, takes: tuple[str, ...], answers: Type, run: Callable[..., Any]) -> Function:
    return Function(name, takes, run, answers, member=True)


def _parts() -> list[Function]:
    """The parts of dates and times, with CEL's names and its counting: months and weekdays from 0."""
    of_days: dict[str, Callable[[Any], int]] = {
        "getFullYear": lambda value: value.year,
        "getMonth": lambda value: value.month - 1,
        "getDate": lambda value: value.day,
        "getDayOfMonth": lambda value: value.day - 1,
        "getDayOfWeek": lambda value: value.isoweekday() % 7,
        "getDayOfYear": _day_of_year,
    }
    of_times: dict[str, Callable[[Any], int]] = {
        "getHours": lambda value: value.hour,
        "getMinutes": lambda value: value.minute,
        "getSeconds": lambda value: value.second,
    }
    spans = {"getHours": timedelta(hours=1), "getMinutes": timedelta(minutes=1), "getSeconds": timedelta(seconds=1)}
    found = [_members(name, (kind,), INT, run) for name, run in of_days.items() for kind in ("timestamp", "date")]
    found += [_members(name, (kind,), INT, run) for name, run in of_times.items() for kind in ("timestamp", "time")]
    found += [_members(name, ("duration",), INT, _spans_of(unit)) for name, unit in spans.items()]
    return found


def _spans_of(unit: timedelta) -> Callable[[timedelta], int]:
    return lambda value: value // unit if value >= timedelta() else -(-value // unit)


_LOWER: Final = {upper: upper + 32 for upper in range(65, 91)}
_UPPER: Final = {lower: lower - 32 for lower in range(97, 123)}
_FUNCTIONS: Final[tuple[Function, ...]] = (
    Function("size", ("string",), len, INT, member=True),
    Function("size", ("list",), len, INT, member=True),
    _members("startsWith", ("string", "string"), BOOL, str.startswith),
    _members("endsWith", ("string", "string"), BOOL, str.endswith),
    _members("contains", ("string", "string"), BOOL, str.__contains__),
    Function("matches", ("string", "string"), _matches, BOOL, member=True, literals=(1,)),
    _members("lowerAscii", ("string",), STRING, lambda text: text.translate(_LOWER)),
    _members("upperAscii", ("string",), STRING, lambda text: text.translate(_UPPER)),
    _members("trim", ("string",), STRING, str.strip),
    _members("replace", ("string", "string", "string"), STRING, _replace),
    _members("substring", ("string", "int"), STRING, _substring),
    _members("substring", ("string", "int", "int"), STRING, _substring),
    _members("split", ("string", "string"), list_of(STRING), _split),
    _members("join", ("list", "string"), STRING, _join),
    Function("sum", ("list",), _sum, answer_of=_item, member=True),
    Function("min", ("list",), _extreme(min, "min"), answer_of=_item, member=True),
    Function("max", ("list",), _extreme(max, "max"), answer_of=_item, member=True),
    *_parts(),
    Function("int", ("number",), _to_int, INT),
    Function("int", ("string",), _to_int, INT),
    Function("decimal", ("number",), _to_decimal, DECIMAL),
    Function("decimal", ("string",), _to_decimal, DECIMAL),
    Function("float", ("number",), _to_float, FLOAT),
    Function("float", ("string",), _to_float, FLOAT),
    Function("double", ("number",), _to_float, FLOAT),
    Function("double", ("string",), _to_float, FLOAT),
    Function("bool", ("string",), _to_bool, BOOL),
    Function("string", ("any",), _to_string, STRING),
    Function("timestamp", ("string",), read_moment, TIMESTAMP),
    Function("timestamp", ("timestamp",), lambda value: value, TIMESTAMP),
    Function("timestamp", ("date",), midnight, TIMESTAMP),
    Function("date", ("string",), read_date, DATE),
    Function("date", ("timestamp",), datetime.date, DATE),
    Function("time", ("string",), read_time, TIME),
    Function("time", ("timestamp",), datetime.time, TIME),
    Function("duration", ("string",), read_duration, DURATION),
    Function("days", ("int",), _days, DURATION),
    Function("abs", ("number",), abs, answer_of=_first),
    Function("abs", ("duration",), abs, DURATION),
    Function("round", ("number",), _round, answer_of=_first),
    Function("round", ("number", "int"), _round, answer_of=_first),
)
_BY_NAME: Final[dict[str, list[Function]]] = {}
for _one in _FUNCTIONS:
    _BY_NAME.setdefault(_one.name, []).append(_one)
