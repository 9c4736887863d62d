"""Of many models a reload looks at few: at those that changed and at those that refer to them, and misses none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Walk, counting_rounds, model_text, serving
from watcherd import build
from watcherd.draft import Draft
from watcherd.ledger import World, changed
from watcherd.store.differ import differ

LIBRARY = model_text("library", "author", entity="Book")
LOANS = model_text("loans", "book: {type: reference, reference: library.Book}", entity="Loan")
FILES = {"library.yaml": LIBRARY, "loans.yaml": LOANS, "shop.yaml": model_text("shop", "color")}

EDITS = {
    "another attribute": ("library.yaml", model_text("library", "author", "year", entity="Book")),
    "its key": ("library.yaml", model_text("library", "id: {type: integer, primary_key: true}", entity="Book")),
    "what others refer to is gone": ("library.yaml", model_text("library", entity="Paper")),
    "broken": ("library.yaml", "domain: library\nentities: [{name: Book, attributes: {a: strnig}}]\n"),
    "another domain": ("library.yaml", model_text("archive", entity="Book")),
    "a domain that is taken": ("library.yaml", model_text("shop", entity="Book")),
    "no reference any more": ("loans.yaml", model_text("loans", "book", entity="Loan")),
    "a reference to another": (
        "loans.yaml",
        model_text("loans", "item: {type: reference, reference: shop.Item}", entity="Loan"),
    ),
    "the first as it was": ("library.yaml", LIBRARY),
    "the second as it was": ("loans.yaml", LOANS),
}


def told(world: World) -> object:
    live = {
        model: (one.revision.number, one.revision.linked, one.path, one.digest) for model, one in world.live.items()
    }
    refused = {path: refusal.diagnostics for path, refusal in world.refusals.items()}
    return live, refused, dict(world.owners), dict(world.specs), dict(world.referrers)


@pytest.mark.parametrize("first", EDITS)
async def test_what_few_files_change_is_what_a_look_at_all_would_find(tmp_path: Path, first: str) -> None:
    async with serving(tmp_path, FILES) as walk:
        for edit in (first, *EDITS, first):
            path, text = EDITS[edit]
            await walk.save(path, text)
            few = told(walk.reloader.world)
            report = await walk.reload_all()
            assert (edit, report.changed, told(walk.reloader.world)) == (edit, False, few)
        assert await _with_a_new_file(walk)


async def _with_a_new_file(walk: Walk) -> bool:
    """Files that come and go are for a look at all."""
    await walk.save("more.yaml", model_text("more"))
    await walk.remove("shop.yaml")
    few = told(walk.reloader.world)
    return not (await walk.reload_all()).changed and told(walk.reloader.world) == few


async def test_the_owners_of_all_files_are_not_settled_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("all files were looked at")

    async with serving(tmp_path, FILES) as walk:
        monkeypatch.setattr("watcherd.draft.settle_owners", refuse)
        assert (await walk.save("shop.yaml", model_text("shop", "size"))).swapped == ("shop",)
        monkeypatch.setattr("watcherd.draft.referrers_of", refuse)
        assert (await walk.save("library.yaml", EDITS["another attribute"][1])).swapped == ("library",)


def test_what_has_changed_is_found_in_whatever_order_it_comes() -> None:
    one, two, three = object(), object(), object()
    before = {"a": one, "b": two, "c": three}
    assert changed(before, dict(before)) == {}
    assert changed(before, before | {"b": one}) == {"b": one}
    assert changed(before, before | {"d": two}) == {"d": two}
    assert changed(before, {"c": three, "b": two, "a": two}) == {"a": two}
    assert changed(before, {"a": one, "b": three, "d": three}) == {"b": three, "d": three}
    assert changed(before, {"b": two}) == {}


async def test_looking_at_all_of_many_models_is_left_to_a_thread_and_an_edit_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, bool] = {}

    def noted(name: str) -> Callable[[Draft], Any]:
        step = getattr(Draft, name)

        def note(draft: Draft) -> Any:
            seen[name] = threading.current_thread() is threading.main_thread()
            return step(draft)

        return note

    for name in ("settle", "link", "world"):
        monkeypatch.setattr(Draft, name, noted(name))
    async with serving(tmp_path, FILES) as walk:
        assert set(seen.values()) == {True}, "three files are few"
        monkeypatch.setattr("watcherd.pace.MANY", 3)
        await walk.save("more.yaml", model_text("more"))
        assert seen == {"settle": False, "link": False, "world": False}
        await walk.save("more.yaml", model_text("more", "color"))
        assert seen == {"settle": True, "link": True, "world": True}
        await walk.unload("more")
        assert seen == {"settle": False, "link": False, "world": False}


async def test_the_list_of_all_models_is_made_with_pauses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watcherd.pace.AT_A_TIME_SECONDS", 0)  # however quick this machine is
    files = {f"m{number}.yaml": model_text(f"m{number}") for number in range(50)}
    async with serving(tmp_path, files) as walk, counting_rounds() as rounds:
        before = rounds()
        await walk.get("/admin/pim")
        assert rounds() - before >= 50


async def test_between_any_two_models_that_are_built_requests_have_their_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcherd.pace.AT_ONCE_SECONDS", 0)  # however quick this machine is
    files = {f"m{number}.yaml": model_text(f"m{number}") for number in range(20)}
    built = []
    async with serving(tmp_path, files) as walk, counting_rounds() as rounds:

        def noted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **more: Any) -> Any:
                built.append(rounds())
                return function(*arguments, **more)

            return call

        monkeypatch.setattr(build, "compile_model", noted(build.compile_model))
        monkeypatch.setattr("watcherd.store.store.differ", noted(differ))
        for path in files:
            walk.write(path, model_text(path.removesuffix(".yaml"), "color"))
        assert len((await walk.see(*files)).swapped) == 20
    assert len(built) >= 40
    assert len(set(built)) == len(built)
