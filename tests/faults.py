"""Faults at the named steps of a start, a reload, a drain and a stop; from outside, for tests alone.

A step is a function of the daemon that is called by a name that can be replaced. `inject` wraps
it: before it is called (or after it has returned, for steps whose name says so) the fault happens,
if it is armed. Production code knows nothing of it.

As a program it is `watcherd` with a wrapped step, or several: `FAULT_STEP` names them, with commas, and
whatever the file `FAULT_ARMED` says happens once when such a step is reached: `raise`, `cancel` (as if
something that is waited for had been cancelled), `block PATH` (the event loop, until there is no such
file), `delay SECONDS` (only this step), `hold PATH` (this step, until there is no such file), `fail` (as
a database does), or the name of a signal to send to ourselves.
Of several lines each is for one time that such a step is reached.
`census PATH` is no fault: it writes down how many tasks there are, which nobody can see from outside.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import inspect
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from watcherd.errors import StoreUnavailableError

ENTRY = (sys.executable, "-m", "tests.faults")
"""What to start instead of `python -m watcherd`."""


class InjectedError(Exception):
    """A fault that nobody could have thought of."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where a step is: `module:Owner.attribute`; the fault happens before it, or after it returned."""

    place: str
    after: bool = False


START = {
    "open": Step("watcherd.store:Store.open"),
    "opened": Step("watcherd.store:Store.open", after=True),
    "recall": Step("watcherd.reload:Reloader.recall"),
    "first scan": Step("watcherd.reload:Reloader.reload"),
}

RELOAD = {
    "read": Step("watcherd.intake:Intake.read"),
    "link": Step("watcherd.draft:Draft.link"),
    "plan": Step("watcherd.store:Store.plan"),
    "compile": Step("watcherd.build:compile_model"),
    "expand": Step("watcherd.store:Store.expand"),
    "in the transaction": Step("watcherd.store.apply:expand", after=True),
    "in the transaction of new models": Step("watcherd.store.founding:found", after=True),
    "expanded": Step("watcherd.store:Store.expand", after=True),
    "write decisions": Step("watcherd.applied:AppliedModels.write_decisions"),
    "swap": Step("watcherd.gateway:Gateway.swap"),
    "swapped": Step("watcherd.gateway:Gateway.swap", after=True),
    "retire": Step("watcherd.drain:Drains.retire"),
    "park": Step("watcherd.store:Store.park"),
}

DRAIN = {
    "drain": Step("watcherd.drain:Drains._wait"),
    "drained": Step("watcherd.drain:Drains._wait", after=True),
    "loosen": Step("watcherd.store:Store.loosen"),
    "in the loosening transaction": Step("watcherd.store.apply:loosen", after=True),
}

STOP = {
    "end what works": Step("watcherd.stop:_end"),
    "wait for requests": Step("watcherd.stop:_wait_for"),
    "cut what is left": Step("watcherd.stop:Stop._cut_what_is_left"),
    "close the store": Step("watcherd.store:Store.close"),
    "closed the store": Step("watcherd.store:Store.close", after=True),
}

THREADS = {"scan": Step("watcherd.directory:scan")}
"""What runs in a thread, where nothing can cancel it."""

LASTING = {
    "watcher": Step("watcherd.watch.watcher:Watcher._take_requests"),
    "reloads": Step("watcherd.watch:Watcher.next"),
    "reloads by SIGHUP": Step("watcherd.sdnotify:reloading"),
    "heartbeat": Step("watcherd.heartbeat:Heartbeat.look"),
}
"""What is done again and again by a task that nobody waits for: the task's name, and a step of it."""

WAVES = {"a wave serves": Step("watcherd.reload:Reloader._serve_so_far", after=True)}
"""What only a start of large models comes to: its first wave is in service, others are to come."""

STEPS = START | WAVES | RELOAD | DRAIN | STOP | THREADS | LASTING


_RAISED: dict[str, Callable[[], BaseException]] = {
    "raise": partial(InjectedError, "injected"),
    "fail": partial(StoreUnavailableError, "the disk is full"),
    "cancel": asyncio.CancelledError,
}

Hold = float | Path | None
"""For how many seconds to delay a step, or until which file is gone."""


def inject(step: str, fault: Callable[[], Hold]) -> None:
    """Wrap a step; `fault` raises, kills or blocks, or returns what to wait for: a file only where one can await."""
    owner, name = _owner(STEPS[step].place)
    static = inspect.getattr_static(owner, name)
    original = getattr(owner, name) if isinstance(static, classmethod) else static
    after = STEPS[step].after

    @functools.wraps(original)
    async def wrapped(*arguments: Any, **options: Any) -> Any:
        if not after:
            await _wait(fault())
        result = await original(*arguments, **options)
        if after:
            await _wait(fault())
        return result

    @functools.wraps(original)
    def wrapped_plain(*arguments: Any, **options: Any) -> Any:
        if not after:
            time.sleep(_seconds(fault()))
        result = original(*arguments, **options)
        if after:
            time.sleep(_seconds(fault()))
        return result

    chosen: Any = wrapped if inspect.iscoroutinefunction(original) else wrapped_plain
    setattr(owner, name, staticmethod(chosen) if isinstance(static, classmethod) else chosen)


async def _wait(until: Hold) -> None:
    if isinstance(until, Path):
        while until.exists():
            await asyncio.sleep(0.005)
    else:
        await asyncio.sleep(until or 0)


def _seconds(until: Hold) -> float:
    assert not isinstance(until, Path), "a step that blocks cannot wait for a file"
    return until or 0


def armed_by(file: Path) -> Callable[[], Hold]:
    """The fault that a file describes, once: it is removed as the fault happens, or left with the next one."""

    def fault() -> Hold:
        line = _taken_from(file)
        if line is None:
            return None
        action, *argument = line.split()
        if action in _RAISED:
            error = _RAISED[action]()
            raise error
        if action == "block":
            while Path(argument[0]).exists():
                time.sleep(0.005)
        elif action == "delay":
            return float(argument[0])
        elif action == "hold":
            return Path(argument[0])
        elif action == "census":
            gc.collect()
            Path(argument[0]).write_text(str(len(asyncio.all_tasks())))
        else:
            os.kill(os.getpid(), signal.Signals[action])
        return None

    return fault


def _taken_from(file: Path) -> str | None:
    """The first line of a file, which has it no more then; None where there is none, or it is about to be written."""
    try:
        line, _, rest = file.read_text().partition("\n")
    except FileNotFoundError:
        return None
    if rest:
        file.write_text(rest)
    elif line:
        file.unlink()
    return line or None


def _owner(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), name


def main() -> None:
    from watcherd import cli

    for step in os.environ["FAULT_STEP"].split(","):
        inject(step, armed_by(Path(os.environ["FAULT_ARMED"])))
    cli.main()


if __name__ == "__main__":
    main()
