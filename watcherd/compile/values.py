"""Readers: what a client writes for one value -> the wire value that is stored, or why not.

Owns the kinds whose values travel as text (decimals, times, keys, addresses) for bodies, queries
and paths alike. Does not own the kinds that JSON has itself (validators) nor limits on lengths.
A reader raises `ValueError` with a message that names what is expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Self

import email_validator
from pydantic_core import SchemaValidator, ValidationError, core_schema

from watcherd.pim.linked import Target
from watcherd.pim.spec import Attribute, EntityRef, Kind

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
DEFAULT_PRECISION = 18
DEFAULT_SCALE = 6
UNADDRESSABLE = (".", "..", "-")
"""Keys that no row can have: whoever sends a request resolves the first two, and below the third are the system's."""

URL_SCHEMES = ["http", "https", "ftp", "ftps", "sftp", "ws", "wss"]

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_DATETIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PLAIN_EMAIL = re.compile(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,63}")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_URL = SchemaValidator(core_schema.url_schema(allowed_schemes=URL_SCHEMES))
_MAX_EMAIL_LOCAL, _MAX_EMAIL_FAST = 64, 200

Reader = Callable[[str], Any]


class ExactFloat(float):
    """A JSON number that remembers how it was written, for a decimal that a float cannot hold."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        """The nearest float, with its text."""
        self = super().__new__(cls, text)
        self.text = text
        return self


def resolve(attribute: Attribute, targets: Mapping[EntityRef, Target]) -> Attribute:
    """The attribute that says what values look like: for a reference, the key it ends at.

    A key may itself be a reference; one that leads into a model unseen here is taken as text.
    """
    seen: set[EntityRef] = set()
    while attribute.reference is not None and attribute.kind is Kind.REFERENCE:
        target = targets.get(attribute.reference)
        if target is None or attribute.reference in seen:
            return Attribute(name=attribute.name, kind=Kind.STRING)
        seen.add(attribute.reference)
        attribute = target.key
    return attribute


def text_reader(attribute: Attribute, targets: Mapping[EntityRef, Target]) -> Reader:
    """The reader of a value in a query string or a path; lists and json have none (`ValueError`)."""
    actual = resolve(attribute, targets)
    if attribute.is_list or actual.kind is Kind.JSON:
        raise ValueError(f"{attribute.name} cannot be written as text")
    if actual.kind is Kind.DECIMAL:
        return decimal_reader(actual)
    if actual.members:
        return member_reader(actual.members)
    return READERS.get(actual.kind, plain_text)


def choices(attribute: Attribute) -> list[str]:
    """The members of an enum that a row can have; as a key not those that would leave it without an address."""
    refused = UNADDRESSABLE if attribute.primary_key else ()
    return [member for member in attribute.members if member not in refused] or list(attribute.members)


def plain_text(text: str) -> str:
    """Any text that a database can store."""
    if "\x00" in text:
        raise ValueError("expected text without the character U+0000")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("expected valid Unicode text") from None
    return text


def member_reader(members: tuple[str, ...]) -> Reader:
    """The reader of an enum."""

    def read(text: str) -> str:
        if text not in members:
            raise ValueError(f"expected one of {', '.join(members)}")
        return text

    return read


def integer(text: str) -> int:
    """An integer of 64 bits."""
    if _INTEGER.fullmatch(text) is None or not INT64_MIN <= int(text) <= INT64_MAX:
        raise ValueError("expected an integer of 64 bits")
    return int(text)


def floating(text: str) -> float:
    """A finite number."""
    if _FLOAT.fullmatch(text) is None or abs(value := float(text)) == float("inf"):
        raise ValueError("expected a finite number")
    return value


def boolean(text: str) -> bool:
    """`true` or `false`."""
    if text not in {"true", "false"}:
        raise ValueError("expected true or false")
    return text == "true"


def uuid(text: str) -> str:
    """A UUID with hyphens, in lower case."""
    if _UUID.fullmatch(text) is None:
        raise ValueError("expected a UUID such as 019311f0-1c2b-7d3e-8f40-5a6b7c8d9e0f")
    return text.lower()


def moment(text: str) -> str:
    """A date and time as UTC text with six digits; without an offset it is taken as UTC.

    Digits beyond the microsecond are cut off.
    """
    upper = text.upper()
    if _DATETIME.fullmatch(upper) is None:
        raise ValueError("expected a date and time such as 2026-11-22T01:31:46Z")
    try:
        return wire_moment(datetime.fromisoformat(upper))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected a date and time that exists: {error}") from None


def wire_moment(value: datetime) -> str:
    """The wire text of a time of day; naive ones are UTC already."""
    if value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value.isoformat(timespec="microseconds") + "Z"


def day(text: str) -> str:
    """A calendar date."""
    if _DATE.fullmatch(text) is None:
        raise ValueError("expected a date such as 2026-11-22")
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise ValueError(f"expected a date that exists: {error}") from None


def clock_time(text: str) -> str:
    """A time of day without an offset, with six digits."""
    if _TIME.fullmatch(text) is None:
        raise ValueError("expected a time without offset such as 01:31:46")
    try:
        return time.fromisoformat(text).isoformat(timespec="microseconds")
    except ValueError as error:
        raise ValueError(f"expected a time that exists: {error}") from None


def email(text: str) -> str:
    """An address by syntax alone, its domain in lower case. No name server is asked.

    Reserved domains such as `.test` and `.local` are fine, a domain without a dot is not.
    """
    if len(text) <= _MAX_EMAIL_FAST and text.find("@") <= _MAX_EMAIL_LOCAL and _PLAIN_EMAIL.fullmatch(text) is not None:
        return text
    try:
        found = email_validator.validate_email(
            text, check_deliverability=False, globally_deliverable=False, strict=True
        )
    except email_validator.EmailNotValidError as error:
        raise ValueError(f"expected an email address: {error}") from None
    if "." not in found.domain:
        raise ValueError("expected an email address: the part after @ needs a dot")
    return found.normalized


def url(text: str) -> str:
    """An absolute URL with a host, kept as it was written."""
    if _BLANK.search(text) is not None:
        raise ValueError("expected a URL without spaces and control characters")
    try:
        _URL.validate_python(text)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Input should be a valid URL, ")
        raise ValueError(f"expected a URL such as https://example.com/: {reason}") from None
    return text


def decimal_reader(attribute: Attribute) -> Reader:
    """The reader of a decimal: exact, within the digits of the attribute, in canonical text."""
    scale = DEFAULT_SCALE if attribute.scale is None else attribute.scale
    whole = whole_digits(attribute)
    digits = attribute.precision
    places = attribute.scale

    def read(text: str) -> str:
        if _DECIMAL.fullmatch(text) is None:
            raise ValueError("expected a decimal number such as 12.50")
        value = Decimal(text)
        if not value:
            return "0" if not places else f"{Decimal():.{places}f}"
        if value.adjusted() >= whole:
            raise ValueError(f"expected at most {whole} digits before the decimal point")
        if value.adjusted() < -scale:
            raise ValueError(f"expected at most {scale} digits after the decimal point")
        plain = f"{value:f}"
        if "." in plain:
            plain = plain.rstrip("0").rstrip(".")
        before, _, after = plain.lstrip("-").partition(".")
        if len(after) > scale:
            raise ValueError(f"expected at most {scale} digits after the decimal point")
        if digits is not None and len(before.lstrip("0")) + len(after) > digits:
            raise ValueError(f"expected at most {digits} digits in all")
        if abs(int(plain.replace(".", "") + "0" * (scale - len(after)))) > INT64_MAX:
            raise ValueError(f"expected a number that fits 64 bits with {scale} decimal places")
        return plain if places is None else f"{Decimal(plain):.{places}f}"

    return read


def whole_digits(attribute: Attribute) -> int:
    """How many digits a decimal has before its point, at most: it is stored as a scaled integer."""
    if attribute.scale is None:
        return min(attribute.precision or DEFAULT_PRECISION, DEFAULT_PRECISION - DEFAULT_SCALE)
    return max((attribute.precision or DEFAULT_PRECISION) - attribute.scale, 0)


READERS: Mapping[Kind, Reader] = {
    Kind.INTEGER: integer,
    Kind.FLOAT: floating,
    Kind.BOOLEAN: boolean,
    Kind.UUID: uuid,
    Kind.DATETIME: moment,
    Kind.DATE: day,
    Kind.TIME: clock_time,
    Kind.EMAIL: email,
    Kind.URL: url,
}
