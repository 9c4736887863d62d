"""Bytes -> JSON value -> checked values, or the `Problem` that says what is wrong with them.

Owns content types, JSON syntax, and the words of every finding. Does not own which attributes a
request must give (bodies).

A body without a content type is read as JSON: there is nothing else that it could be. Of duplicate
keys the last one counts, as in every common JSON parser. `NaN` and `Infinity` are no JSON (400);
so is nesting deeper than 200.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic_core import ErrorDetails, SchemaValidator, ValidationError, from_json

from watcherd import problems
from watcherd.compile.validators import json_type
from watcherd.compile.values import ExactFloat
from watcherd.problems import Finding, Problem
from watcherd.wire import Call

JSON_ONLY = (b"application/json",)
JSON_OR_MERGE_PATCH = (b"application/json", b"application/merge-patch+json")

MAX_FINDINGS = 1000
"""How many findings are told; no more of them are worded, since a body can be wrong in a hundred thousand places."""

_HINTED = 10  # unknown names of one body, each with a look for what is near,
SHOWN = 100  # characters of what a client sent, in a message; the search for what is near a name grows with its square

STATE = "state"
"""The code of a finding about the state of a row, not about the body."""
MAX_DEPTH = 200
"""What the parser takes at most."""

# A number of 15 significant digits or fewer survives the way through a float and back.
_LONG_NUMBER = re.compile(rb"[0-9.]{17}")
_OUT_OF_RANGE = "number out of range"
"""How the parser begins to tell of an integer of more than 4,300 digits."""

_LONGEST_NUMBER = 4000
_BOM = b"\xef\xbb\xbf"

Location = Sequence[str | int]

# Where an unknown name was found -> whose names those are, and the names that exist there.
Known = Callable[[Location], tuple[str, Collection[str]]]


async def read_json(call: Call, accepted: Sequence[bytes], *, exact: bool) -> Any:
    """The body of a request as a JSON value.

    With `exact`, long fractions come as `ExactFloat`. Raises `Problem`: 415, 413, 400; 422 for
    the one character that no database stores as text.
    """
    refuse_others(call, accepted)
    return parse(await call.body(), exact=exact, max_depth=call.max_json_depth)


def refuse_others(call: Call, accepted: Sequence[bytes]) -> None:
    """Raise `Problem` 415 for a body of another content type, or one that is compressed."""
    media = call.header(b"content-type")
    if media is not None and media.split(b";", 1)[0].strip().lower() not in accepted:
        raise unsupported(media, accepted)
    refuse_encoded(call)


def refuse_encoded(call: Call) -> None:
    """Raise `Problem` 415 for a body that is compressed: read as it is, all that is said of it would mislead."""
    coding = call.header(b"content-encoding")
    if coding is not None and coding.strip().lower() not in {b"", b"identity"}:
        sent = coding.decode("latin-1")
        raise Problem(
            problems.UNSUPPORTED_MEDIA_TYPE,
            f"send the body as it is, not with the content encoding {sent!r}",
            headers={"accept-encoding": "identity"},
        )


def unsupported(media: bytes, accepted: Sequence[bytes]) -> Problem:
    """415, with the content types that would do."""
    names = " or ".join(item.decode() for item in accepted)
    headers = {"accept-patch": ", ".join(item.decode() for item in accepted)} if len(accepted) > 1 else {}
    sent = media.decode("latin-1")
    return Problem(problems.UNSUPPORTED_MEDIA_TYPE, f"send the body as {names}, not as {sent!r}", headers=headers)


def parse(body: bytes, *, exact: bool, max_depth: int = MAX_DEPTH) -> Any:
    """Bytes -> JSON value; `Problem` 400 with line and column where it is none, or nested too deep."""
    body = body.removeprefix(_BOM)
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise _unreadable(body, error) from None
    if body.count(b"[") + body.count(b"{") > max_depth and _is_deeper(value, max_depth):
        raise Problem(problems.MALFORMED_JSON, f"the body is nested deeper than {max_depth} levels")
    if exact and _LONG_NUMBER.search(body) is not None:
        # The fast parser has checked syntax and depth; this one keeps the text of fractions.
        value = json.loads(body, parse_float=ExactFloat)
    if b"\\u0000" in body:
        found = [
            Finding(pointer(place), "characters", "expected text without the character U+0000")
            for place in islice(_with_nul(value, ()), MAX_FINDINGS + 1)
        ]
        if found:
            raise invalid(found)
    return value


def _unreadable(body: bytes, error: ValueError) -> Problem:
    """400; 422 where all that the parser cannot take is the length of a number."""
    if str(error).startswith(_OUT_OF_RANGE):
        try:
            value = json.loads(body, parse_int=_short, parse_float=_short, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            pass  # something else is wrong as well, and comes first
        else:
            places = list(islice(_too_long(value), MAX_FINDINGS + 1))
            if places:
                return invalid([Finding(pointer(place), "range", "expected a number of 64 bits") for place in places])
    return Problem(problems.MALFORMED_JSON, f"the body is not JSON: {error}")


class _TooLong:
    """Stands for a number that is longer than any parser reads."""


def _short(digits: str) -> object:
    return _TooLong() if len(digits) > _LONGEST_NUMBER else None


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _too_long(root: Any) -> Iterator[tuple[str | int, ...]]:
    """The places of all such numbers, in order; without recursion, as nobody has bounded the depth yet."""
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(root, ())]
    while waiting:
        value, place = waiting.pop()
        if isinstance(value, _TooLong):
            yield place
        inside = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
        waiting.extend(reversed([(item, (*place, key)) for key, item in inside]))


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether arrays and objects stand in each other more than `levels` deep."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return False
    return any(isinstance(item, dict | list) for item in level)


def _with_nul(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, str):
        if "\x00" in value:
            yield place
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _with_nul(item, (*place, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\x00" in key:
                yield place
            yield from _with_nul(item, (*place, key))


def check(validator: SchemaValidator, value: Any, known: Known) -> tuple[dict[str, Any], list[Finding]]:
    """Validated values, or all findings about types and limits, of which one more is enough than are told.

    One of the two is empty.
    """
    try:
        return validator.validate_python(value), []
    except ValidationError as error:
        details = _at_the_beginning(validator, value) if error.error_count() > MAX_FINDINGS else []
        return {}, _worded(details if len(details) > MAX_FINDINGS else error.errors(include_url=False), known)


def _at_the_beginning(validator: SchemaValidator, value: Any) -> list[ErrorDetails]:
    """The errors in the first items of each list: of a value that is wrong all over, enough to tell of.

    All of them take a microsecond each to be made, on the event loop. They may be elsewhere, and then these are fewer.
    """
    try:
        validator.validate_python(_shortened(value))
    except ValidationError as error:
        return [detail for detail in error.errors(include_url=False) if detail["type"] != "too_short"]
    return []


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return [_shortened(item) for item in value[: MAX_FINDINGS + 1]]
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    return value


def _worded(details: Sequence[ErrorDetails], known: Known) -> list[Finding]:
    findings: list[Finding] = []
    hinted = 0
    for detail in details[: MAX_FINDINGS + 1]:
        is_unknown = detail["type"] == "extra_forbidden"
        hinted += is_unknown
        if is_unknown and hinted > _HINTED:
            findings.append(_unknown(detail["loc"], known(detail["loc"][:-1])[0]))
        else:
            findings.append(finding(detail, known))
    return findings


def finding(detail: ErrorDetails, known: Known) -> Finding:
    """A validator's error in our words: what is expected, and at which place of the body."""
    place = detail["loc"]
    if detail["type"] == "extra_forbidden":
        owner, names = known(place[:-1])
        return unknown(place, names, owner)
    say = _WORDS.get(detail["type"])
    if say is None:  # one of our own readers: its code and message are final
        return Finding(pointer(place), detail["type"], detail["msg"])
    code, message = say(detail["input"], detail.get("ctx", {}))
    return Finding(pointer(place), code, message)


def unknown(place: Location, names: Collection[str], owner: str) -> Finding:
    """The finding about a name that does not exist, with the nearest that does."""
    return _unknown(place, owner, nearest(str(place[-1]), names))


def _unknown(place: Location, owner: str, hint: str = "") -> Finding:
    return Finding(pointer(place), "unknown", f"{owner} has no {short(str(place[-1]))!r}{hint}")


def nearest(name: str, names: Collection[str]) -> str:
    """`; did you mean 'x'?`, or what exists where nothing is near."""
    near = difflib.get_close_matches(name, names, n=1) if len(name) <= SHOWN else []
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there are {', '.join(sorted(names))}" if names else ""


def short(text: str) -> str:
    """What a client sent, for a message: not all of it where it is long."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def pointer(place: Location) -> str:
    """A JSON pointer as a URI fragment; characters outside ASCII stay readable."""
    return "#" + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in place)


def invalid(findings: Sequence[Finding]) -> Problem:
    """422 with every finding, up to a bound; 409 where the body is valid, but not for the state of the row."""
    count = len(findings)
    detail = findings[0].message if count == 1 else f"{count} findings"
    if count > MAX_FINDINGS:
        detail = f"over {MAX_FINDINGS} findings, the first {MAX_FINDINGS} are listed"
    type_ = problems.STATE if all(one.code == STATE for one in findings) else problems.VALIDATION
    return Problem(type_, detail, errors=findings[:MAX_FINDINGS])


Context = Mapping[str, Any]
Say = Callable[[Any, Context], tuple[str, str]]


def _type(expected: str) -> Say:
    return lambda value, _: ("type", f"expected {expected}, not {json_type(value)}")


def _length(code: str, words: str, unit: str, key: str) -> Say:
    return lambda _, context: (code, f"expected {words} {context[key]} {unit}{'s' if context[key] != 1 else ''}")


def _bound(code: str, words: str, key: str) -> Say:
    def say(_: Any, context: Context) -> tuple[str, str]:
        bound = context[key]
        if bound in {-(2**63), 2**63 - 1}:
            return "range", "expected an integer of 64 bits"
        return code, f"expected {words} {bound:g}" if isinstance(bound, float) else f"expected {words} {bound}"

    return say


_WORDS: Mapping[str, Say] = {
    "dict_type": _type("an object"),
    "string_type": _type("a string"),
    "int_type": _type("an integer"),
    "float_type": _type("a number"),
    "bool_type": _type("a boolean"),
    "list_type": _type("an array"),
    "none_required": lambda *_: ("read_only", "is set by the server, expected it to be left out"),
    "missing": lambda *_: ("required", "expected a value, it is required"),
    "literal_error": lambda _, context: ("enum", f"expected {context['expected']}"),
    "finite_number": lambda *_: ("range", "expected a number that fits a 64 bit float"),
    "string_too_short": _length("min_length", "at least", "character", "min_length"),
    "string_too_long": _length("max_length", "at most", "character", "max_length"),
    "string_pattern_mismatch": lambda _, context: ("pattern", f"expected text that matches {context['pattern']}"),
    "greater_than_equal": _bound("minimum", "at least", "ge"),
    "less_than_equal": _bound("maximum", "at most", "le"),
    "greater_than": _bound("exclusive_minimum", "more than", "gt"),
    "less_than": _bound("exclusive_maximum", "less than", "lt"),
    "string_unicode": lambda *_: ("characters", "expected valid Unicode text"),
}
