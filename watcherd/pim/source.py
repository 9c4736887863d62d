"""Bytes to text: the size bound, the encoding, and the characters that YAML does not allow.

Nothing here knows YAML's grammar. What is found wrong comes back as faults with character offsets
into the text that comes back beside them.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from typing import NamedTuple

from watcherd.pim.findings import Span


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a file is read before it is refused; every bound is a diagnostic, never a crash.

    `max_bytes`: the size of the file. `max_depth`: nesting of mappings and lists, aliases included.
    `max_nodes`: keys, values, mappings and lists, each alias counted as all that it stands for.
    `max_characters`: the text of all scalars, each alias counted as all that it stands for.
    `max_entities`: of a model. `max_attributes`: of one entity.
    """

    max_bytes: int = 1024 * 1024
    max_depth: int = 64
    max_nodes: int = 100_000
    max_characters: int = 4 * 1024 * 1024
    max_entities: int = 500
    max_attributes: int = 500


DEFAULT_LIMITS = Limits()

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Without a mark: four characters of ASCII, each beside a zero.
_UTF16_TEXT = re.compile(rb"(?:\x00[\x01-\x7f]){4}|(?:[\x01-\x7f]\x00){4}")
_PLAIN = bytes([*b"\t\n\r", *range(0x20, 0x7F)])
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


_TWO_DIGITS = 0x100


class Fault(NamedTuple):
    """A finding before there is a text to place it in."""

    code: str
    span: Span
    message: str
    hint: str | None = None


def decode(source: bytes, limits: Limits) -> tuple[str, Fault | None]:
    """Decode a file; a fault means that the text is good for positions only, not for reading."""
    if len(source) > limits.max_bytes:
        message = f"the file has {len(source):,} bytes; at most {limits.max_bytes:,} are read"
        return "", Fault("PIM001", Span(0, 0), message, "split the model into several")
    if source.startswith(_UTF16_MARKS) or _UTF16_TEXT.match(source):
        return "", Fault("PIM002", Span(0, 0), "the file is encoded in UTF-16", "save it as UTF-8")
    content = source.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        at = len(content[: error.start].decode("utf-8"))
        message = f"byte 0x{content[error.start]:02x} is not UTF-8 ({error.reason})"
        return content.decode("utf-8", errors="replace"), Fault("PIM002", Span(at, at + 1), message, "save it as UTF-8")
    # Most texts are of plain characters alone, which is quickly seen.
    unprintable = _UNPRINTABLE.search(text) if content.translate(None, _PLAIN) else None
    if unprintable is not None:
        number = ord(unprintable[0])
        escape = f"\\x{number:02x}" if number < _TWO_DIGITS else f"\\u{number:04x}"
        message = f"the character U+{number:04X} is not allowed in YAML"
        hint = f'take it out, or write it as an escape in double quotes: "{escape}"'
        return text, Fault("PIM003", Span(*unprintable.span()), message, hint)
    return text, None
