"""Every code has a page, and the examples of a page are what they claim to be: the wrong one has just that finding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.explanations import CODES, PAGES, Example, Page, read_page
from tests.helpers import serving
from watcherd import pim
from watcherd.cli.examine import examine, read_sources

WITHOUT_EXAMPLE = {
    "PIM001": "a text of a mebibyte",
    "PIM424": "a matter of what is installed",
    "PIM600": "a fault of the database",
    "PIM611": "a fault of watcherd",
    "PIM706": "a matter of moments",
}
RESERVED = {"PIM202": frozenset({"metrics"})}
"""Codes that depend on how the daemon is set up: the first path segments that are taken there."""

HOW = (
    f"write {PAGES.name}/{{code}}.md beside watcherd/pim/explain.py, whose docstring tells how a page is made "
    "(PIM203.md is a plain example): a heading `# {code}: {title}`, some sentences on what it means and what to do, "
    "`## Wrong` with a model that has this finding and no other, `## Right` with one that has none"
)
ON_FILES = [code for code in CODES if "Before" not in read_page(code).sections and code not in WITHOUT_EXAMPLE]
ON_TABLES = [code for code in CODES if "Before" in read_page(code).sections]


@pytest.mark.parametrize("code", sorted({*pim.CODES, *CODES}))
def test_every_code_has_a_page_under_its_title_and_every_page_a_code(code: str) -> None:
    assert code in pim.CODES, f"there is no code {code} (any more): remove its page"
    title = pim.CODES[code].title
    assert code in CODES, f"{code} has no page: {HOW.format(code=code, title=title)}"
    page = read_page(code)
    assert page.heading == f"# {code}: {title}"
    assert len(page.words.split()) > 15, "say what it means, and what to do"
    if code in WITHOUT_EXAMPLE:
        assert not page.sections
        assert "This page has no example" in page.words
    else:
        assert list(page.sections)[-2:] == ["Wrong", "Right"], HOW.format(code=code, title=title)


def found_in(example: Example, directory: Path, code: str) -> set[str]:
    example.write(directory)
    reserved = RESERVED.get(code, frozenset())
    return {found.code for each in examine(list(read_sources([directory])), reserved) for found in each.diagnostics}


@pytest.mark.parametrize("code", ON_FILES)
def test_the_wrong_example_of_a_page_has_just_that_finding_and_the_right_one_has_none(
    code: str, tmp_path: Path
) -> None:
    page = read_page(code)
    assert found_in(page.sections["Wrong"], tmp_path / "wrong", code) == {code}
    assert found_in(page.sections["Right"], tmp_path / "right", code) == set()


async def found_after(page: Page, side: str, directory: Path) -> set[str]:
    """The codes that the daemon shows after the side's files were saved over those that serve."""
    before, after = page.sections["Before"], page.sections[side]
    directory.mkdir()
    async with serving(directory, before.files) as walk:
        (entry,) = (await walk.get("/admin/pim")).json["pims"]
        assert (entry["state"], entry["diagnostics"]) == ("live", [])
        for path, rows in before.rows:
            await walk.post(f"/api/{entry['name']}{path}", json.loads(rows))
        for name, text in after.files.items():
            await walk.save(name, text)
        (entry,) = (await walk.get("/admin/pim")).json["pims"]
        refused = any(one["severity"] == "error" for one in entry["diagnostics"])
        assert entry["state"] == ("stale" if refused else "live")
        assert entry["revision"] == (1 if refused else 2)
        return {one["code"] for one in entry["diagnostics"]}


@pytest.mark.parametrize("code", ON_TABLES)
async def test_the_wrong_change_of_a_page_has_just_that_finding_and_the_right_one_is_served(
    code: str, tmp_path: Path
) -> None:
    page = read_page(code)
    assert await found_after(page, "Wrong", tmp_path / "wrong") == {code}
    assert await found_after(page, "Right", tmp_path / "right") == set()
