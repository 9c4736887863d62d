"""Examples of methods and entities: what is given, what is sent, what is expected; free values as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watcherd.pim.flows import free_json
from watcherd.pim.nodes import ListNode, MapNode
from watcherd.pim.spec import Example, Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watcherd.pim.document import ExampleDoc
    from watcherd.pim.shapes import Draft, Path

_NOTHING = Json("{}")


def examples(draft: Draft, path: Path, documents: Sequence[ExampleDoc], verb: str) -> tuple[Example, ...]:
    """The examples at a path; `verb` is how what is sent is written there: `call` or `create`."""
    made = (_example(draft, (*path, index), document, verb) for index, document in enumerate(documents))
    return tuple(one for one in made if one is not None)


def _example(draft: Draft, path: Path, document: ExampleDoc, verb: str) -> Example | None:
    other = "create" if verb == "call" else "call"
    if getattr(document, other) is not None:
        what = "a method has examples with `call`" if verb == "call" else "an entity has examples with `create`"
        draft.add("PIM441", (*path, other), f"`{other}` means nothing here: {what}", key=True)
        return None
    sent = getattr(document, verb)
    if verb == "create" and sent is None:
        draft.add("PIM441", path, "the example has no `create`", "give the body of the row that is created")
        return None
    if document.given is not None and not _are_rows(document.given):
        message = "`given` maps entities to lists of rows"
        draft.add("PIM441", (*path, "given"), message, "such as `given: {Product: [{sku: a1, stock: 3}]}`", key=True)
        return None
    expect, at = document.expect, (*path, "expect", "body")
    return Example(
        name=document.name,
        given=_NOTHING if document.given is None else free_json(draft, (*path, "given"), document.given),
        body=_NOTHING if sent is None else free_json(draft, (*path, verb), sent),
        status=expect.status,
        code=expect.code,
        expected=None if expect.body is None else free_json(draft, at, expect.body),
    )


def _are_rows(given: MapNode) -> bool:
    return all(isinstance(rows, ListNode) and all(isinstance(row, MapNode) for row in rows) for rows in given.values())
