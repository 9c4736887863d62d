"""Code of others in a thread that nobody has to wait for, and that does not keep the process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from watcherd.errors import WatcherdError

T = TypeVar("T")


class HandlerFailedError(WatcherdError):
    """A handler did what would end more than its request, such as raising SystemExit."""


def _nothing() -> None:
    pass


def in_thread(call: Callable[[], T], name: str, ended: Callable[[], None] = _nothing) -> asyncio.Future[T]:
    """What `call` will answer or raise, from a thread of its own; `ended` is called there once it is over.

    It may be given up at any time: then nobody hears of the result. RuntimeError where there is no
    thread to be had.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(call)
        except BaseException as raised:  # noqa: BLE001 - handed over, whatever it is
            error = _harmless(raised)
        finally:
            ended()
        try:
            loop.call_soon_threadsafe(_settle, done, result, error)
        except RuntimeError:
            return  # the loop is closed: nobody is left to be told

    threading.Thread(target=run, name=name, daemon=True).start()
    return done


def _settle(done: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)


def _harmless(error: BaseException) -> Exception:
    """An error that a future can hold, and that ends nothing but what waits for it."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    failure = HandlerFailedError(f"the handler raised {type(error).__name__}")
    failure.__cause__ = error
    return failure
