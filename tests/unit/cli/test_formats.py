"""Findings for machines: the JSON is stable, GitHub's commands are escaped, SARIF is what its schema asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from watcherd.cli.examine import Checked, Source, examine
from watcherd.cli.formats import as_github, as_json, as_sarif
from watcherd.pim import CODES, Diagnostic, Related, Severity
from watcherd.pim.explain import explain

WRONG = """\
domain: shop
entities:
  - name: Item
    attributes:
      名: {type: strnig}
      orderId: string
      order_id: string
      n: {type: int, max_length: 3}
"""


def checked(text: str = WRONG, file: str = "pim_models/shop.yaml") -> list[Checked]:
    return examine([Source(file, text.encode(), None, asked_for=True)])


def test_json_has_every_finding_in_full_and_a_summary() -> None:
    told = json.loads(as_json(checked()))
    assert list(told) == ["diagnostics", "summary", "coverage"]
    assert told["coverage"] == {}
    assert told["summary"] == {
        "files": 1,
        "errors": 2,
        "warnings": 1,
        "models": 0,
        "entities": 0,
        "methods_without_execution": 0,
        "examples": None,
    }
    typo, twice, useless = told["diagnostics"]
    assert typo == {
        "file": "pim_models/shop.yaml",
        "line": 5,
        "column": 17,
        "end_column": 23,
        "code": "PIM207",
        "severity": "error",
        "message": "`strnig` is not a type",
        "hint": "did you mean `string`?",
        "related": [],
    }
    assert twice["related"] == [
        {
            "file": "pim_models/shop.yaml",
            "line": 6,
            "column": 7,
            "end_column": 14,
            "message": "first declared here",
        }
    ]
    assert (useless["severity"], useless["hint"]) == ("warning", None)


def test_json_without_a_finding_is_still_one_document() -> None:
    told = json.loads(as_json(checked("domain: shop\nservices: [{name: S}]\n")))
    assert (told["diagnostics"], told["summary"]["models"]) == ([], 1)


def test_github_gets_one_command_a_finding_and_nothing_else() -> None:
    first, second, third = as_github(checked()).splitlines()
    assert first == (
        "::error file=pim_models/shop.yaml,line=5,col=17,endLine=5,endColumn=22,title=PIM207%3A Unknown type"
        "::`strnig` is not a type%0AHint: did you mean `string`?"
    )
    assert second.startswith("::error file=pim_models/shop.yaml,line=7,")
    assert third.startswith("::warning file=pim_models/shop.yaml,line=8,")
    assert as_github(checked("domain: shop\nservices: [{name: S}]\n")) == ""


def test_what_would_end_a_command_of_github_is_escaped() -> None:
    found = Diagnostic("PIM101", Severity.ERROR, "a,b:%.yaml", 1, 1, "two\r\nlines: 100%, ::error::no")
    (line,) = as_github([Checked(Source("x", b"", None, asked_for=True), None, (found,))]).splitlines()
    assert line == (
        "::error file=a%2Cb%3A%25.yaml,line=1,col=1,title=PIM101%3A Unknown key::two%0D%0Alines: 100%25, ::error::no"
    )


def facts(log: dict[str, Any]) -> None:
    """What the published schema of SARIF 2.1.0 demands of the parts that are used here, and what scanners rely on."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    assert log["$schema"].endswith("/sarif-schema-2.1.0.json")
    for run in log["runs"]:
        assert set(run) == {"tool", "columnKind", "results"}
        assert run["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
        driver = run["tool"]["driver"]
        assert driver["name"]
        assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
        for rule in driver["rules"]:
            assert set(rule) <= {"id", "shortDescription", "help", "defaultConfiguration"}
            assert rule["shortDescription"]["text"]
            assert rule["help"]["text"]
            assert rule["help"]["markdown"] == explain(rule["id"])
            assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
        for result in run["results"]:
            assert set(result) <= {"ruleId", "ruleIndex", "level", "message", "locations", "relatedLocations"}
            assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
            assert result["level"] in {"none", "note", "warning", "error"}
            assert result["message"]["text"]
            for place in [*result["locations"], *result.get("relatedLocations", ())]:
                assert set(place) <= {"id", "physicalLocation", "message"}
                assert place.get("id", 0) >= 0
                physical = place["physicalLocation"]
                assert set(physical) == {"artifactLocation", "region"}
                assert set(physical["artifactLocation"]) == {"uri"}
                assert set(physical["region"]) <= {"startLine", "startColumn", "endLine", "endColumn"}
                assert all(number >= 1 for number in physical["region"].values())


def test_sarif_is_as_its_schema_demands_and_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = json.loads(as_sarif(checked()))
    facts(log)
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["PIM204", "PIM207", "PIM210"]
    typo, twice, useless = run["results"]
    assert typo["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "pim_models/shop.yaml"},
                "region": {"startLine": 5, "startColumn": 17, "endLine": 5, "endColumn": 23},
            }
        }
    ]
    assert twice["relatedLocations"][0]["message"] == {"text": "first declared here"}
    assert (typo["level"], useless["level"]) == ("error", "warning")


def test_sarif_without_a_finding_is_an_empty_run() -> None:
    log = json.loads(as_sarif([]))
    facts(log)
    assert log["runs"][0]["results"] == []


def test_a_rule_of_sarif_is_made_for_every_code() -> None:
    found = [
        Diagnostic(code, about.severity, "/x", 1, 1, "m", related=(Related("b", 2, 2, "there"),))
        for code, about in CODES.items()
    ]
    log = json.loads(as_sarif([Checked(Source("x", b"", None, asked_for=True), None, tuple(found))]))
    facts(log)
    assert len(log["runs"][0]["tool"]["driver"]["rules"]) == len(CODES)


def test_places_of_sarif_are_relative_below_the_working_directory_and_percent_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for file, uri in (
        ("a b/名.yaml", "a%20b/%E5%90%8D.yaml"),
        (str(tmp_path / "here/x.yaml"), "x.yaml"),
        ("../y#.yaml", f"file://{tmp_path}/y%23.yaml"),
    ):
        found = Diagnostic("PIM101", Severity.ERROR, file, 1, 1, "m")
        log = json.loads(as_sarif([Checked(Source(file, b"", None, asked_for=True), None, (found,))]))
        place = log["runs"][0]["results"][0]["locations"][0]
        assert place["physicalLocation"]["artifactLocation"]["uri"] == uri
