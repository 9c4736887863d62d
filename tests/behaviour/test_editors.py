"""Every way that editors and tools save files, on real files: what a reader of change sets gets to see.

The reader does what a reload does: it reads what each change set names. What it must never see is
a model that disappears, or an empty file, because of how an editor saves.
"""

import asyncio
import itertools
import os
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from watcherd import directory
from watcherd.watch import ChangeSet, Quiet, Waits, Watcher

OLD = b"domain: shop\n# old\n"
NEW = b"domain: shop\n# new, and a little longer\n"
MAX_BYTES = 1024 * 1024


class Clock:
    """The watcher's; it stands still while a test lets no time pass."""

    def __init__(self) -> None:
        self.stands_at: float | None = None

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() if self.stands_at is None else self.stands_at


class Reader:
    """Takes change sets and reads what they name.

    `served` is what it would serve, `history` what it has read, of each file, one content after the other.
    """

    def __init__(self, root: Path, watcher: Watcher, clock: Clock) -> None:
        self.root = root
        self.watcher = watcher
        self.clock = clock
        self.served: dict[str, bytes] = {}
        self.history: dict[str, list[bytes]] = {}
        self.gone: list[str] = []
        self.sets: list[ChangeSet] = []
        self._heard: set[str] = set()
        self._marks = 0
        take_event = watcher._take_event

        def noted(path: str, *, deleted: bool) -> None:
            self._heard.add(path)
            take_event(path, deleted=deleted)

        watcher._take_event = noted  # type: ignore[method-assign]

    async def rest(self) -> None:
        """Take all that follows from what was done until now: events come in the order of what they tell of."""
        if self.watcher.health.state != "watching":
            return  # there are no events
        await self._hear()
        while not self.watcher._surveying.rests:
            await asyncio.sleep(0.002)
        while self.watcher._settling._changes:
            self.take(await self.watcher.next())

    async def _hear(self) -> None:
        """Wait until the watcher has heard of all that was done until now."""
        self._marks += 1
        mark = f".mark{self._marks}"
        (self.root / mark).touch()
        while mark not in self._heard:
            await asyncio.sleep(0.002)

    async def until(self, reached: Callable[[], bool]) -> None:
        while not reached():
            self.take(await self.watcher.next())

    async def after(self, edit: Callable[[], object], expected: dict[str, bytes], *, at_once: bool = False) -> None:
        """Let an editor save, in a thread of its own, and read on until `expected` is served.

        What it does `at_once` takes no time for the watcher, however long a busy machine takes over it. Nothing is
        looked at then that only a survey finds.
        """
        await self.rest()
        self.sets.clear()
        saving = asyncio.create_task(self._save(edit, at_once=at_once))
        coming = asyncio.create_task(self.watcher.next())
        while not (saving.done() and self.served == expected):
            await asyncio.wait({coming} if saving.done() else {coming, saving}, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                self.take(await coming)
                coming = asyncio.create_task(self.watcher.next())
        coming.cancel()
        with suppress(asyncio.CancelledError):
            self.take(await coming)
        await saving

    async def _save(self, edit: Callable[[], object], *, at_once: bool) -> None:
        self.clock.stands_at = self.clock() if at_once else None
        await asyncio.to_thread(edit)
        if at_once:
            await self._hear()
            self.clock.stands_at = None

    def take(self, found: ChangeSet) -> None:
        self.sets.append(found)
        if found.full:
            read = directory.scan(self.root, max_bytes=MAX_BYTES)
            files = {path: file for path, file in read.items() if path not in found.held}
        else:
            looked = {path: directory.read(self.root, path, max_bytes=MAX_BYTES) for path in found.paths}
            files = {path: file for path, file in looked.items() if file is not None}
        for path in found.gone - files.keys():
            self.gone.append(path)
            self.served.pop(path, None)
        for path, file in files.items():
            if file.content is not None:
                self.served[path] = file.content
                read = self.history.setdefault(path, [])
                if read[-1:] != [file.content]:  # one that was closed long after it was written is told of twice
                    read.append(file.content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    (path / "a.yaml").write_bytes(OLD)
    return path


@pytest.fixture
def quiet_times() -> Quiet:
    return Quiet()


@pytest.fixture
async def reader(root: Path, quiet_times: Quiet, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reader]:
    watcher = Watcher(
        root,
        reconcile_seconds=3600,
        publish=lambda _: None,
        quiet=quiet_times,
        waits=Waits(root_check=0.05, root_return=0.05, canary=600),
    )
    clock = Clock()
    monkeypatch.setattr("watcherd.watch.watcher._now", clock)
    task = asyncio.create_task(watcher.run())
    reader = Reader(root, watcher, clock)
    reader.take(await watcher.next())
    yield reader
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def rename_over(root: Path) -> None:
    (root / ".a.yaml.tmp").write_bytes(NEW)
    (root / ".a.yaml.tmp").replace(root / "a.yaml")


def rename_over_from_outside(root: Path) -> None:
    (root.parent / "a.tmp").write_bytes(NEW)
    (root.parent / "a.tmp").replace(root / "a.yaml")


def truncate_and_write(root: Path) -> None:
    with (root / "a.yaml").open("wb", buffering=0) as file:
        time.sleep(0.03)  # an editor between its open and its write
        file.write(NEW)


def vim(root: Path) -> None:
    """Backup by renaming, after trying whether a file can be made at all."""
    (root / ".a.yaml.swp").write_bytes(b"swap")
    (root / "4913").touch()
    (root / "4913").unlink()
    (root / "a.yaml").rename(root / "a.yaml~")
    time.sleep(0.02)
    (root / "a.yaml").write_bytes(NEW)
    (root / "a.yaml~").unlink()
    (root / ".a.yaml.swp").unlink()


def emacs(root: Path) -> None:
    """A lock that is a symlink to nowhere, an autosave, a backup by copy, a write in place."""
    (root / ".#a.yaml").symlink_to("me@host.4711:1700000000")
    (root / "#a.yaml#").write_bytes(NEW[:10])
    shutil.copy2(root / "a.yaml", root / "a.yaml~")
    (root / "a.yaml").write_bytes(NEW)
    (root / ".#a.yaml").unlink()
    (root / "#a.yaml#").unlink()


def delete_and_create(root: Path) -> None:
    (root / "a.yaml").unlink()
    time.sleep(0.03)
    (root / "a.yaml").write_bytes(NEW)


def copy(root: Path) -> None:
    (root.parent / "new.yaml").write_bytes(NEW)
    subprocess.run(["cp", root.parent / "new.yaml", root / "a.yaml"], check=True)


def rsync_with_an_old_mtime(root: Path) -> None:
    """As `rsync -a` does: a hidden temporary file that gets the source's times before it is renamed over."""
    temporary = root / ".a.yaml.Xy12Zq"
    temporary.write_bytes(NEW)
    os.utime(temporary, (1_000_000_000, 1_000_000_000))
    temporary.replace(root / "a.yaml")


def write_with_the_old_size_and_mtime(root: Path) -> None:
    before = (root / "a.yaml").stat()
    (root / "a.yaml").write_bytes(NEW)
    os.utime(root / "a.yaml", ns=(before.st_atime_ns, before.st_mtime_ns))


# However long a busy machine stops an editor between two of its steps; what is waited for else: see test_settling.
@pytest.mark.parametrize("quiet_times", [Quiet(absent=60, empty=60)], ids=["patient"])
@pytest.mark.parametrize(
    "edit",
    [
        *(rename_over, rename_over_from_outside, truncate_and_write, vim, emacs, delete_and_create, copy),
        *(rsync_with_an_old_mtime, write_with_the_old_size_and_mtime),
    ],
)
async def test_a_save_is_one_change_and_never_a_removal(
    root: Path, reader: Reader, edit: Callable[[Path], None]
) -> None:
    await reader.after(lambda: edit(root), {"a.yaml": NEW})
    assert not reader.gone
    assert reader.history == {"a.yaml": [OLD, NEW]}


async def test_a_rename_over_is_not_taken_for_a_write_in_place(root: Path, reader: Reader) -> None:
    await reader.after(lambda: rename_over(root), {"a.yaml": NEW}, at_once=True)
    assert [found.in_place for found in reader.sets] == [frozenset()]
    await reader.after(lambda: (root / "a.yaml").write_bytes(OLD), {"a.yaml": OLD}, at_once=True)
    assert [found.in_place for found in reader.sets] == [{"a.yaml"}]


async def test_a_git_checkout_of_ten_files_is_one_change_set(root: Path, reader: Reader) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=me", "-c", "user.email=me@localhost", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", "-C", root, *identity, *arguments], check=True, capture_output=True)

    names = [f"m{number}.yaml" for number in range(10)]

    def commit_both() -> None:
        git("init")
        for content in (OLD, NEW):
            for name in names:
                (root / name).write_bytes(content)
            git("add", ".")
            git("commit", "-m", "a state", "--no-gpg-sign")

    await reader.after(commit_both, {"a.yaml": OLD, **dict.fromkeys(names, NEW)})
    await reader.after(
        lambda: git("checkout", "HEAD~", "-q"), {"a.yaml": OLD, **dict.fromkeys(names, OLD)}, at_once=True
    )
    assert [found.paths for found in reader.sets] == [set(names)]
    assert not reader.gone


async def test_a_rename_of_a_model_is_one_change_set(root: Path, reader: Reader) -> None:
    await reader.after(lambda: (root / "a.yaml").rename(root / "b.yaml"), {"b.yaml": OLD}, at_once=True)
    assert [found.paths for found in reader.sets] == [{"a.yaml", "b.yaml"}]
    assert reader.gone == ["a.yaml"]


@pytest.mark.parametrize("quiet_times", [Quiet(empty=60)], ids=["patient"])  # with a writer that begins late
async def test_a_slow_write_of_two_seconds_is_always_marked_and_holds_up_nobody(root: Path, reader: Reader) -> None:
    whole = b""
    enough = threading.Event()

    def write_slowly() -> None:
        nonlocal whole
        with (root / "slow.yaml").open("wb", buffering=0) as file:
            for number in itertools.count():
                if number >= 100 and enough.is_set():
                    break
                line = b"# line %d\n" % number
                file.write(line)
                whole += line
                time.sleep(0.02)

    slow = asyncio.create_task(asyncio.to_thread(write_slowly))
    await reader.until(lambda: "slow.yaml" in reader.served)
    rename_over(root)
    await reader.until(lambda: reader.served["a.yaml"] == NEW)
    assert not slow.done()
    enough.set()
    await slow
    await reader.until(lambda: reader.served["slow.yaml"] == whole)
    assert all("slow.yaml" in found.in_place for found in reader.sets if "slow.yaml" in found.paths)
    assert all(content and whole.startswith(content) for content in reader.history["slow.yaml"])


async def test_a_thousand_saves_in_a_burst_are_few_changes_and_the_last_one_wins(root: Path, reader: Reader) -> None:
    saves: list[tuple[float, float]] = []

    def save_often() -> None:
        for number in range(1000):
            (root / "t.tmp").write_bytes(b"# %d\n" % number)
            began = time.monotonic()
            (root / "t.tmp").replace(root / "a.yaml")
            saves.append((began, time.monotonic()))

    await reader.after(save_often, {"a.yaml": b"# 999\n"})
    assert len(reader.sets) <= 1 + changes_within(saves, Quiet())
    assert not reader.gone


def changes_within(saves: Sequence[tuple[float, float]], quiet: Quiet) -> int:
    """How many changes saves by renaming may be told as before the last; of each, when it began and had ended.

    One whenever two looks so far apart that a file counts as saved fit between two of them, one more for each
    event that may come late in the pause, and one for each time that it was saved over and over for so long
    that it is not waited for any more. On a machine that lets nobody wait those are none but the last.
    """
    pauses = [ended - began for (began, _), (_, ended) in itertools.pairwise(saves)]
    told = sum(1 + int(pause / quiet.written) for pause in pauses if pause >= quiet.replaced)
    return told + int((saves[-1][1] - saves[0][0]) / quiet.at_most)


# As a busy machine may stop whoever swaps between two steps, or whoever looks between two files.
@pytest.mark.parametrize("quiet_times", [Quiet(written=1, at_most=120)], ids=["patient"])
async def test_a_swap_of_a_configmap_is_one_change_of_the_visible_names(root: Path, reader: Reader) -> None:
    def mount() -> None:
        (root / "a.yaml").unlink()
        for version, content in (("..one", OLD), ("..two", NEW)):
            (root / version).mkdir()
            for name in ("x.yaml", "y.yaml"):
                (root / version / name).write_bytes(content)
        (root / "..data").symlink_to("..one")
        for name in ("x.yaml", "y.yaml"):
            (root / name).symlink_to(f"..data/{name}")

    def swap() -> None:
        (root / "..data_tmp").symlink_to("..two")
        (root / "..data_tmp").replace(root / "..data")
        shutil.rmtree(root / "..one")

    await reader.after(mount, {"x.yaml": OLD, "y.yaml": OLD})
    reader.gone.clear()
    await reader.after(swap, {"x.yaml": NEW, "y.yaml": NEW})
    assert [found.paths for found in reader.sets] == [{"x.yaml", "y.yaml"}]
    assert not reader.gone


async def test_an_edit_of_a_symlinks_target_is_a_change_of_the_symlink(root: Path, reader: Reader) -> None:
    (root / ".store").mkdir()
    (root / ".store" / "b.yaml").write_bytes(OLD)
    await reader.after(lambda: (root / "b.yaml").symlink_to(".store/b.yaml"), {"a.yaml": OLD, "b.yaml": OLD})
    await reader.after(lambda: (root / ".store" / "b.yaml").write_bytes(NEW), {"a.yaml": OLD, "b.yaml": NEW})
    assert not reader.gone


async def test_files_beneath_new_deep_directories_are_found_and_edits_there_are_seen(
    root: Path, reader: Reader
) -> None:
    def create() -> None:
        (root / "x" / "y" / "z").mkdir(parents=True)
        for path in ("x/b.yaml", "x/y/z/c.yaml"):
            (root / path).write_bytes(OLD)

    await reader.after(create, {"a.yaml": OLD, "x/b.yaml": OLD, "x/y/z/c.yaml": OLD})
    await reader.after(
        lambda: (root / "x/y/z/c.yaml").write_bytes(NEW), {"a.yaml": OLD, "x/b.yaml": OLD, "x/y/z/c.yaml": NEW}
    )
    await reader.after(lambda: (root / "x").rename(root / "w"), {"a.yaml": OLD, "w/b.yaml": OLD, "w/y/z/c.yaml": NEW})
    assert sorted(reader.gone) == ["x/b.yaml", "x/y/z/c.yaml"]
    await reader.after(
        lambda: (root / "w/b.yaml").write_bytes(NEW), {"a.yaml": OLD, "w/b.yaml": NEW, "w/y/z/c.yaml": NEW}
    )
    await reader.after(lambda: shutil.rmtree(root / "w"), {"a.yaml": OLD})


@pytest.mark.parametrize("quiet_times", [Quiet(absent=60)], ids=["patient"])
async def test_a_directory_exchanged_for_another_is_no_removal(root: Path, reader: Reader) -> None:
    (root / "set").mkdir()
    (root / "set" / "b.yaml").write_bytes(OLD)
    await reader.until(lambda: "set/b.yaml" in reader.served)

    def exchange() -> None:
        shutil.copytree(root / "set", root / ".next")
        (root / ".next" / "b.yaml").write_bytes(NEW)
        (root / "set").rename(root / ".last")
        time.sleep(0.03)
        (root / ".next").rename(root / "set")

    await reader.after(exchange, {"a.yaml": OLD, "set/b.yaml": NEW})
    assert not reader.gone


async def test_a_root_deleted_and_made_again_keeps_its_models_until_it_is_back(root: Path, reader: Reader) -> None:
    shutil.rmtree(root)
    degraded = asyncio.create_task(state_becomes(reader.watcher, "degraded"))
    await degraded
    assert str(root) in reader.watcher.health.reasons[0]
    assert reader.served == {"a.yaml": OLD}

    def create() -> None:
        staging = root.with_name("staging")
        staging.mkdir()
        (staging / "a.yaml").write_bytes(NEW)
        staging.rename(root)

    await reader.after(create, {"a.yaml": NEW})
    assert not reader.gone
    assert {found.reason for found in reader.sets} == {"restart"}
    await reader.after(lambda: (root / "a.yaml").write_bytes(OLD), {"a.yaml": OLD})


async def test_a_root_renamed_and_replaced_is_watched_in_its_new_shape(root: Path, reader: Reader) -> None:
    def exchange() -> None:
        (root.parent / "next").mkdir()
        (root.parent / "next" / "a.yaml").write_bytes(NEW)
        root.rename(root.parent / "last")
        (root.parent / "next").rename(root)

    await reader.after(exchange, {"a.yaml": NEW})
    assert not reader.gone
    (root.parent / "last" / "a.yaml").write_bytes(b"# nobody watches this one any more\n")
    await reader.after(lambda: (root / "b.yaml").write_bytes(OLD), {"a.yaml": NEW, "b.yaml": OLD})


async def test_a_root_renamed_and_renamed_back_is_watched_again(root: Path, reader: Reader) -> None:
    root.rename(root.parent / "away")
    await state_becomes(reader.watcher, "degraded")
    (root.parent / "away").rename(root)
    await reader.after(lambda: rename_over(root), {"a.yaml": NEW})
    assert not reader.gone


async def state_becomes(watcher: Watcher, state: str) -> None:
    while watcher.health.state != state:
        await asyncio.sleep(0.005)  # health is a value, there is nothing to await
