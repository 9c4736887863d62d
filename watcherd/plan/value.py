"""The plan of one model: frozen, comparable, and the same text in JSON wherever it is shown.

Owns the shape and the hash. What is in it is found out by `tables` and `api`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from watcherd.pim.linked import LinkedModel
from watcherd.store import Rejection


class Class(StrEnum):
    """What a change of the tables is like; see the design of schema evolution."""

    ADDITIVE = "additive"
    DEPENDS_ON_DATA = "depends on the data"
    RENAME = "rename"
    PARKED = "parked"
    REWRITE = "rewrite"
    LOOSENED = "loosened after the drain"


class Change(StrEnum):
    """What happens to a part of the API."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChange:
    """One thing that is done to the tables, or looked for in them; `entity` is empty for the model."""

    kind: Class
    entity: str
    text: str

    def as_json(self) -> dict[str, Any]:
        """The change as the admin API shows it."""
        return {"class": self.kind.value, "entity": self.entity or None, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiChange:
    """One difference that a client may notice; `subject` is an operation or an attribute."""

    change: Change
    subject: str
    breaking: bool
    reason: str

    def as_json(self) -> dict[str, Any]:
        """The change as the admin API shows it."""
        return {
            "change": self.change.value,
            "subject": self.subject,
            "breaking": self.breaking,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """What it takes to serve `linked` instead of what serves now, and what its clients will see.

    `in_the_way` are the store's rejections: with any, the change would not be applied.
    """

    linked: LinkedModel
    is_new: bool
    tables: tuple[TableChange, ...]
    api: tuple[ApiChange, ...]
    in_the_way: tuple[Rejection, ...]

    @property
    def breaking(self) -> bool:
        """Whether a client that works now may fail."""
        return any(change.breaking for change in self.api)

    @property
    def nothing(self) -> bool:
        """Whether the model means what is served already."""
        return not (self.tables or self.api or self.in_the_way)

    @property
    def hash(self) -> str:
        """SHA-256, in hex, of what would be done: the same change of the same model has the same one.

        The rows in the way are not part of it, so that it stays the same while they are mended.
        """
        content = [
            self.linked.spec.name,
            [change.as_json() for change in self.tables],
            [change.as_json() for change in self.api],
        ]
        text = json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def as_json(self) -> dict[str, Any]:
        """The plan as the admin API answers it and `watcherd plan --json` prints it."""
        return {
            "model": self.linked.spec.domain,
            "hash": self.hash,
            "new": self.is_new,
            "breaking": self.breaking,
            "applicable": not self.in_the_way,
            "tables": [change.as_json() for change in self.tables],
            "api": [change.as_json() for change in self.api],
            "in_the_way": [
                {
                    "code": item.code,
                    "entity": item.entity,
                    "attribute": item.attribute,
                    "rows": item.rows,
                    "first_ids": list(item.first_ids),
                    "message": item.message,
                    "hint": item.hint,
                }
                for item in self.in_the_way
            ],
        }
