"""What compiling a model needs to know of the daemon: paths, bounds, a clock, a maker of keys.

The two callables are part of the options so that a test can say what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import uuid_utils

from watcherd.feeds import Feeds
from watcherd.services import Allowance
from watcherd.wire import Scope

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000


def utc_now() -> datetime:
    """The time of day, aware, in UTC."""
    return datetime.now(UTC)


def make_uuid7() -> str:
    """A new key: UUIDv7 text, so that keys sort by the time they were made."""
    return str(uuid_utils.uuid7())


def nobody(_: Scope) -> bool:
    """Who may see the trace of a flow, unless somebody says otherwise."""
    return False


def alone(_: str) -> Mapping[str, Mapping[str, object]]:
    """What models see of each other, unless somebody says otherwise."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of every compiled model.

    `api_prefix` is `/api` or empty; `max_body_bytes` and `needs_key` are documented, the gateway
    enforces them; `max_import_bytes` bounds the body of an import, whose lines are bounded by
    `max_body_bytes`; `max_rows` bounds an array of a create; `default_limit` and `max_limit` count
    rows of a list; `feeds` hear of changed rows; `allowance` is what handlers may use;
    `may_trace` says of a request whether its client may see the trace of a flow; `clock` answers an aware UTC time;
    `beside` answers what a (folded) model and those that refer to it show of their entities now, by model.
    """

    api_prefix: str = "/api"
    max_body_bytes: int = 1024 * 1024
    max_import_bytes: int = 100 * 1024 * 1024
    max_rows: int = 10_000
    needs_key: bool = False
    feeds: Feeds = field(default_factory=Feeds)
    default_limit: int = DEFAULT_LIMIT
    max_limit: int = MAX_LIMIT
    may_trace: Callable[[Scope], bool] = nobody
    allowance: Allowance = field(default_factory=Allowance)
    clock: Callable[[], datetime] = utc_now
    make_id: Callable[[], str] = make_uuid7
    beside: Callable[[str], Mapping[str, Mapping[str, object]]] = alone
