"""Of many files that cannot serve, all are refused in a few rounds, and none that can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers import model_text, serving
from watcherd.draft import Draft

BROKEN = 30
ROUNDS = 3


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """How a reload has begun its rounds, and whether each came as far as linking."""
    settle, seen = Draft.settle, []

    def noted(draft: Draft) -> bool:
        seen.append(settle(draft))
        return seen[-1]

    monkeypatch.setattr(Draft, "settle", noted)
    return seen


def refers(domain: str, target: str, *more: str) -> str:
    return model_text(domain, f"other: {{type: reference, reference: {target}}}", *more)


def states(walk: Any) -> dict[str, str]:
    return {path: walk.reloader.world.state_of(path).value for path in walk.reloader.world.files}


@pytest.mark.parametrize(
    ("first", "others"),
    [("nowhere.Item", "nowhere.Item"), ("nowhere.Item", "m{}.Item"), ("m0.Item", "m{}.Nothing")],
    ids=["each by itself", "each the next", "each another entity"],
)
async def test_files_that_refer_to_what_is_not_there_are_refused_in_a_few_rounds(
    tmp_path: Path, rounds: list[bool], first: str, others: str
) -> None:
    files = {f"m{number:02}.yaml": refers(f"m{number}", others.format(number - 1)) for number in range(1, BROKEN)}
    files["m00.yaml"] = refers("m0", first)
    files["shop.yaml"] = model_text("shop")
    async with serving(tmp_path, files) as walk:
        served = {path for path, state in states(walk).items() if state == "live"}
        assert served == ({"shop.yaml", "m00.yaml"} if first == "m0.Item" else {"shop.yaml"})
        assert len(rounds) <= ROUNDS
        assert await walk.codes("m01.yaml") == ["PIM503" if first == "m0.Item" else "PIM502"]

        rounds.clear()
        await walk.save("nowhere.yaml", model_text("nowhere"))
        assert set(states(walk).values()) == ({"live", "rejected"} if first == "m0.Item" else {"live"})
        assert len(rounds) <= ROUNDS


async def test_files_that_declare_one_domain_are_refused_in_a_few_rounds(tmp_path: Path, rounds: list[bool]) -> None:
    files = {f"m{number:02}.yaml": model_text("shop") for number in range(BROKEN)}
    async with serving(tmp_path, files) as walk:
        assert [path for path, state in states(walk).items() if state == "live"] == ["m00.yaml"]
        assert await walk.codes("m29.yaml") == ["PIM501"]
        assert len(rounds) <= ROUNDS


async def test_what_the_last_good_content_of_a_refused_model_has_is_there_to_refer_to(tmp_path: Path) -> None:
    files = {"library.yaml": model_text("library", entity="Book"), "app.yaml": refers("app", "library.Book")}
    async with serving(tmp_path, files) as walk:
        walk.write("library.yaml", refers("library", "nowhere.Item").replace("Item\n", "Paper\n", 1))
        walk.write("app.yaml", refers("app", "library.Book", "color"))
        report = await walk.see("library.yaml", "app.yaml")
        assert states(walk) == {"app.yaml": "live", "library.yaml": "stale"}
        assert report.swapped == ("app",)
        assert await walk.codes("library.yaml") == ["PIM502"]


async def test_of_two_that_lack_something_of_each_other_one_is_refused_and_the_other_judged_by_what_is_left(
    tmp_path: Path,
) -> None:
    files = {"a.yaml": model_text("a", entity="One"), "b.yaml": model_text("b", entity="Two")}
    async with serving(tmp_path, files) as walk:
        walk.write("a.yaml", refers("a", "b.Two"))
        walk.write("b.yaml", refers("b", "a.One"))
        await walk.see("a.yaml", "b.yaml")
        # Each took away what the other refers to; what `a` was keeps what `b` needs.
        assert states(walk) == {"a.yaml": "stale", "b.yaml": "live"}
