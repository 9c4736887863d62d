"""Query strings -> what they ask for, or the `Problem` (400) that names what is wrong.

Owns which parameters exist and how a query string is taken apart. Does not own which operators an
attribute knows (operators), what a cursor holds (cursor) nor how rows are found (store). A name
counts once: repeating it is refused, since it is unclear what is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from watcherd import problems
from watcherd.compile import cursor, values
from watcherd.compile.operators import MAX_VALUES, Filterable, filterable, read_filter, value_count
from watcherd.compile.options import Options
from watcherd.compile.reading import nearest, short
from watcherd.compile.relations import Relation
from watcherd.compile.validators import Targets
from watcherd.compile.values import Reader
from watcherd.errors import InvalidExpressionError
from watcherd.pim.spec import Attribute, Entity, Kind
from watcherd.problems import Finding, Problem
from watcherd.store import WHERE, Filter, Select, UntranslatableError, filter_expression

RESERVED = frozenset({"sort", "limit", "skip", "count", "fields", "expand", "cursor", "filter"})
PAGING = ("sort", "skip", "limit", "cursor", "count")
VIEWING = ("fields", "expand")
FILTERING = ("filter",)
MAX_PARAMETERS = 100
MAX_SKIP = 2**31 - 1

_REMEMBERED = 128  # query strings of an entity,
_MAX_REMEMBERED = 256  # which are no longer than this, in bytes
_NAMED = 3  # wrong names of one list, each with a look for what is near


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One entity's query language, compiled.

    `attributes` are those that answers show; `everything` is what a request without parameters asks
    for. `related_limit` bounds the rows that one relation adds to an answer. `held` are what values of
    the attributes are, for expressions, and `clock` answers an aware UTC time.
    """

    owner: str
    key: str
    attributes: Mapping[str, Filterable]
    sortable: tuple[str, ...]
    relations: Mapping[str, Relation]
    default_limit: int
    max_limit: int
    everything: Asked
    held: Mapping[str, Attribute]
    clock: Callable[[], datetime]

    @property
    def related_limit(self) -> int:
        """How many related rows an answer holds at most, for each relation."""
        return 10 * self.max_limit

    def reader(self, name: str) -> Reader:
        """The reader of what is compared with an attribute."""
        return self.attributes[name].read_text


@dataclass(frozen=True, slots=True)
class View:
    """How rows are shown: `fields` None means all; `expand` are the relations shown beside."""

    fields: tuple[str, ...] | None = None
    expand: tuple[Relation, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a query string asks for. `at_row`: the page follows this row, which has to be looked up."""

    select: Select
    view: View = View()
    by_cursor: bool = False
    at_row: cursor.AtRow | None = None


def compile_query(entity: Entity, targets: Targets, relations: Mapping[str, Relation], options: Options) -> ListQuery:
    """Build what the query strings of an entity may say."""
    seen = [item for item in entity.attributes.values() if not item.write_only]
    return ListQuery(
        owner=entity.name,
        key=entity.key.name,
        attributes={item.name: filterable(item, targets) for item in seen},
        sortable=tuple(item.name for item in seen if is_scalar(item)),
        relations=relations,
        default_limit=options.default_limit,
        max_limit=options.max_limit,
        everything=Asked(Select(limit=options.default_limit)),
        held={item.name: _held(item, targets) for item in seen},
        clock=options.clock,
    )


def _held(attribute: Attribute, targets: Targets) -> Attribute:
    """What values of an attribute are: of a key of another entity, what its key is."""
    actual = values.resolve(attribute, targets)
    return replace(actual, is_list=True) if attribute.is_list and not actual.is_list else actual


def is_scalar(attribute: Attribute) -> bool:
    """Whether values can be compared and ordered."""
    return not attribute.is_list and attribute.kind is not Kind.JSON


def reader_of(query: ListQuery) -> Callable[[bytes], Asked]:
    """`read_query` that remembers what was asked lately: clients ask the same again and again."""
    remembered = lru_cache(_REMEMBERED)(partial(read_query, query))

    def read(raw: bytes) -> Asked:
        # An expression may ask what time it is.
        if len(raw) > _MAX_REMEMBERED or b"filter" in raw:
            return read_query(query, raw)
        return remembered(raw)

    return read


def read_query(query: ListQuery, raw: bytes, within: Filter | None = None) -> Asked:
    """What the query string of a list asks for, `within` some rows. Raises `Problem` 400 with every finding."""
    if not raw:
        asked = query.everything
        return asked if within is None else replace(asked, select=replace(asked.select, filters=(within,)))
    findings: list[Finding] = []
    seen = _once(parameters(raw), findings)
    filters = [within] if within is not None else []
    for name, text in seen.items():
        if name == "filter":
            filters += _expression(query, text, findings)
        elif name not in PAGING and name not in VIEWING:
            filters += _filter(query, name, text, findings)
    if value_count(filters) > MAX_VALUES:
        findings.append(Finding("in", "too_many", f"the filters have over {MAX_VALUES} values in all"))
    count = seen.get("count", "exact")
    if count not in {"exact", "none"}:
        findings.append(Finding("count", "value", f"count={count}: expected exact or none"))
    select = Select(
        filters=tuple(filters),
        sort=_sort(query, seen.get("sort"), findings),
        skip=_number(seen, "skip", 0, MAX_SKIP, findings),
        limit=_number(seen, "limit", query.default_limit, query.max_limit, findings),
        count=count == "exact",
    )
    view = _view(query, seen, findings)
    begin = _begin(query, seen, select, findings)
    if findings:
        raise refused(findings)
    if isinstance(begin, cursor.AtRow):
        return Asked(select, view, by_cursor=True, at_row=begin)
    return Asked(replace(select, after=begin), view, by_cursor=True) if begin else Asked(select, view)


def read_view(query: ListQuery, raw: bytes) -> View:
    """What the query string of a single row asks for: `fields` and `expand`. Raises `Problem` 400."""
    findings: list[Finding] = []
    seen = _once(parameters(raw), findings)
    for name in seen:
        if name not in VIEWING:
            message = f"there is no parameter {name} here{_near(name, VIEWING)}; there are {', '.join(VIEWING)}"
            findings.append(Finding(name, "unknown", message))
    view = _view(query, seen, findings)
    if findings:
        raise refused(findings)
    return view


def parameters(raw: bytes) -> list[tuple[str, str]]:
    """The decoded pairs of a query string. Raises `Problem` 400 where they cannot be read."""
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeError:
        raise Problem(problems.INVALID_QUERY, "the query string is not percent-encoded UTF-8") from None
    except ValueError:
        raise Problem(problems.INVALID_QUERY, f"the query string has over {MAX_PARAMETERS} parameters") from None


def refuse_parameters(raw: bytes) -> None:
    """Raise `Problem` 400 when an operation that takes no parameters is given one."""
    if raw and (found := parameters(raw)):
        raise refused([Finding(name, "unknown", f"there is no parameter {name} here") for name, _ in found])


def refused(findings: Sequence[Finding]) -> Problem:
    """400 that names every parameter that is wrong."""
    return Problem(problems.INVALID_QUERY, "; ".join(item.message for item in findings[:3]), errors=findings)


def _once(pairs: Sequence[tuple[str, str]], findings: list[Finding]) -> dict[str, str]:
    seen: dict[str, str] = {}
    for name, text in pairs:
        if name in seen:
            findings.append(Finding(name, "repeated", f"{name} is given more than once"))
        seen[name] = text
    return seen


def _filter(query: ListQuery, parameter: str, text: str, findings: list[Finding]) -> list[Filter]:
    """The condition that a parameter states, or a finding."""
    name, _, operator = parameter.rpartition("__")
    if not name:
        name, operator = parameter, "eq"
    item = query.attributes.get(name)
    if item is None or parameter in RESERVED:
        findings.append(Finding(parameter, "unknown", _unknown(query, parameter, name, operator)))
    elif operator not in item.operators:
        findings.append(_unfit(item, parameter, operator))
    else:
        try:
            return [read_filter(item, operator, text)]
        except ValueError as error:
            findings.append(Finding(parameter, "value", f"{parameter}={short(text)}: {error}"))
    return []


def _expression(query: ListQuery, text: str, findings: list[Finding]) -> list[Filter]:
    """The condition that an expression states, or a finding that says where it is wrong, or cannot be asked."""
    try:
        filter_expression(text, query.owner, query.held)
    except (InvalidExpressionError, UntranslatableError) as error:
        hint = f"; {error.hint}" if isinstance(error, InvalidExpressionError) and error.hint else ""
        message = f"filter: {error}, at character {error.offset + 1}{hint}"
        findings.append(Finding("filter", "expression", message))
        return []
    return [Filter("", WHERE, text, query.clock())]


def _unknown(query: ListQuery, parameter: str, name: str, operator: str) -> str:
    known = [item for item in query.attributes if item not in RESERVED]
    if parameter == name:
        hint = _near(name, [*known, *FILTERING, *PAGING, *VIEWING])
    else:
        hint = _near(name, query.attributes).replace("'?", f"__{operator}'?")
    there = ", ".join([*known, *FILTERING, *PAGING, *VIEWING])
    return f"there is no parameter {parameter}{hint}; there are {there}; attributes take operators, as {query.key}__in"


def _unfit(item: Filterable, parameter: str, operator: str) -> Finding:
    known = ", ".join(f"{item.name}__{one}" for one in item.operators)
    if operator == "eq":
        return Finding(parameter, "not_comparable", f"{item.why}; there are {known}")
    hint = _near(operator, item.operators)
    return Finding(parameter, "operator", f"{item.name} has no operator {operator!r}{hint}; there are {known}")


def _number(seen: Mapping[str, str], name: str, default: int, most: int, findings: list[Finding]) -> int:
    text = seen.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most:
        return int(text)
    findings.append(Finding(name, "value", f"{name}={short(text)}: expected an integer from 0 to {most}"))
    return default


def _sort(query: ListQuery, text: str | None, findings: list[Finding]) -> tuple[tuple[str, bool], ...]:
    if text is None:
        return ()
    names = _names("sort", [part.removeprefix("-") for part in text.split(",")], query.sortable, "attribute", findings)
    parts = text.split(",")
    return tuple((name, part.startswith("-")) for name, part in zip(names, parts, strict=False))


def _view(query: ListQuery, seen: Mapping[str, str], findings: list[Finding]) -> View:
    fields, expand = seen.get("fields"), seen.get("expand")
    names = None if fields is None else _names("fields", fields.split(","), query.attributes, "attribute", findings)
    if expand is None:
        return View(names)
    relations = _names("expand", expand.split(","), query.relations, "relation", findings)
    return View(names, tuple(query.relations[name] for name in relations))


def _names(
    parameter: str, parts: Sequence[str], known: Collection[str], what: str, findings: list[Finding]
) -> tuple[str, ...]:
    """The names that a parameter lists; empty, with findings, if one of them does not exist or comes twice."""
    before = len(findings)
    there = f"there are {', '.join(known)}" if known else "there are none"
    for name in [name for name in parts if name not in known][:_NAMED]:
        message = f"{parameter}: no {what} {short(name)!r}{_near(name, known)}; {there}"
        findings.append(Finding(parameter, "value", message))
    if len(findings) == before:
        twice = next((name for name in parts if parts.count(name) > 1), None)
        if twice is None:
            return tuple(parts)
        findings.append(Finding(parameter, "repeated", f"{parameter}: {twice} is named more than once"))
    return ()


def _begin(
    query: ListQuery, seen: Mapping[str, str], select: Select, findings: list[Finding]
) -> tuple[Any, ...] | cursor.AtRow | None:
    """Where a page begins by its cursor, if it has one."""
    token = seen.get("cursor")
    if token is None:
        return None
    if "skip" in seen:
        findings.append(Finding("cursor", "combination", "cursor and skip are two ways to begin a page: give one"))
    if findings:
        return None  # the token belongs to a query, which is not understood
    try:
        return cursor.read_token(token, select, query.owner, query.key, query.reader)
    except ValueError as error:
        findings.append(Finding("cursor", "value", f"cursor={short(token)}: {error}"))
        return None


def _near(name: str, names: Collection[str]) -> str:
    near = nearest(name, names)
    return near if near.startswith("; did") else ""


def page_links(path: str, raw: bytes, *, skip: int, limit: int, more: bool) -> bytes:
    """The `Link` header of a page (RFC 8288): its neighbours by `skip`; empty when it has none.

    `path` is percent-encoded, `raw` the query string of the request.
    """
    make = _page_links if len(raw) <= _MAX_REMEMBERED else _page_links.__wrapped__
    return make(path, raw, skip, limit, more)


@lru_cache(_REMEMBERED)
def _page_links(path: str, raw: bytes, skip: int, limit: int, more: bool) -> bytes:  # noqa: FBT001 - see above
    links = []
    if more and limit:
        links.append(_link(path, raw, "next", "skip", skip + limit))
    if skip and limit:
        links.append(_link(path, raw, "prev", "skip", max(skip - limit, 0)))
    return ", ".join(links).encode("ascii")


def cursor_link(path: str, raw: bytes, token: str) -> bytes:
    """The `Link` header of a page that was found by a cursor: there is no way back."""
    return _link(path, raw, "next", "cursor", token).encode("ascii")


def _link(path: str, raw: bytes, relation: str, name: str, value: str | int) -> str:
    kept = [(known, text) for known, text in parameters(raw) if known != name] if raw else []
    return f'<{path}?{urlencode([*kept, (name, value)])}>; rel="{relation}"'
