"""Where a text stops being YAML: what its author most likely meant, in place of a parser's words.

Owns the few slips of the pen that make nearly all such files: a missing colon or one too many, lines
that are not indented alike, brackets and quotes that stay open, signs that YAML keeps for itself. What
is none of these is told in the parser's words. Nothing here decides whether a file is YAML; it looks at
the lines around the place where the parser gave up, whose messages libyaml and the parser in Python
word alike enough to be told apart by a part of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from watcherd.pim.findings import Span, quote

if TYPE_CHECKING:
    from collections.abc import Callable

    import yaml

    from watcherd.pim.findings import SourceText

_CLOSES = {"{": "}", "[": "]"}
_QUOTES = "'\""
_GLUED = re.compile(r"(?:- )*([^\s:{}\[\],]+):([^\s:].*)")
_LINE = re.compile(r"[^\r\n]*")
_ITEM = re.compile(r"[^\r\n,}\]]*")
_LONGEST_EXAMPLE = 60
_LONGEST_SHOWN = 120


class Slip(NamedTuple):
    """Where it is, what is wrong, what to do, and the code of it."""

    span: Span
    message: str
    hint: str | None = None
    code: str = "PIM005"


class _Line(NamedTuple):
    """A line of the text: its number from 1, the spaces it begins with, and the rest."""

    number: int
    start: int
    indent: int
    content: str

    @property
    def span(self) -> Span:
        """All of it but the indentation; at least a character, to be seen."""
        begin = self.start + self.indent
        return Span(begin, begin + max(len(self.content), 1))


class _Place:
    """The text around the place where the parser gave up, and where what it was reading began."""

    def __init__(self, error: yaml.MarkedYAMLError, source: SourceText) -> None:
        mark = error.problem_mark or error.context_mark
        self.text = source.text
        self.at = min(mark.index, len(self.text)) if mark is not None else 0
        self.begun = min(error.context_mark.index, len(self.text)) if error.context_mark is not None else self.at
        self.source = source

    @property
    def span(self) -> Span:
        return Span(self.at, self.at + 1)

    @property
    def beginning(self) -> Span:
        """Where what was being read began."""
        return Span(self.begun, self.begun + 1)

    @property
    def opener(self) -> str:
        """The sign with which it began."""
        return self.text[self.begun : self.begun + 1]

    @property
    def sign(self) -> str:
        return self.text[self.at : self.at + 1]

    @property
    def line(self) -> _Line:
        return self.line_at(self.at)

    @property
    def before(self) -> str:
        """What stands before the place in its line, without indentation and dashes."""
        return self.text[self.line.start : self.at].lstrip(" -")

    def where(self, index: int) -> str:
        found = self.source.position(index)
        return f"line {found.line}, column {found.column}"

    def line_at(self, index: int) -> _Line:
        position = self.source.position(index)
        start = index - position.column + 1
        written = _LINE.match(self.text, start)
        content = written[0] if written else ""
        return _Line(position.line, start, len(content) - len(content.lstrip(" ")), content.strip())

    def line_before(self, line: _Line) -> _Line | None:
        """The nearest line above that says something."""
        while line.start > 0:
            line = self.line_at(line.start - 1)
            if line.content and not line.content.startswith("#"):
                return line
        return None


def slip_of(error: yaml.MarkedYAMLError, source: SourceText) -> Slip:
    """What is most likely wrong where the parser gave up with `error`."""
    problem, context, place = error.problem or "unreadable", error.context or "", _Place(error, source)
    if place.sign == "\t":
        return Slip(place.span, "YAML does not allow a tab here", "indent with spaces", "PIM004")
    said = f"{problem} {context}"
    judge = next((judge for words, judge in _JUDGES if words in said), None)
    if judge is not None:
        slip = judge(place)
        return slip._replace(message=f"this is not YAML: {slip.message}")
    begun = f"{context} that begins at {place.where(place.begun)}" if context and place.begun != place.at else None
    return Slip(place.span, f"this is not YAML: {problem}", begun)


def _colon(place: _Place) -> Slip:
    """A second colon in a line; or a line that is deeper than one that has its value already."""
    key, colon, text = place.before.partition(": ")
    if colon:
        text = text.lstrip() + _rest(place)
        hint = f"put it in quotes: {_shown(key + ': ' + _quoted(text))}"
        return Slip(place.span, "a text that has a colon and a space in it needs quotes", hint)
    line, above = place.line, place.line_before(place.line)
    if above is None:
        return Slip(place.span, "a colon cannot stand here")
    if ": " not in above.content and not above.content.endswith(":") and not above.content.startswith("- "):
        return _no_colon(above)
    return Slip(
        line.span,
        f"this line is deeper than line {above.number}, which has its value already",
        f"indent both alike: {_spaces(above.indent)} there, {_spaces(line.indent)} here",
    )


def _unfinished_key(place: _Place) -> Slip:
    return _no_colon(place.line_at(place.begun))


def _no_colon(line: _Line) -> Slip:
    glued = _GLUED.match(line.content)
    if glued:
        example = quote(f"{glued[1]}: {glued[2]}")
        return Slip(line.span, "there is no space behind the colon", f"write {example}")
    return Slip(line.span, "this line is no `key: value`", "a key is followed by a colon and a space")


def _kept_sign(place: _Place) -> Slip:
    """A sign with a meaning of its own, where a text was to begin."""
    sign = _shown(place.opener)
    return Slip(place.beginning, f"a text cannot begin with {sign}", _in_quotes(_rest(place, place.begun)))


def _no_value(place: _Place) -> Slip:
    if not place.sign:
        return _ends_in_brackets(place)
    hint = "a value is missing before it, or it needs quotes"
    return Slip(place.span, f"a value cannot begin with {_shown(place.sign)}", hint)


def _ends_in_brackets(place: _Place) -> Slip:
    """The text ends where a value was to come: within the bracket that was opened last and is open still."""
    closed = 0
    for index in range(place.at - 1, -1, -1):
        sign = place.text[index]
        if sign in _CLOSES.values():
            closed += 1
        elif sign in _CLOSES and closed:
            closed -= 1
        elif sign in _CLOSES:
            hint = f"close it with {_shown(_CLOSES[sign])}"
            return Slip(Span(index, index + 1), f"this {_shown(sign)} is not closed", hint)
    return Slip(place.span, "the text ends where a value is missing")


def _text_block(place: _Place) -> Slip:
    opener = place.opener
    hint = "put the text there, indented" if opener == "|" else _in_quotes(_rest(place, place.begun))
    return Slip(place.beginning, f"{_shown(opener)} begins a text that starts on the next line", hint)


def _open_quote(place: _Place) -> Slip:
    hint = "a text that has this quote in it is put in quotes of the other kind"
    return Slip(place.beginning, "this quote is not closed", hint)


def _escape(place: _Place) -> Slip:
    message = "in double quotes `\\` begins an escape, and this is none"
    return Slip(place.span, message, "put the text in single quotes, where `\\` is itself")


def _list_beside_key(place: _Place) -> Slip:
    hint = "begin it on a line of its own, or write `[a, b]`"
    return Slip(place.span, "a list cannot begin beside its key", hint)


def _outside(place: _Place) -> Slip:
    return Slip(place.span, "this line is outside of the model", "begin every key of the model in the first column")


def _among_keys(place: _Place) -> Slip:
    line = place.line
    if place.before:
        return _behind_a_value(place)
    if place.where(place.begun).endswith(f"column {line.indent + 1}") and line.content.startswith("- "):
        return Slip(place.span, "an item of a list among keys", "a list stands below a key of its own")
    return _indented(place)


def _among_items(place: _Place) -> Slip:
    line = place.line
    if place.before:
        return _behind_a_value(place)
    if place.where(place.begun).endswith(f"column {line.indent + 1}"):
        return Slip(
            place.span, "a key among the items of a list", "begin each item with `- `, or indent the key as its entity"
        )
    return _indented(place)


def _indented(place: _Place) -> Slip:
    line, above = place.line, place.line_before(place.line)
    known = {place.source.position(place.begun).column - 1} | ({above.indent} if above is not None else set())
    known.discard(line.indent)
    message = f"this line is indented by {_spaces(line.indent)}, unlike those around it"
    return Slip(
        place.span, message, f"indent it like its neighbours, by {' or '.join(_spaces(n) for n in sorted(known))}"
    )


def _behind_a_value(place: _Place) -> Slip:
    if place.sign in _CLOSES.values():
        return Slip(place.span, f"this {_shown(place.sign)} closes nothing")
    ended = place.before.rstrip()[-1:]
    if ended and ended in _QUOTES:
        other = "double" if ended == "'" else "single"
        hint = f"put the whole text in {other} quotes"
        return Slip(place.span, f"the text has ended with the {_shown(ended)} before", hint)
    return Slip(place.span, "the value has ended before this")


def _in_brackets(place: _Place) -> Slip:
    """Something within `{...}` or `[...]`: a sign that needs quotes, or the end that is missing."""
    opener = place.opener
    closer = _CLOSES.get(opener, "")
    before = place.before.rstrip()
    if place.sign in _CLOSES and before[-1:] not in {*_CLOSES, ",", ":", ""}:
        message = f"within {_shown(opener + closer)} a text with {_shown(place.sign)} in it needs quotes"
        return Slip(place.span, message, _in_quotes(_last_word(before) + _bracketed(place)))
    if before[-1:] in {*_QUOTES} and place.sign not in {"", ":"}:
        return _behind_a_value(place)
    if place.sign == ":" and place.line.number == place.line_at(place.begun).number:
        return Slip(place.span, "a text that has a colon in it needs quotes", "or a `,` is missing before it")
    opened = place.line_at(place.begun)
    stays = opened.number == place.line.number or opened.content.endswith(opener)
    message = f"the {_shown(opener)} of {place.where(place.begun)} is not closed, or a `,` is missing"
    return Slip(place.span if stays else place.beginning, message, f"close it with {_shown(closer)}")


def _rest(place: _Place, index: int | None = None) -> str:
    """What stands in the line from the place on, or up to the next comma or end of the bracket that it is in."""
    begin = place.at if index is None else index
    in_brackets = any(opener in place.text[place.line_at(begin).start : begin] for opener in _CLOSES)
    written = (_ITEM if in_brackets else _LINE).match(place.text, begin)
    return written[0].rstrip() if written else ""


def _bracketed(place: _Place) -> str:
    """The bracket at the place and what it holds, where it is closed soon."""
    closed = place.text.find(_CLOSES[place.sign], place.at, place.at + _LONGEST_EXAMPLE)
    return place.text[place.at : closed + 1] if closed >= 0 else place.sign


def _last_word(text: str) -> str:
    return re.split(r"[\s,:{}\[\]]", text)[-1]


def _in_quotes(text: str) -> str:
    return f"put it in quotes: {_shown(_quoted(text))}"


def _quoted(text: str) -> str:
    return "'" + text[:_LONGEST_EXAMPLE].replace("'", "''") + ("…" if len(text) > _LONGEST_EXAMPLE else "") + "'"


def _shown(text: str) -> str:
    """In backticks, also where the text has one itself; of bounded length."""
    text = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _spaces(count: int) -> str:
    return {0: "no space", 1: "1 space"}.get(count, f"{count} spaces")


_JUDGES: Final[tuple[tuple[str, Callable[[_Place], Slip]], ...]] = (
    ("mapping values are not allowed", _colon),
    ("could not find expected ':'", _unfinished_key),
    ("cannot start any token", _kept_sign),
    ("sequence entries are not allowed", _list_beside_key),
    ("escape character", _escape),
    ("<document start>", _outside),
    ("node content", _no_value),
    ("block mapping", _among_keys),
    ("block collection", _among_items),
    ("block sequence", _among_items),
    ("parsing a flow", _in_brackets),
    ("end of stream while scanning a quoted scalar", _open_quote),
    ("scanning an alias", _kept_sign),
    ("scanning an anchor", _kept_sign),
    ("scanning a block scalar", _text_block),
)
"""By a part of the parser's words, the first that fits."""
