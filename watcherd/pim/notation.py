"""How a value of a model file may be written: the types of the fields of `document`.

Each takes a node of the positioned tree and makes of it what the field holds, or says what was
expected; beside that it says what the published JSON Schema shows. Scalars arrive as written,
because `version: 1.0` and a member `NO` are text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import Field, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from watcherd.pim.findings import quote
from watcherd.pim.nodes import ListNode, MapNode, Node, ScalarNode, is_true, number_of

if TYPE_CHECKING:
    from watcherd.pim.findings import Findings

_MOST_DIGITS = 40
_LARGEST_WHOLE = 2**31 - 1


def wrong(expected: str, hint: str | None = None) -> PydanticCustomError:
    """What is not of the shape that is expected here, for a validator to raise."""
    return PydanticCustomError("shape", "expected {expected}", {"expected": expected, "hint": hint})


def _text(value: object) -> str:
    if isinstance(value, ScalarNode) and value.kind != "null":
        return value.text
    raise wrong("a text")


def _flag(value: object) -> bool:
    if isinstance(value, ScalarNode):
        if value.kind == "boolean":
            return is_true(value)
        raise wrong("true or false", boolean_hint(value.text))
    raise wrong("true or false")


def boolean_hint(text: str) -> str | None:
    """What to write for a word that is a boolean elsewhere, and text in YAML 1.2."""
    if text.casefold() in {"yes", "on", "true"}:
        return "write `true`: in YAML 1.2 this is text"
    if text.casefold() in {"no", "off", "false"}:
        return "write `false`: in YAML 1.2 this is text"
    return None


def _whole(value: object) -> int:
    if isinstance(value, ScalarNode) and value.kind == "integer":
        number = number_of(value)
        if number is not None and 0 <= number <= _LARGEST_WHOLE:
            return int(number)
    raise wrong("a whole number, 0 or more")


def _number(value: object) -> ScalarNode:
    if isinstance(value, ScalarNode):
        number = number_of(value)
        if number is not None:
            exponent = number.as_tuple().exponent
            if number.adjusted() < _MOST_DIGITS and isinstance(exponent, int) and exponent >= -_MOST_DIGITS:
                return value
            raise wrong(f"a number of at most {_MOST_DIGITS} digits")
    raise wrong("a number")


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, ListNode) and all(isinstance(item, ScalarNode) for item in value):
        return tuple(item.text for item in value if isinstance(item, ScalarNode))
    raise wrong("a list of texts")


def _names(value: object) -> tuple[str, ...]:
    if isinstance(value, ScalarNode) and value.kind != "null":
        return tuple(name.strip() for name in value.text.split(","))
    return _texts(value)


def _next(value: object) -> tuple[tuple[str | None, str], ...]:
    if isinstance(value, ScalarNode):
        return ((None, value.text),)
    if isinstance(value, ListNode) and all(isinstance(item, ScalarNode) for item in value):
        return tuple((None, item.text) for item in value if isinstance(item, ScalarNode))
    if isinstance(value, MapNode) and all(isinstance(item, ScalarNode) for item in value.values()):
        return tuple(sorted((key, item.text) for key, item in value.items() if isinstance(item, ScalarNode)))
    raise wrong("the id of a step, a list of ids, or a mapping outcome -> id")


def _expressions(value: object) -> tuple[tuple[str, str], ...]:
    """Name -> expression, in the order of the file; one expression alone has the empty name."""
    if isinstance(value, ScalarNode) and value.kind != "null":
        return (("", value.text),)
    if isinstance(value, MapNode) and all(isinstance(item, ScalarNode) for item in value.values()):
        return tuple((key, item.text) for key, item in value.items() if isinstance(item, ScalarNode))
    raise wrong("an expression, or a mapping name -> expression")


def _free_map(value: object) -> MapNode:
    if isinstance(value, MapNode):
        return value
    raise wrong("a mapping")


def _sentence_or_map(value: object) -> Node:
    if isinstance(value, MapNode) or (isinstance(value, ScalarNode) and value.kind != "null"):
        return value
    raise wrong("a sentence or a mapping")


def _free(value: object) -> object:
    return value


def by_name(value: object, info: ValidationInfo) -> object:
    """A list of mappings with a `name` each, as the mapping name -> mapping that it means."""
    if not isinstance(value, ListNode):
        return value
    findings = cast("Findings", info.context)
    named = MapNode(value.start, value.end)
    for item in value:
        name = item.get("name") if isinstance(item, MapNode) else None
        if not isinstance(name, ScalarNode) or name.kind == "null":
            findings.add(
                "PIM102", item.span, "this item has no `name`", "each item of the list is a mapping with a `name`"
            )
        elif name.text in named:
            first = findings.source.related(named.keys_at[name.text], "first written here")
            findings.add("PIM204", name.span, f"{quote(name.text)} is here twice", related=(first,))
        else:
            named[name.text] = item
            named.keys_at[name.text] = name.span
    return named


Text = Annotated[str, PlainValidator(_text, json_schema_input_type=str | int | float | bool)]
Flag = Annotated[bool, PlainValidator(_flag, json_schema_input_type=bool)]
Whole = Annotated[int, PlainValidator(_whole, json_schema_input_type=Annotated[int, Field(ge=0)])]
Number = Annotated[ScalarNode, PlainValidator(_number, json_schema_input_type=int | float)]
Texts = Annotated[tuple[str, ...], PlainValidator(_texts, json_schema_input_type=list[str | int | float | bool | None])]
Names = Annotated[tuple[str, ...], PlainValidator(_names, json_schema_input_type=str | list[str])]
Next = Annotated[
    tuple[tuple[str | None, str], ...],
    PlainValidator(_next, json_schema_input_type=str | list[str] | dict[str, str]),
]
Expressions = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(
        _expressions,
        json_schema_input_type=str | int | float | bool | dict[str, str | int | float | bool | None],
    ),
]
FreeMap = Annotated[MapNode, PlainValidator(_free_map, json_schema_input_type=dict[str, Any])]
RuleText = Annotated[Any, PlainValidator(_sentence_or_map, json_schema_input_type=str | dict[str, Any])]
Free = Annotated[Any, PlainValidator(_free, json_schema_input_type=Any)]
