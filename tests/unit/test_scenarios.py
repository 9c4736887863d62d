"""The page of scenarios is complete, true, and what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import scenarios


def test_every_scenario_has_a_test_and_the_page_says_so() -> None:
    assert list(scenarios.problems()) == []
    assert scenarios.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ((), "Editors: vim: no test"),
        (("unit/test_drain.py::test_nothing",), "Editors: vim: there is no test unit/test_drain.py::test_nothing"),
        (("unit/test_nowhere.py::test_x",), "Editors: vim: there is no test unit/test_nowhere.py::test_x"),
    ],
)
def test_a_scenario_without_a_test_fails_and_the_page_stays(
    tests: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(scenarios, "SCENARIOS", {"Editors": {"vim": tests}})
    monkeypatch.setattr(scenarios, "PAGE", tmp_path / "SCENARIOS.md")
    assert scenarios.main([]) == 1
    assert capsys.readouterr().err.splitlines() == [said]
    assert not scenarios.PAGE.exists()


def test_a_page_that_is_out_of_date_fails_until_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenarios, "TESTS", tmp_path / "tests")
    monkeypatch.setattr(scenarios, "PAGE", tmp_path / "tests" / "SCENARIOS.md")
    monkeypatch.setattr(scenarios, "SCENARIOS", {"Editors": {}})
    scenarios.TESTS.mkdir()
    assert scenarios.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err
    assert scenarios.main([]) == 0
    assert scenarios.main(["--check"]) == 0
