"""What the database refused -> the 409 problem that says so, at the place in the body.

Owns the mapping alone: the store finds out what was broken and words it.
"""

from __future__ import annotations

from collections.abc import Mapping

from watcherd import problems
from watcherd.compile.reading import pointer
from watcherd.errors import ConstraintError
from watcherd.problems import Finding, Problem, ProblemType

_TYPES: Mapping[str, ProblemType] = {
    "unique": problems.UNIQUE,
    "foreign-key": problems.FOREIGN_KEY,
    "check": problems.CHECK,
}


def conflict(error: ConstraintError, *, has_body: bool = True, batch: bool = False) -> Problem:
    """409. In a batch the pointers lead to the row that the store names; to the batch if it names none."""
    findings: list[Finding] = []
    if has_body:
        if not batch:
            places = [pointer((name,)) for name in error.attributes]
        elif error.row is None:
            places = [pointer(())]
        else:
            places = [pointer((error.row, name)) for name in error.attributes]
        findings = [Finding(place, error.problem, str(error)) for place in places]
    return Problem(_TYPES[error.problem], str(error), errors=findings, extra={"constraint": error.constraint})
