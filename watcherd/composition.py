"""What every process that answers clients is made of, put together from the settings in one way.

Owns no state: the daemon and its workers call these and hold what comes back.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from starlette.requests import Request

from watcherd.admin.guard import refusal
from watcherd.compile import Options
from watcherd.connection import Patience
from watcherd.cors import Cors
from watcherd.drain import Deadlines
from watcherd.errors import SettingsError
from watcherd.feeds import Feeds
from watcherd.gateway import Gateway, Limits
from watcherd.keys import Keys
from watcherd.metrics import Metrics
from watcherd.problems import Problem
from watcherd.server import most_connections
from watcherd.services import Allowance
from watcherd.settings import Settings
from watcherd.store import Store, Tenure


async def open_store(settings: Settings, tenure: Tenure) -> Store:
    """The database, for the process that leads or for one of its workers. Raises StoreError."""
    return await Store.open(
        settings.database_url,
        settings.data_dir,
        durability=settings.durability,
        max_waiting=settings.max_waiting_writes,
        tenure=tenure,
        in_line=settings.workers > 1,
    )


def read_keys(settings: Settings) -> Keys | None:
    """The API keys, None where the models are open. Raises SettingsError."""
    if settings.api_keys_file is None and settings.api_keys is None:
        return None
    text = None if settings.api_keys is None else settings.api_keys.get_secret_value()
    return Keys(settings.api_keys_file, text)


def reload_keys(keys: Keys | None, log: structlog.stdlib.BoundLogger) -> bool:
    """Read the API keys again; whether there are new ones. Those that are refused change nothing, which is logged."""
    if keys is None:
        return False
    try:
        keys.load()
    except SettingsError as error:
        log.error(  # noqa: TRY400 - the message says what is wrong with which line; a traceback adds nothing
            "keys.rejected", error=str(error), hint="the keys that were read before stay in force"
        )
        return False
    return True


def make_gateway(
    settings: Settings, *, missing: Callable[[str], Problem], metrics: Metrics, keys: Keys | None, feeds: Feeds
) -> Gateway:
    """The edge of the request path; its host application is still to be set."""
    return Gateway(
        api_prefix=settings.api_prefix,
        max_body_bytes=settings.max_body_bytes,
        missing=missing,
        limits=Limits(settings.max_in_flight, settings.max_json_depth, settings.stall_timeout),
        metrics=metrics,
        keys=keys,
        cors=None if settings.cors_origins is None else Cors.of(settings.cors_origins),
        streams=feeds.readers,
    )


def make_options(settings: Settings, feeds: Feeds, gateway: Gateway) -> Options:
    """What compiling a model needs to know."""
    return Options(
        api_prefix=settings.api_prefix,
        max_body_bytes=settings.max_body_bytes,
        max_import_bytes=settings.max_import_bytes,
        max_rows=settings.max_rows,
        needs_key=settings.api_keys_file is not None or settings.api_keys is not None,
        feeds=feeds,
        default_limit=settings.default_page_size,
        max_limit=settings.max_page_size,
        allowance=Allowance(settings.handler_timeout),
        beside=gateway.beside,
        may_trace=lambda scope: refusal(Request(scope), settings.admin_token) is None,
    )


def deadlines(settings: Settings) -> Deadlines:
    """How long requests on retired revisions may take."""
    return Deadlines(settings.drain_idle_seconds, settings.drain_max_seconds, settings.max_draining)


def patience(settings: Settings) -> Patience:
    """What a connection may cost."""
    return Patience(
        settings.max_header_bytes, settings.header_timeout, settings.stall_timeout, connections=most_connections()
    )
