"""Path segments and method -> endpoint, by look-ups alone; store errors -> problems.

Owns 404 and 405 below a model, HEAD and OPTIONS. The cost does not depend on how many entities
the model has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from watcherd import problems
from watcherd.compile.conflicts import conflict
from watcherd.compile.reading import nearest
from watcherd.errors import ConstraintError, ContendedError, StoreUnavailableError
from watcherd.problems import Problem
from watcherd.wire import Answer, Call

Endpoint = Callable[[Call], Awaitable[Answer]]

Prompt = Callable[[Call], Answer | None]
"""An endpoint of GET that waits for nothing; None where it would have to."""


@dataclass(frozen=True, slots=True)
class Path:
    """What one path answers: `template` is below the model, `methods` hold HEAD beside GET."""

    template: str
    methods: Mapping[str, Endpoint]
    allow: str
    at_once: Prompt | None = None

    @classmethod
    def of(cls, template: str, methods: Mapping[str, Endpoint], at_once: Prompt | None = None) -> Path:
        """A path with its endpoints; HEAD and OPTIONS come by themselves."""
        with_head = dict(methods)
        if "GET" in methods:
            with_head["HEAD"] = methods["GET"]
        return cls(template, with_head, ", ".join(sorted([*with_head, "OPTIONS"])), at_once)


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """All paths of a model.

    `collections` and `items` are keyed by an entity's plural, `children` by that and the relation,
    `actions` by service and method, each as declared and in kebab-case; `system` by what follows
    `-`, `bulk` by plural and that.
    """

    domain: str
    index: Path
    collections: Mapping[str, Path]
    items: Mapping[str, Path]
    children: Mapping[tuple[str, str], Path]
    actions: Mapping[tuple[str, str], Path]
    system: Mapping[str, Path]
    bulk: Mapping[tuple[str, str], Path]

    async def handle(self, call: Call) -> Answer:
        """The answer to a call. Raises `Problem`, and whatever is a bug."""
        segments = call.segments
        if segments and not segments[-1]:
            segments = segments[:-1]
        path = self._find(segments)
        if path is None:
            raise self._not_found(segments)
        call.template = path.template
        endpoint = path.methods.get(call.method)
        if endpoint is None:
            return _without_endpoint(path, call.method)
        try:
            return await endpoint(call)
        except ConstraintError as error:
            raise conflict(error, has_body=call.method != "DELETE") from error
        except ContendedError as error:
            raise Problem(problems.CONTENDED, str(error), headers={"retry-after": "1"}) from error
        except StoreUnavailableError as error:
            raise Problem(problems.UNAVAILABLE, str(error), headers={"retry-after": "1"}) from error

    def handle_at_once(self, call: Call) -> Answer | None:
        """The answer to a GET without waiting; None where `handle` has to answer. Raises what that raises."""
        path = self._find(call.segments)
        if path is None or path.at_once is None:
            return None
        call.template = path.template
        return path.at_once(call)

    def _find(self, segments: Sequence[str]) -> Path | None:  # noqa: PLR0911 - one return a form of path
        match segments:
            case [plural]:
                return self.collections.get(plural)
            case ["-", name]:
                return self.system.get(name)
            case [first, second]:
                return self.items.get(first) or self.actions.get((first, second))
            case [plural, "-", name]:
                return self.bulk.get((plural, name))
            case [plural, _, children]:
                return self.children.get((plural, children))
            case []:
                return self.index
            case _:
                return None

    def _not_found(self, segments: Sequence[str]) -> Problem:
        first = segments[0]
        methods = sorted({method for service, method in self.actions if service == first})
        below = sorted({path.template.rpartition("/")[2] for (own, _), path in self.children.items() if own == first})
        if below and len(segments) > 2:  # noqa: PLR2004 - the entity, the row, and what is below it
            hint = nearest(segments[2], below)
            return Problem(problems.NO_SUCH_PATH, f"{self.domain} has nothing at /{'/'.join(segments)}{hint}")
        if first in self.collections or first == "-":
            return Problem(problems.NO_SUCH_PATH, f"{self.domain} has nothing at /{'/'.join(segments)}")
        if methods and len(segments) > 1:
            hint = nearest(segments[1], methods)
            return Problem(problems.NO_SUCH_ENTITY, f"{first} has no method {'/'.join(segments[1:])!r}{hint}")
        if methods:
            return Problem(problems.NO_SUCH_PATH, f"{first} is a service; its methods are {', '.join(methods)}")
        names = [*self.collections, *{service for service, _ in self.actions}]
        return Problem(
            problems.NO_SUCH_ENTITY, f"{self.domain} has no entity or service {first!r}{nearest(first, names)}"
        )


def _without_endpoint(path: Path, method: str) -> Answer:
    if method == "OPTIONS":
        return Answer(204, headers=[(b"allow", path.allow.encode("ascii"))])
    raise Problem(
        problems.METHOD_NOT_ALLOWED,
        f"{method} is not allowed here; there are {path.allow}",
        headers={"allow": path.allow},
    )
