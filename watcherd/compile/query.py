"""Query strings of lists -> `Select`, or the `Problem` (400) that names what is wrong.

Owns which parameters exist, their types, and the links to the neighbouring pages. Does not own
how rows are found (store). In a list of parameters a name counts once: repeating it is refused,
since it is unclear what is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

from watcherd import problems
from watcherd.compile import values
from watcherd.compile.options import Options
from watcherd.compile.reading import nearest
from watcherd.compile.validators import Targets
from watcherd.compile.values import Reader
from watcherd.pim.spec import Attribute, Entity, Kind
from watcherd.problems import Finding, Problem
from watcherd.store import Filter, Select

RESERVED = frozenset({"sort", "limit", "skip", "count", "fields", "expand", "cursor", "filter"})
PAGING = ("sort", "skip", "limit", "count")
MAX_PARAMETERS = 100
MAX_SKIP = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One entity's query language, compiled.

    `filters` maps each parameter to its attribute and the reader of its value; `unfiltered` are
    the attributes that exist but cannot be compared, with the reason; `everything` is the select
    of a request without parameters.
    """

    owner: str
    filters: Mapping[str, tuple[str, Reader]]
    unfiltered: Mapping[str, str]
    sortable: tuple[str, ...]
    default_limit: int
    max_limit: int
    everything: Select


def compile_query(entity: Entity, targets: Targets, options: Options) -> ListQuery:
    """Build what the query strings of an entity's lists may say."""
    shown = [item for item in entity.attributes.values() if not item.write_only]
    scalar = [item for item in shown if is_scalar(item)]
    filters: dict[str, tuple[str, Reader]] = {}
    for item in scalar:
        entry = (item.name, query_reader(item, targets))
        filters[f"{item.name}__eq"] = entry
        if item.name not in RESERVED:
            filters[item.name] = entry
    unfiltered = {
        name: f"{item.name} is {'a list' if item.is_list else 'free-form JSON'}, it cannot be compared with a value"
        for item in shown
        if not is_scalar(item)
        for name in (item.name, f"{item.name}__eq")
        if name not in RESERVED
    }
    return ListQuery(
        owner=entity.name,
        filters=filters,
        unfiltered=unfiltered,
        sortable=tuple(item.name for item in scalar),
        default_limit=options.default_limit,
        max_limit=options.max_limit,
        everything=Select(filters=(), sort=(), skip=0, limit=options.default_limit, count=True),
    )


def is_scalar(attribute: Attribute) -> bool:
    """Whether values can be compared and ordered."""
    return not attribute.is_list and attribute.kind is not Kind.JSON


def query_reader(attribute: Attribute, targets: Targets) -> Reader:
    """The reader of a filter's value."""
    read = values.text_reader(attribute, targets)
    if values.resolve(attribute, targets).kind is Kind.DATETIME:
        # A `+` that nobody escaped arrives as a space: no date and time has one before its offset.
        return lambda text: read(text[:-6] + "+" + text[-5:] if text[-6:-5] == " " and ":" in text[-5:] else text)
    return read


def read_query(query: ListQuery, raw: bytes) -> Select:
    """The select that a query string asks for. Raises `Problem` 400 with every finding."""
    if not raw:
        return query.everything
    filters: list[Filter] = []
    findings: list[Finding] = []
    seen: dict[str, str] = {}
    for name, text in parameters(raw):
        if name in seen:
            findings.append(Finding(name, "repeated", f"{name} is given more than once"))
            continue
        seen[name] = text
        if name in PAGING:
            continue
        entry = query.filters.get(name)
        if entry is None:
            findings.append(_unknown(query, name))
            continue
        try:
            filters.append(Filter(entry[0], "eq", entry[1](values.plain_text(text))))
        except ValueError as error:
            findings.append(Finding(name, "value", f"{name}={text}: {error}"))
    skip = _number(seen, "skip", 0, MAX_SKIP, findings)
    limit = _number(seen, "limit", query.default_limit, query.max_limit, findings)
    count = seen.get("count", "exact")
    if count not in {"exact", "none"}:
        findings.append(Finding("count", "value", f"count={count}: expected exact or none"))
    sort = _sort(query, seen.get("sort"), findings)
    if findings:
        raise refused(findings)
    return Select(filters=tuple(filters), sort=sort, skip=skip, limit=limit, count=count == "exact")


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


def refused(findings: list[Finding]) -> Problem:
    """400 that names every parameter that is wrong."""
    return Problem(problems.INVALID_QUERY, "; ".join(item.message for item in findings[:3]), errors=findings)


def _unknown(query: ListQuery, name: str) -> Finding:
    if name in query.unfiltered:
        return Finding(name, "not_comparable", query.unfiltered[name])
    plain = [item for item in query.filters if not item.endswith("__eq") or item.removesuffix("__eq") in RESERVED]
    exists = ", ".join([*plain, *PAGING])
    near = nearest(name, [*query.filters, *PAGING])
    hint = near if near.startswith("; did") else ""
    return Finding(
        name, "unknown", f"there is no parameter {name}{hint}; there are {exists} (each attribute also as __eq)"
    )


def _number(seen: Mapping[str, str], name: str, default: int, most: int, findings: list[Finding]) -> int:
    text = seen.get(name)
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most:
        return int(text)
    findings.append(Finding(name, "value", f"{name}={text}: expected an integer from 0 to {most}"))
    return default


def _sort(query: ListQuery, text: str | None, findings: list[Finding]) -> tuple[tuple[str, bool], ...]:
    if text is None:
        return ()
    sort: dict[str, bool] = {}
    for part in text.split(","):
        descending = part.startswith("-")
        name = part[1:] if descending else part
        if name not in query.sortable:
            findings.append(
                Finding("sort", "value", f"sort={text}: no attribute {name!r}; there are {', '.join(query.sortable)}")
            )
        elif name in sort:
            findings.append(Finding("sort", "repeated", f"sort={text}: {name} is named more than once"))
        sort[name] = descending
    return tuple(sort.items())


def page_links(path: str, raw: bytes, *, skip: int, limit: int, more: bool) -> bytes:
    """The `Link` header of a page (RFC 8288): its neighbours by `skip`; empty when it has none.

    `path` is percent-encoded, `raw` the query string of the request.
    """
    links = []
    if more and limit:
        links.append(_link(path, raw, skip + limit, "next"))
    if skip:
        links.append(_link(path, raw, max(skip - limit, 0), "prev"))
    return ", ".join(links).encode("ascii")


def _link(path: str, raw: bytes, skip: int, relation: str) -> str:
    kept = [(name, value) for name, value in parameters(raw) if name != "skip"] if raw else []
    return f'<{path}?{urlencode([*kept, ("skip", skip)])}>; rel="{relation}"'
