"""Text to nodes: the native CEL parser, and the reading of the tree that it hands out.

Owns the call of the library and the decoding of its answer (a `cel.expr.ParsedExpr` in protobuf's
wire format: varints and length-prefixed fields). Does not know types or names.

CEL's identifiers are ASCII, those of models are not: each foreign letter is spelt out before
parsing and put back after. The macros come expanded into folds; they are recognised by their
accumulator, whose name nobody can write, and become nodes of their own again.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from watcherd.errors import InvalidExpressionError

if TYPE_CHECKING:
    from cel_expr_python import cel

MAX_LENGTH: Final = 2000
MAX_DEPTH: Final = 100

Macro = Literal["all", "exists", "exists_one", "map", "filter"]


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; `source` is its text where it is a number with a point or an exponent."""

    offset: int
    value: Any
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Name:
    """A name of the scope, or of a macro's variable."""

    offset: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`; with `test` it is `has(operand.field)`."""

    offset: int
    operand: Node
    field: str
    test: bool


@dataclass(frozen=True, slots=True)
class Invoke:
    """A call of a function or operator (`_+_`); `target` is what stands before the dot."""

    offset: int
    function: str
    target: Node | None
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A list literal."""

    offset: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Each:
    """A macro over a list: `body` is the condition (None for a `map` without one), `result` what `map` makes."""

    offset: int
    macro: Macro
    over: Node
    variable: str
    body: Node | None
    result: Node | None = None


Node: TypeAlias = Constant | Name | Select | Invoke | Items | Each

_WORDS: Final = re.compile(
    r"""(?P<string>[rRbB]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))"""
    r"""|(?P<comment>//[^\n]*)|(?P<word>[^\W\d]\w*)""",
    re.DOTALL,
)
_NUMBER: Final = re.compile(r"[0-9]*\.?[0-9]*(?:[eE][+-]?[0-9]+)?")
_COMPLAINT: Final = re.compile(r"ERROR: <input>:(?P<line>\d+):(?P<column>\d+): (?P<message>[^\n]*)")
_UNEXPECTED: Final = re.compile(r"(?:mismatched|extraneous|no viable alternative at) input '(?P<found>.*?)'(?: |$)")
_SPELT: Final = re.compile("_u([0-9a-f]+)_")


def parse(text: str) -> Node:
    """The nodes of an expression. Raises `InvalidExpressionError` with the offset of what is wrong."""
    if len(text) > MAX_LENGTH:
        raise InvalidExpressionError(f"an expression has at most {MAX_LENGTH} characters, this one {len(text)}")
    if not text.strip():
        raise InvalidExpressionError("the expression is empty")
    source = _Source(text)
    try:
        answer = _environment().compile(source.ascii, disable_check=True).serialize()
    except (RuntimeError, ValueError) as error:
        raise _complaint(str(error), source) from error
    return _Decoder(source).decode(answer)


@cache
def _environment() -> cel.Env:
    # Imported when the first expression is met: a model without any costs nothing.
    from cel_expr_python import cel  # noqa: PLC0415

    return cel.NewEnv()


class _Source:
    """The text as written, its spelling in ASCII, and the way back from an offset in the latter."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._shifts: list[tuple[int, int]] = []
        self.ascii = self._spelt(text)

    def _spelt(self, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidExpressionError("not valid Unicode text", error.start) from None
        if text.isascii():
            return text
        pieces: list[str] = []
        done = length = 0
        for found in _WORDS.finditer(text):
            word = found["word"]
            if word is None or word.isascii():
                continue
            pieces += (text[done : found.start()], _spell(word))
            length += found.start() - done + len(pieces[-1])
            done = found.end()
            self._shifts.append((length, done))
        return "".join((*pieces, text[done:]))

    def offset(self, place: int) -> int:
        """The offset in the text as written."""
        spelt = written = 0
        for end, original in self._shifts:
            if place < end:
                break
            spelt, written = end, original
        return max(min(written + place - spelt, len(self.text)), 0)

    def name(self, spelt: str) -> str:
        """A name as it was written."""
        if not self._shifts:
            return spelt
        return _SPELT.sub(lambda found: chr(int(found[1], 16)), spelt)


def _spell(word: str) -> str:
    return "".join(letter if letter.isascii() else f"_u{ord(letter):x}_" for letter in word)


def _complaint(message: str, source: _Source) -> InvalidExpressionError:
    """What the parser complains of, in our words: the first thing only, the rest follows from it."""
    if "recursion limit" in message:
        return InvalidExpressionError("the expression is nested too deep")
    found = _COMPLAINT.search(message)
    if found is None or int(found["line"]) > MAX_LENGTH:
        reason = "it is too large" if "Exceeded max" in message else "the parser gives no place"
        return InvalidExpressionError(f"the expression cannot be read: {reason}")
    lines = source.ascii.split("\n")
    line = min(int(found["line"]), len(lines))
    place = source.offset(sum(len(one) + 1 for one in lines[: line - 1]) + int(found["column"]) - 1)
    said = found["message"].removesuffix(" [INVALID_ARGUMENT]").removeprefix("Syntax error: ")
    unexpected = _UNEXPECTED.match(said)
    if unexpected is None:
        if source.text[place : place + 1] == "=":
            return InvalidExpressionError("`=` does not belong here", place, "write `==`: nothing is assigned here")
        hint = "write `has(self.x)` for an attribute, and `x != null` for all else" if "has()" in said else None
        return InvalidExpressionError(f"not an expression: {source.name(said)}", place, hint)
    if unexpected["found"] == "<EOF>":
        return InvalidExpressionError("the expression ends too early", place)
    word = source.name(unexpected["found"])
    return InvalidExpressionError(f"`{word}` does not belong here", place, _written_here(word, source.text[:place]))


def _written_here(word: str, before: str) -> str | None:
    """What stands here for a word of SQL or Python."""
    if before.split()[-1:] in (["not"], ["NOT"]):
        return "write `!` for not"
    if word == ">" and before.endswith("<"):
        return "write `!=`"
    meant = _MEANT.get(word.lower())
    return f"write {meant}" if meant is not None else None


_MEANT: Final = {
    "and": "`&&`",
    "or": "`||`",
    "not": "`!`, such as `!(x in [1, 2])`",
    "is": "`x == null`",
    "like": "`.contains(...)`, `.startsWith(...)` or `.matches(...)`",
    "between": "`a <= x && x <= b`",
    "if": "`condition ? this : that`",
}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a message: an int, or bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value: Any
            value, at = _varint(data, at)
        elif kind == _BYTES:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            size = 8 if kind == _FIXED64 else 4
            value, at = data[at : at + size], at + size
        yield tag >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, at
        shift += 7


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


class _Decoder:
    """One tree being read; holds where each node stands in the text."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._places: dict[int, int] = {}
        self._depth = 0

    def decode(self, answer: bytes) -> Node:
        parsed = dict(_fields(dict(_fields(answer))[2]))
        for number, entry in _fields(parsed[3]):
            if number == 4:  # noqa: PLR2004 - `positions` of SourceInfo
                place = dict(_fields(entry))
                self._places[place.get(1, 0)] = place.get(2, 0)
        return self._node(parsed[2])

    def _node(self, data: bytes) -> Node:
        number, body, place = 0, b"", 0
        for field, value in _fields(data):
            if field == 2:  # noqa: PLR2004 - `id` of Expr
                place = self._places.get(value, 0)
            else:
                number, body = field, value
        offset = self._source.offset(place)
        if number not in _KINDS:
            raise InvalidExpressionError("expressions have no mappings and no messages", offset)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            # The parser bounds brackets; a sum of a thousand terms has none, but is as deep.
            raise InvalidExpressionError("the expression is nested too deep", offset)
        node: Node = _KINDS[number](self, offset, place, body)
        self._depth -= 1
        return node

    def _constant(self, offset: int, place: int, body: bytes) -> Node:
        [(kind, value)] = list(_fields(body))
        if kind == 1:
            return Constant(offset, None)
        if kind == 2:  # noqa: PLR2004 - `bool_value`; the numbers below are those of Constant, too
            return Constant(offset, bool(value))
        if kind == 3:  # noqa: PLR2004
            return Constant(offset, _signed(value))
        if kind == 5:  # noqa: PLR2004
            # A negative literal has its place at the sign, the number follows.
            start = re.compile(r"[\s-]*").match(self._source.ascii, place)
            found = _NUMBER.match(self._source.ascii, start.end() if start else place)
            sign = "-" if struct.unpack("<d", value)[0] < 0 else ""
            return Constant(offset, struct.unpack("<d", value)[0], sign + (found[0] if found else ""))
        if kind == 6:  # noqa: PLR2004
            return Constant(offset, value.decode())
        what = "unsigned numbers: write it without `u`" if kind == 4 else "bytes"  # noqa: PLR2004
        raise InvalidExpressionError(f"expressions have no {what}", offset)

    def _name(self, offset: int, place: int, body: bytes) -> Node:
        del place
        return Name(offset, self._source.name(dict(_fields(body))[1].decode()))

    def _select(self, offset: int, place: int, body: bytes) -> Node:
        parts = dict(_fields(body))
        field = parts[2].decode()
        test = bool(parts.get(3, 0))
        # The place is the dot; what is wrong, if anything, is the name after it.
        at = self._source.ascii.find(field, place)
        name = self._source.name(field)
        return Select(offset if at < 0 else self._source.offset(at), self._node(parts[1]), name, test)

    def _call(self, offset: int, place: int, body: bytes) -> Node:
        del place
        function, target, arguments = "", None, []
        for number, value in _fields(body):
            if number == 1:
                target = self._node(value)
            elif number == 2:  # noqa: PLR2004 - `function`
                function = self._source.name(value.decode())
            else:
                arguments.append(self._node(value))
        return Invoke(offset, function, target, tuple(arguments))

    def _list(self, offset: int, place: int, body: bytes) -> Node:
        del place
        return Items(offset, tuple(self._node(value) for number, value in _fields(body) if number == 1))

    def _fold(self, offset: int, place: int, body: bytes) -> Node:
        """A macro, recognised by what it accumulates."""
        del place
        parts = dict(_fields(body))
        variable = self._source.name(parts[1].decode())
        over, start, step = (self._node(parts[number]) for number in (2, 4, 6))
        if 8 in parts or not isinstance(step, Invoke):  # noqa: PLR2004 - `iter_var2`
            raise InvalidExpressionError("a macro over two variables is not known", offset)
        if isinstance(start, Constant) and isinstance(start.value, bool):
            return Each(offset, "all" if start.value else "exists", over, variable, step.arguments[1])
        if isinstance(start, Constant):
            return Each(offset, "exists_one", over, variable, step.arguments[0])
        condition, grown = (None, step) if step.function == "_+_" else (step.arguments[0], step.arguments[1])
        made = grown.arguments[1].items[0]  # type: ignore[union-attr]  # `@result + [made]`, by the macro's expansion
        if condition is not None and isinstance(made, Name) and made.name == variable:
            return Each(offset, "filter", over, variable, condition)
        return Each(offset, "map", over, variable, condition, made)


_KINDS: Final[Mapping[int, Any]] = {
    3: _Decoder._constant,  # noqa: SLF001 - the module's own
    4: _Decoder._name,  # noqa: SLF001
    5: _Decoder._select,  # noqa: SLF001
    6: _Decoder._call,  # noqa: SLF001
    7: _Decoder._list,  # noqa: SLF001
    9: _Decoder._fold,  # noqa: SLF001
}
