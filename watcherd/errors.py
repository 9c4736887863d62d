"""The one root of the errors that watcherd raises on purpose.

A message says what cannot be done, to what, and where; what caused it is chained with `from`.
Bugs are not wrapped: they stay whatever Python raised.
"""


class WatcherdError(Exception):
    """Root of all expected failures: shown as one line, without a traceback."""


class SettingsError(WatcherdError):
    """A setting is unknown, malformed, or contradicts another one."""


class ModelsDirectoryError(WatcherdError):
    """The models directory cannot be used and there is nothing in the catalog to serve instead."""


class PathOutsideError(WatcherdError):
    """A path given by a client leads outside the models directory."""


class InvalidExpressionError(WatcherdError):
    """A text that is not an expression, or one that does not fit its scope.

    `offset` is the place in the text, in characters from 0; `hint` says what to write instead.
    """

    def __init__(self, message: str, offset: int = 0, hint: str | None = None) -> None:
        super().__init__(message)
        self.offset = offset
        self.hint = hint


class EvaluationError(WatcherdError):
    """An expression that has no value for these inputs: a division by zero, an overflow, too much work."""


class StoreError(WatcherdError):
    """Root of what the database refuses or cannot do."""


class StoreUnavailableError(StoreError):
    """The database cannot be reached or is too busy; trying again later may help (503)."""


class HeldElsewhereError(StoreError):
    """Another process may still need what is to be taken away; trying again later helps."""


class TooManyRowsError(StoreError):
    """A read would bring more rows than its caller allows."""


class ConstraintError(StoreError):
    """A write that breaks a constraint of the model (409).

    `constraint` is its name or sentence as people know it; `attributes` are attribute names of
    the entity, in the model's spelling; `problem` is `unique`, `foreign-key` or `check`. `row` is
    the index, from 0, of the row to blame among those that are written together; None where it was
    one alone, or where it is not known.
    """

    def __init__(
        self,
        problem: str,
        message: str,
        *,
        constraint: str,
        attributes: tuple[str, ...] = (),
        row: int | None = None,
    ) -> None:
        super().__init__(message)
        self.problem = problem
        self.constraint = constraint
        self.attributes = attributes
        self.row = row


class ContendedError(StoreError):
    """Others changed the same rows at the same time, again and again; nothing was written (409)."""


class StillRunningError(StoreError):
    """A request with the same idempotency key is running, or was answered this moment (409)."""


def words_of(error: BaseException) -> str:
    """An error of somebody else's code in words: its type, and what it says of itself, if it can."""
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - whatever its `__str__` raises is no error of ours
        return name
    return f"{name}: {said}" if said else name
