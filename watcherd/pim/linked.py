"""A linked model: a spec together with all that it needs from outside its file.

Owns the values: what other entities' keys are, and the code of handlers. How a spec comes to be one is
`linking`, how code is gathered `code`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from watcherd.pim.spec import EMPTY, Attribute, EntityRef, HandlerRef, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What another entity's key needs to know of the entity that it refers to.

    `formerly` are the names that a rename in its file says it had: where its rows may still be.
    They do not matter to what is compiled.
    """

    ref: EntityRef
    domain: str
    plural: str
    key: Attribute
    formerly: tuple[EntityRef, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Code:
    """The Python files that a model's handlers need: path -> source, relative to the models directory.

    `folder` is where the model's file is, from where its handlers are named; empty for that directory.
    """

    folder: str = ""
    files: Mapping[str, bytes] = field(default_factory=lambda: EMPTY)

    def path(self, handler: HandlerRef) -> str:
        """Where the file of a handler is."""
        return f"{self.folder}/{handler.file}" if self.folder else handler.file

    def as_text(self) -> str | None:
        """The same as text, for the catalog; None where there is nothing."""
        if not self.files:
            return None
        files = {path: source.decode("utf-8", "surrogateescape") for path, source in sorted(self.files.items())}
        return json.dumps({"folder": self.folder, "files": files})

    @classmethod
    def of_text(cls, text: str | None) -> Code:
        """What `as_text` made."""
        if text is None:
            return NO_CODE
        kept = json.loads(text)
        files = {path: source.encode("utf-8", "surrogateescape") for path, source in kept["files"].items()}
        return cls(kept["folder"], MappingProxyType(files))


NO_CODE = Code()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedModel:
    """A spec with every reference resolved, those into other models too.

    `code` is what its handlers need; nothing where they are not allowed. Two linked models that are
    equal compile to the same revision.
    """

    spec: ModelSpec
    targets: Mapping[EntityRef, Target]
    code: Code = NO_CODE
