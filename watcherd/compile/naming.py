"""Names in the OpenAPI document: operation ids, component keys, tags, titles. Unique over all models.

Operation ids are `{model}_{Entity}_{operation}` as declared, also outside ASCII. Component keys
allow ASCII only: other names are shown in punycode behind `xn--`, which no identifier contains.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from watcherd.pim.spec import ModelSpec, ToMany

Shape = Literal["", "Create", "Replace", "Patch", "Page", "View"]

_WORD_STARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_")

_BEGINS_WITH_A_VOWEL = re.compile(r"[ai]|e(?!u)|o(?!ne)|u(?!ni|s[aeu]|t[ei]|r[il]|uid)|hour|heir", re.IGNORECASE)
"""As most English names sound: an upload, but a user and a unit."""


def component(spec: ModelSpec, entity: str, shape: Shape = "") -> str:
    """The key of a schema: `shop_User`, `shop_UserCreate`.

    Where an entity is itself called `UserCreate`, the shape of `User` is `shop_User.Create`.
    """
    separator = "." if shape and entity + shape in spec.entities else ""
    return f"{spec.name}_{ascii_name(entity)}{separator}{shape}"


def schema_ref(spec: ModelSpec, entity: str, shape: Shape = "") -> dict[str, str]:
    """A reference to a component."""
    return {"$ref": f"#/components/schemas/{component(spec, entity, shape)}"}


def ascii_name(name: str) -> str:
    """A name in characters that component keys allow; different names stay different."""
    return name if name.isascii() else "xn--" + name.encode("punycode").decode("ascii")


def operation_id(spec: ModelSpec, owner: str, operation: str, taken: Collection[str]) -> str:
    """`{model}_{owner}_{operation}`, with an underscore more where a service is called like an entity."""
    name = f"{spec.name}_{owner}_{operation}"
    while name in taken:
        name += "_"
    return name


def tag(spec: ModelSpec, owner: str = "") -> str:
    """What operations are listed under: those of an entity or a service apart from those of the model as a whole."""
    return f"{spec.domain} {owner}" if owner else spec.domain


def children_segment(end: ToMany) -> str:
    """The last segment of the list below a row: `order_items` is found at `/orders/{id}/order-items`."""
    return end.name.replace("_", "-")


def one(name: str, article: str = "a") -> str:
    """A name with its article: `a User`, `an Author`."""
    return f"{article}{'n' if _BEGINS_WITH_A_VOWEL.match(name) else ''} {name}"


def title(name: str) -> str:
    """A name as people write it: `lastLogin` and `last_login` are `Last login`."""
    words = [word for word in _WORD_STARTS.split(name) if word]
    text = " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
    return text[:1].upper() + text[1:]
