"""One evaluation: the values of its scope, and how much it may still do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from watcherd.errors import EvaluationError

MAX_WORK: Final = 200_000


class Values(dict[str, Any]):
    """The wire values of one evaluation, and how much it may still do."""

    __slots__ = ("work",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.work = MAX_WORK

    def charge(self, work: int) -> None:
        """Take what is about to be done off the budget. Raises `EvaluationError` when it is spent."""
        self.work -= work
        if self.work < 0:
            raise EvaluationError("the expression does too much work")


Run = Callable[[Values], Any]
"""What an expression becomes: it answers the value, None for null and unknown."""
