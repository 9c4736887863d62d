"""A build as bytes: what a worker needs to compile a revision that the parent has planned.

Owns what is in it and who may be in it. The values are frozen dataclasses of `pim` and of the
store's layouts, which the standard library pickles; they are read back by an unpickler that finds
data classes and enumerations of this package, decimals, and nothing that does anything.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, cast

from watcherd.errors import WatcherdError
from watcherd.pim.linked import LinkedModel
from watcherd.store import SchemaPlan
from watcherd.store.layout import Layout, Surroundings
from watcherd.store.plan import Base, EntityNames

_PROTOCOL: Final = 5


class UnreadableBuildError(WatcherdError):
    """A build names something that no build consists of."""


@dataclass(frozen=True, slots=True)
class Build:
    """A revision to be: its number, what it means, and where its rows are."""

    number: int
    linked: LinkedModel
    layout: Layout
    names: Mapping[str, EntityNames]

    @classmethod
    def of(cls, plan: SchemaPlan, number: int) -> Build:
        """What is left of a plan once it is applied."""
        return cls(number, plan.linked, plan.after, plan.names)

    @property
    def plan(self) -> SchemaPlan:
        """The plan again, with nothing left to do."""
        return SchemaPlan(
            linked=self.linked,
            base=Base(layout=self.layout, around=Surroundings()),
            after=self.layout,
            names=self.names,
        )


def pack(build: Build) -> bytes:
    """A build as bytes for a worker."""
    buffer = io.BytesIO()
    _Writer(buffer, _PROTOCOL).dump(build)
    return buffer.getvalue()


def unpack(packed: bytes) -> Build:
    """A build from its parent. Raises UnreadableBuildError."""
    return cast("Build", _Reader(io.BytesIO(packed)).load())


def frozen(mapping: dict[Any, Any]) -> Mapping[Any, Any]:
    """A read-only mapping, which the standard library cannot pickle by itself."""
    return MappingProxyType(mapping)


class _Writer(pickle.Pickler):
    dispatch_table = copyreg.dispatch_table.copy()
    dispatch_table[MappingProxyType] = lambda mapping: (frozen, (dict(mapping),))

    def reducer_override(self, obj: Any) -> Any:
        """Give a member of an enumeration by its value: Python before 3.11.4 has it fetched by `getattr`."""
        return (type(obj), (obj.value,)) if isinstance(obj, Enum) else NotImplemented


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Data classes and enumerations of this package, and what stands in their fields."""
        if (module, name) in {("decimal", "Decimal"), (__name__, "frozen"), ("builtins", "frozenset")}:
            return {"Decimal": Decimal, "frozen": frozen, "frozenset": frozenset}[name]
        if module.startswith("watcherd."):
            found = super().find_class(module, name)
            if isinstance(found, type) and (is_dataclass(found) or issubclass(found, Enum)):
                return found
        raise UnreadableBuildError(f"a build cannot hold a {module}.{name}")
