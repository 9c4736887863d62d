"""The watcher on real files: what it hears, what it ignores, and that it never dies in silence."""

import asyncio
import errno
import gc
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace as replace_fields
from itertools import pairwise
from pathlib import Path

import pytest
from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

from tests.helpers import descriptors
from watcherd import directory
from watcherd.events import Event, WatchDegraded, WatchRecovered, WatchRestarted, WatchStarted
from watcherd.watch import ChangeSet, Quiet, Waits, Watcher, WatchState, canary, notify

WAITS = Waits(
    root_check=0.02, root_return=0.02, poll=0.02, retry_inotify=0.1, canary=600, backoff_first=0.01, backoff_most=0.08
)
"""Short, but for what a busy machine may be late with and is judged by."""
QUIET = Quiet()
HANG_SECONDS = 60.0
NO_WATCHES = OSError("OS file watch limit reached. about [...]")
NO_INSTANCES = WatchfilesRustInternalError("Error creating recommended watcher: Too many open files (os error 24)")

Start = Callable[..., AbstractAsyncContextManager[Watcher]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    (path / "a.yaml").write_text("one\n")
    (path / "b.yaml").write_text("one\n")
    return path


@pytest.fixture
def published() -> list[Event]:
    return []


@pytest.fixture
def start(root: Path, published: list[Event]) -> Start:
    @asynccontextmanager
    async def watching(
        *,
        force_polling: bool | None = None,
        reconcile: float = 3600,
        remote: str | None = None,
        quiet: Quiet = QUIET,
        waits: Waits = WAITS,
    ) -> AsyncIterator[Watcher]:
        watcher = Watcher(
            root,
            reconcile_seconds=reconcile,
            publish=published.append,
            force_polling=force_polling,
            quiet=quiet,
            waits=waits,
            remote=lambda _: remote,
        )
        task = asyncio.create_task(watcher.run())
        try:
            yield watcher
        finally:
            assert not task.done(), "the watcher ended by itself"
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return watching


def replace(root: Path, path: str, text: str = "two\n") -> None:
    (root / "t.tmp").write_text(text)
    (root / "t.tmp").replace(root / path)


async def until(reached: Callable[[], object]) -> None:
    """Wait for a value that nobody announces."""
    while not reached():
        await asyncio.sleep(0.002)


def settled_as_they_are(root: Path, watcher: Watcher, *paths: str) -> bool:
    """Whether these wait to be handed out, all of them, as they were left."""
    changes = watcher._settling._changes
    found = {path: change.stamp for path, change in changes.items() if change.settled}
    return found == {path: directory.look(root, path) for path in paths} and watcher._settling.is_ready(_now())


async def next_with(watcher: Watcher, wanted: Callable[[ChangeSet], object]) -> ChangeSet:
    while not wanted(found := await watcher.next()):
        pass
    return found


def _now() -> float:
    return asyncio.get_running_loop().time()


FIRST = ChangeSet(frozenset(), full=True, reason="start")


async def test_the_first_change_set_is_the_whole_directory(root: Path, start: Start, published: list[Event]) -> None:
    async with start() as watcher:
        assert await watcher.next() == FIRST
        assert watcher.health.state is WatchState.WATCHING
        assert watcher.health.reasons == ()
        assert watcher.health.last_reconcile_at is not None
    assert published == [WatchStarted(root=str(root), mode="inotify")]


async def test_a_changed_file_is_named_and_nothing_else(root: Path, start: Start) -> None:
    async with start() as watcher:
        await watcher.next()
        replace(root, "a.yaml")
        assert await watcher.next() == ChangeSet(frozenset({"a.yaml"}), full=False, reason="event")
        assert watcher.health.last_event_at is not None


async def test_files_that_are_no_models_wake_nobody(root: Path, start: Start) -> None:
    async with start() as watcher:
        await watcher.next()
        for name in ("4913", "a.yaml~", "#a.yaml#", ".a.yaml.swp", "a.yaml.tmp", "a.yaml.bak", "notes.txt"):
            (root / name).write_text("x")
            (root / name).unlink()
        (root / ".git").mkdir()
        (root / ".git" / "a.yaml").write_text("x")
        await until(lambda: watcher.health.last_event_at)
        replace(root, "a.yaml")
        assert (await watcher.next()).paths == {"a.yaml"}


async def test_a_rename_over_is_handed_out_early_and_counts_once_it_has_settled(root: Path, start: Start) -> None:
    async with start() as watcher:
        assert await watcher.next(early=True) == FIRST
        replace(root, "a.yaml")
        while (found := await watcher.next(early=True)).early is None:
            replace(root, "a.yaml")  # a busy machine let it settle before anybody could look
        assert (found.paths, found.early) == ({"a.yaml"}, directory.look(root, "a.yaml"))
        assert await watcher.settled(found)
        replace(root, "b.yaml")
        assert (await watcher.next()).paths == {"b.yaml"}  # and not a.yaml again


async def test_an_early_set_that_was_overtaken_comes_with_what_overtook_it(root: Path, start: Start) -> None:
    async with start(quiet=replace_fields(QUIET, at_most=600)) as watcher:  # however late the second one is heard of
        await watcher.next()
        replace(root, "a.yaml")
        while (found := await watcher.next(early=True)).early is None:
            replace(root, "a.yaml")
        replace(root, "b.yaml")
        await until(lambda: not watcher._raw and len(watcher._settling._changes) == 2)
        assert not await watcher.settled(found)
        assert (await watcher.next(early=True)).paths == {"a.yaml", "b.yaml"}


async def test_what_changes_while_the_consumer_is_busy_is_merged(root: Path, start: Start) -> None:
    async with start() as watcher:
        await watcher.next()
        for number in range(50):
            replace(root, "a.yaml", f"{number}\n")
            replace(root, "b.yaml", f"{number}\n")
            await asyncio.sleep(0)  # the watcher works on, the consumer does not
        await until(lambda: settled_as_they_are(root, watcher, "a.yaml", "b.yaml"))
        assert (await watcher.next()).paths == {"a.yaml", "b.yaml"}
        watcher.request("signal")
        assert (await watcher.next()).reason == "signal", "there was nothing else left to hand out"


async def test_a_request_hands_out_unchanged_paths_or_the_whole_directory(root: Path, start: Start) -> None:
    async with start() as watcher:
        await watcher.next()
        watcher.request("request", ["a.yaml"])
        found = await watcher.next()
        assert found.paths == {"a.yaml"}
        assert (found.full, found.reason) == (False, "request")
        watcher.request("signal")
        assert await watcher.next() == ChangeSet(frozenset(), full=True, reason="signal")


async def test_the_whole_directory_comes_right_after_what_has_changed(root: Path, start: Start) -> None:
    async with start(waits=replace_fields(WAITS, root_check=3600)) as watcher:  # nothing else wakes it
        await watcher.next()
        watcher.request("request", ["a.yaml"])
        watcher.request("signal")
        await until(lambda: watcher._settling._full_since is not None and watcher._settling.has_settled(_now()))
        assert (await watcher.next()).paths == {"a.yaml"}
        assert await watcher.next() == ChangeSet(frozenset(), full=True, reason="signal")


async def test_the_whole_directory_comes_right_after_what_was_handed_out_early(root: Path, start: Start) -> None:
    async with start(waits=replace_fields(WAITS, root_check=3600)) as watcher:
        await watcher.next()
        replace(root, "a.yaml")
        while (found := await watcher.next(early=True)).early is None:
            replace(root, "a.yaml")
        watcher._settling.ask("signal", _now(), full=True)
        assert await watcher.settled(found)
        assert await watcher.next(early=True) == ChangeSet(frozenset(), full=True, reason="signal")


async def test_a_request_for_a_path_that_is_not_there_is_answered_as_gone(root: Path, start: Start) -> None:
    async with start() as watcher:
        await watcher.next()
        watcher.request("request", ["absent.yaml"])
        assert (await watcher.next()).gone == {"absent.yaml"}


async def test_a_request_for_an_unknown_reason_is_refused_where_it_is_made(start: Start) -> None:
    async with start() as watcher:
        with pytest.raises(ValueError, match="'whim'"):
            watcher.request("whim")
        assert await watcher.next() == FIRST


async def test_the_directory_is_handed_out_again_and_again(start: Start) -> None:
    async with start(reconcile=0.02) as watcher:
        await watcher.next()
        for _ in range(3):
            assert await watcher.next() == ChangeSet(frozenset(), full=True, reason="reconcile")


class HeldSurvey:
    """Looks at everything that see and end when they are let, each in its thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.seen = 0
        self.see, self.end = threading.Event(), threading.Event()
        real = directory.survey

        def survey(path: Path, *, code: bool) -> directory.Survey:
            self.begun += 1
            self.see.wait(HANG_SECONDS)
            found = real(path, code=code)
            self.seen += 1
            self.end.wait(HANG_SECONDS)
            return found

        monkeypatch.setattr(directory, "survey", survey)


async def test_events_are_heard_and_handed_out_while_a_look_at_everything_goes_on(
    root: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start() as watcher:
        await watcher.next()
        held = HeldSurvey(monkeypatch)
        watcher.request("signal")
        await until(lambda: held.begun)
        replace(root, "a.yaml")
        replace(root, "c.yaml")
        assert await all_of(watcher, "a.yaml", "c.yaml")
        held.see.set()
        await until(lambda: held.seen)
        replace(root, "a.yaml")
        (root / "c.yaml").unlink()
        (root / "b.yaml").unlink()
        assert await all_of(watcher, "a.yaml", "b.yaml", "c.yaml")
        held.end.set()
        # The look has seen them as they are no more: that is no reason to hand them out again.
        assert await watcher.next() == ChangeSet(frozenset(), full=True, reason="signal")
        watcher.request("request", ["a.yaml"])
        assert (await watcher.next()).paths == {"a.yaml"}
        assert held.begun == 1


async def all_of(watcher: Watcher, *paths: str) -> bool:
    """Take sets until all of these have been handed out, and nothing else."""
    found: set[str] = set()
    while not found.issuperset(paths):
        found |= (await watcher.next()).paths
    return found == set(paths)


async def test_what_is_asked_for_while_a_look_at_everything_goes_on_is_looked_at_once_more(
    root: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start() as watcher:
        await watcher.next()
        held = HeldSurvey(monkeypatch)
        watcher.request("reconcile")
        await until(lambda: held.begun)
        watcher.request("signal")
        watcher.request("restart")
        await until(lambda: not watcher._requests)
        held.see.set()
        held.end.set()
        assert (await watcher.next()).reason == "reconcile"
        assert (await watcher.next()).reason == "restart"
        assert held.begun == 2


async def test_a_look_at_everything_that_goes_on_holds_up_nobody_who_stops(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = asyncio.all_tasks()
    async with start() as watcher:
        await watcher.next()
        held = HeldSurvey(monkeypatch)
        watcher.request("signal")
        await until(lambda: held.begun)
    assert asyncio.all_tasks() == tasks
    held.see.set()
    held.end.set()


async def test_a_missing_directory_yields_nothing_until_it_is_there(
    root: Path, start: Start, published: list[Event]
) -> None:
    shutil.rmtree(root)
    async with start() as watcher:
        await until(lambda: published)
        assert watcher.health.state is WatchState.DEGRADED
        assert str(root) in watcher.health.reasons[0]
        watcher.request("signal")
        waiting = asyncio.create_task(watcher.next())
        beat = watcher.health.beat_at
        await until(lambda: watcher.health.beat_at > beat)
        assert not waiting.done()
        root.mkdir()
        assert await waiting == FIRST
    assert [type(event) for event in published] == [WatchDegraded, WatchStarted]


async def test_losing_the_directory_is_said_once_and_its_return_too(
    root: Path, start: Start, published: list[Event]
) -> None:
    async with start() as watcher:
        await watcher.next()
        root.rename(root.with_name("away"))
        await until(lambda: watcher.health.state is WatchState.DEGRADED)
        beat = watcher.health.beat_at
        await until(lambda: watcher.health.beat_at > beat)
        root.with_name("away").rename(root)
        assert await watcher.next() == ChangeSet(frozenset(), full=True, reason="restart")
        replace(root, "a.yaml")
        assert (await watcher.next()).paths == {"a.yaml"}
    assert [type(event) for event in published] == [WatchStarted, WatchDegraded, WatchRecovered]


async def test_a_lost_parent_is_noticed_without_an_event(root: Path, start: Start) -> None:
    async with start() as watcher:
        await watcher.next()
        parent = root.parent
        parent.rename(parent.with_name("elsewhere"))
        await until(lambda: watcher.health.state is WatchState.DEGRADED)
        parent.with_name("elsewhere").rename(parent)
        assert await watcher.next() == ChangeSet(frozenset(), full=True, reason="restart")


async def test_absence_in_a_lost_directory_is_no_deletion_even_before_the_loss_is_noticed(
    root: Path, start: Start
) -> None:
    async with start(waits=replace_fields(WAITS, root_check=600)) as watcher:
        await watcher.next()
        parent = root.parent
        parent.rename(parent.with_name("elsewhere"))
        watcher.request("request", ["a.yaml"])
        await until(lambda: watcher.health.state is WatchState.DEGRADED)
        parent.with_name("elsewhere").rename(parent)
        assert await watcher.next() == ChangeSet(frozenset(), full=True, reason="restart")


async def test_a_directory_made_again_is_watched_also_when_it_looks_like_the_old_one(
    root: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcherd.watch.watcher._identify", lambda _: (1, 1))  # file systems reuse inode numbers
    async with start() as watcher:
        await watcher.next()
        shutil.rmtree(root)
        root.mkdir()
        (root / "a.yaml").write_text("two\n")
        found: list[ChangeSet] = []
        while not (any(one.gone for one in found) and any(one.full for one in found)):
            found.append(await watcher.next())
        assert {path for one in found for path in one.gone} == {"b.yaml"}
        assert {one.reason for one in found if one.full} == {"restart"}
        replace(root, "a.yaml")
        await next_with(watcher, lambda found: "a.yaml" in found.paths)


async def test_a_name_that_is_not_utf8_restarts_the_watcher_which_goes_on(
    root: Path, start: Start, published: list[Event]
) -> None:
    async with start() as watcher:
        await watcher.next()
        Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.yaml")).write_text("x")
        found = [
            await watcher.next(),
            await watcher.next(),
        ]  # which comes first depends on how soon the file has settled
        assert {one.reason for one in found} == {"restart"}
        assert {one.full for one in found} == {True, False}
        assert watcher.health.restarts == 1
        assert watcher.health.state is WatchState.WATCHING
        replace(root, "a.yaml")
        assert (await watcher.next()).paths == {"a.yaml"}
    assert [type(event) for event in published] == [WatchStarted, WatchRestarted, WatchRecovered]


@pytest.mark.parametrize(
    ("failure", "named"),
    [
        (NO_WATCHES, "fs.inotify.max_user_watches"),
        (NO_INSTANCES, "fs.inotify.max_user_instances"),
        (ValueError("surrogates not allowed"), "surrogates"),
    ],
)
async def test_without_inotify_it_polls_and_names_the_limit_until_inotify_is_back(
    root: Path,
    start: Start,
    published: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    named: str,
) -> None:
    real = RustNotify

    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(notify, "RustNotify", fail)
    async with start() as watcher:
        await watcher.next()
        assert watcher.health.state is WatchState.POLLING
        assert named in watcher.health.reasons[0]
        replace(root, "a.yaml")
        (root / "b.yaml").unlink()
        found = await next_with(watcher, lambda found: found.gone)
        assert found.gone == {"b.yaml"}
        monkeypatch.setattr(notify, "RustNotify", real)
        await until(lambda: watcher.health.state is WatchState.WATCHING)
        assert watcher.health.reasons == ()
    assert [type(event) for event in published] == [WatchStarted, WatchDegraded, WatchRecovered]
    assert named in str(published[1])


async def test_a_network_file_system_is_polled_and_said_to_be_one(
    root: Path, start: Start, published: list[Event]
) -> None:
    async with start(remote="nfs4") as watcher:
        await watcher.next()
        assert watcher.health.state is WatchState.POLLING
        replace(root, "a.yaml")
        assert (await watcher.next()).paths == {"a.yaml"}
    assert "nfs4" in str(published[1])


class Deaf:
    """inotify on a mount that never tells of anything."""

    def __init__(self, *_: object) -> None:
        pass

    def watch(self, debounce: int, step: int, timeout: int, pace: notify._Pace) -> str:
        while not pace.is_set():
            pass
        return "stop"

    def close(self) -> None:
        pass


async def test_a_mount_that_tells_of_no_change_is_polled_and_said_to_be_one(
    root: Path, start: Start, published: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "RustNotify", Deaf)
    async with start(waits=replace_fields(WAITS, canary=0.05)) as watcher:
        await watcher.next()
        assert (await watcher.next()).reason == "restart"
        replace(root, "a.yaml")
        assert (await watcher.next()).paths == {"a.yaml"}
        assert watcher.health.state is WatchState.POLLING
        assert "no event came" in watcher.health.reasons[0]
        assert watcher.health.restarts == 0

        monkeypatch.undo()
        root.rename(root.with_name("away"))
        root.mkdir()
        await until(lambda: watcher.health.state is WatchState.WATCHING)
    assert sorted(path.name for path in root.with_name("away").iterdir()) == ["a.yaml", "b.yaml"]
    assert [type(event) for event in published[:3]] == [WatchStarted, WatchRecovered, WatchDegraded]


async def test_a_mount_whose_events_arrive_goes_on_being_watched(
    root: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = asyncio.Event()
    send = Watcher._send_canary

    async def noted(self: Watcher, *, polling: bool) -> None:
        await send(self, polling=polling)
        assert self._canary_due < float("inf")
        sent.set()

    monkeypatch.setattr(Watcher, "_send_canary", noted)
    async with start() as watcher:
        await sent.wait()
        await until(lambda: watcher._canary_due == float("inf"))
        assert watcher.health.state is WatchState.WATCHING
        assert watcher.health.last_event_at is None, "the event that we caused is nobody's change"
        assert sorted(path.name for path in root.iterdir()) == ["a.yaml", "b.yaml"]


async def test_a_directory_that_cannot_be_written_is_watched_all_the_same(
    root: Path, start: Start, published: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    flown = asyncio.Event()
    fly = canary.fly

    def noted(directory: Path, name: str) -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", refuse)
            done = fly(directory, name)
        loop.call_soon_threadsafe(flown.set)
        return done

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(canary, "fly", noted)
    async with start(waits=replace_fields(WAITS, canary=0)) as watcher:
        await watcher.next()
        await flown.wait()
        replace(root, "a.yaml")
        assert (await watcher.next()).paths == {"a.yaml"}
        assert watcher.health.state is WatchState.WATCHING
    assert [type(event) for event in published] == [WatchStarted]


async def test_polling_compares_contents_and_not_times(root: Path, start: Start) -> None:
    async with start(force_polling=True) as watcher:
        await watcher.next()
        assert watcher.health.reasons == (), "it was asked for"
        os.utime(root / "b.yaml")
        before = (root / "a.yaml").stat()
        (root / "a.yaml").write_text("ONE\n")
        os.utime(root / "a.yaml", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (await watcher.next()).paths == {"a.yaml"}


async def test_polling_notices_a_lost_directory_and_its_return(root: Path, start: Start) -> None:
    async with start(force_polling=True) as watcher:
        await watcher.next()
        root.rename(root.with_name("away"))
        await until(lambda: watcher.health.state is WatchState.DEGRADED)
        root.with_name("away").rename(root)
        assert await watcher.next() == ChangeSet(frozenset(), full=True, reason="restart")


async def test_where_polling_is_forbidden_it_tries_inotify_again_with_growing_delays(
    start: Start, published: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise NO_WATCHES

    def delays() -> list[float]:
        return [event.delay_seconds for event in published if isinstance(event, WatchRestarted)]

    monkeypatch.setattr(notify, "RustNotify", fail)
    async with start(force_polling=False) as watcher:
        await until(lambda: delays()[-2:] == [0.08, 0.08])
        assert watcher.health.state is WatchState.RESTARTING
    # Where a busy machine has made a run last for long, they begin anew.
    assert delays()[0] == 0.01
    assert all(later in {min(2 * before, 0.08), 0.01} for before, later in pairwise(delays()))


async def test_whatever_goes_wrong_is_published_and_the_watcher_starts_again(
    root: Path, start: Start, published: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = directory.survey
    failures = 3

    def fail_at_first(path: Path, *, code: bool) -> directory.Survey:
        nonlocal failures
        if failures:
            failures -= 1
            raise ZeroDivisionError("a bug")
        return real(path, code=code)

    async with start() as watcher:
        await watcher.next()
        monkeypatch.setattr(directory, "survey", fail_at_first)
        watcher.request("signal")
        assert (await watcher.next()).reason == "restart"
        assert watcher.health.restarts == 3
        replace(root, "a.yaml")
        await next_with(watcher, lambda found: "a.yaml" in found.paths or found.full)
    assert [str(event.reason) for event in published if isinstance(event, WatchRestarted)] == ["a bug"] * 3


async def test_while_it_backs_off_it_is_not_blind(root: Path, start: Start) -> None:
    # However long the run before has lasted: else it would begin to back off anew.
    async with start(waits=replace_fields(WAITS, backoff_most=3600)) as watcher:
        await watcher.next()
        watcher._backoff = 30.0
        Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.yaml")).write_text("x")
        await next_with(watcher, lambda found: found.full)
        assert watcher.health.state is WatchState.RESTARTING
        replace(root, "a.yaml")
        await next_with(watcher, lambda found: "a.yaml" in found.paths)


async def test_a_cancelled_watcher_leaves_no_thread_and_no_descriptor(root: Path, start: Start) -> None:
    gc.collect()
    before, others = descriptors(), set(threading.enumerate())
    for _ in range(20):
        async with start() as watcher:
            await watcher.next()
            assert descriptors() - before
    # The thread inside watchfiles closes what it has open after it was told to end, and nobody announces that.
    await until(lambda: not descriptors() - before)
    assert not [thread for thread in set(threading.enumerate()) - others if thread.name == "watcherd-notify"]
