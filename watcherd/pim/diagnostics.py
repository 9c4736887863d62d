"""A diagnostic: one finding about a model file, at an exact place, with a stable code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """How much a finding weighs: one error and the file is rejected."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; both numbers count from 1, columns in characters."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Related:
    """Another place that belongs to a finding, such as `first declared here`; `end_column` as in a diagnostic."""

    file: str
    line: int
    column: int
    message: str
    end_column: int | None = None

    def as_json(self) -> dict[str, Any]:
        """As the admin API and `watcherd check` answer it."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "end_column": self.end_column,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `end_column` is where the marked text ends on `line` (exclusive), if known."""

    code: str
    severity: Severity
    file: str
    line: int
    column: int
    message: str
    hint: str | None = None
    end_column: int | None = None
    related: tuple[Related, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether this finding alone rejects the file."""
        return self.severity is Severity.ERROR

    def as_json(self) -> dict[str, Any]:
        """As the admin API answers it; its file stands beside. `end_column` is exclusive or null."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "line": self.line,
            "column": self.column,
            "end_column": self.end_column,
            "message": self.message,
            "hint": self.hint,
            "related": [place.as_json() for place in self.related],
        }
