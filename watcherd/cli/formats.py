"""Findings for machines: JSON, annotations of GitHub Actions, and SARIF 2.1.0 for code scanning.

Owns three forms, each a whole text that ends with a line break. The JSON form is stable: members
may be added, none is taken away or changes its meaning.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import watcherd
from watcherd.cli.examine import coverages, summarise
from watcherd.pim.codes import CODES
from watcherd.pim.diagnostics import Diagnostic, Severity
from watcherd.pim.explain import explain

if TYPE_CHECKING:
    from watcherd.cli.examine import Checked

SARIF_VERSION = "2.1.0"
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def as_json(checked: Sequence[Checked]) -> str:
    """`{"diagnostics": [...], "summary": {...}, "coverage": {...}}`, findings in the order of files and places.

    The coverage of each model that could be served, by domain: what is enforced or can run, and what is prose.
    The `examples` of the summary are those that were run; null where nobody asked for that.
    """
    diagnostics = [diagnostic_json(finding) for finding in _findings(checked)]
    covered = {domain: one.as_json() for domain, one in coverages(checked).items()}
    return _text({"diagnostics": diagnostics, "summary": summarise(checked).as_json(), "coverage": covered})


def diagnostic_json(finding: Diagnostic) -> dict[str, Any]:
    """One finding; lines and columns count from 1, columns in characters, `end_column` is exclusive or null."""
    return {"file": finding.file} | finding.as_json()


def as_github(checked: Sequence[Checked]) -> str:
    """One workflow command a finding, which GitHub shows beside the line; nothing when there is none."""
    return "".join(f"{_command(finding)}\n" for finding in _findings(checked))


def _command(finding: Diagnostic) -> str:
    level = "error" if finding.is_error else "warning"
    place = {"file": finding.file, "line": finding.line, "col": finding.column}
    if finding.end_column is not None:
        place |= {"endLine": finding.line, "endColumn": finding.end_column - 1}  # inclusive there
    place |= {"title": f"{finding.code}: {CODES[finding.code].title}"}
    properties = ",".join(f"{name}={_escaped(str(value), ':,')}" for name, value in place.items())
    return f"::{level} {properties}::{_escaped(_sentence(finding))}"


def _escaped(text: str, further: str = "") -> str:
    """What would end a line or a property, as the runner unescapes it."""
    return "".join(f"%{ord(char):02X}" if char in f"%\r\n{further}" else char for char in text)


def as_sarif(checked: Sequence[Checked]) -> str:
    """One run with the findings as results, and a rule with its page for each code among them."""
    findings = list(_findings(checked))
    codes = sorted({finding.code for finding in findings})
    driver = {"name": "watcherd", "version": watcherd.__version__, "rules": [_rule(code) for code in codes]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding, codes.index(finding.code)) for finding in findings],
    }
    return _text({"$schema": SARIF_SCHEMA, "version": SARIF_VERSION, "runs": [run]})


def _rule(code: str) -> dict[str, Any]:
    about, page = CODES[code], explain(code)
    return {
        "id": code,
        "shortDescription": {"text": about.title},
        "help": {"text": page, "markdown": page},
        "defaultConfiguration": {"level": _level(about.severity)},
    }


def _result(finding: Diagnostic, rule: int) -> dict[str, Any]:
    result = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": _level(finding.severity),
        "message": {"text": _sentence(finding)},
        "locations": [_location(finding.file, finding.line, finding.column, finding.end_column)],
    }
    if finding.related:
        result["relatedLocations"] = [
            {
                "id": number,
                **_location(place.file, place.line, place.column, place.end_column),
                "message": {"text": place.message},
            }
            for number, place in enumerate(finding.related, start=1)
        ]
    return result


def _location(file: str, line: int, column: int, end_column: int | None = None) -> dict[str, Any]:
    region = {"startLine": line, "startColumn": column}
    if end_column is not None:
        region |= {"endLine": line, "endColumn": end_column}
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(file)}, "region": region}}


def _uri(file: str) -> str:
    """Relative to the working directory below it, as code scanning wants it; else absolute."""
    path = Path(os.path.abspath(file))  # noqa: PTH100 - resolve() would follow links, and name another file
    if path.is_relative_to(Path.cwd()):
        return quote(os.fsencode(path.relative_to(Path.cwd()).as_posix()))
    return f"file://{quote(os.fsencode(path))}"


def _level(severity: Severity) -> str:
    return "error" if severity is Severity.ERROR else "warning"


def _sentence(finding: Diagnostic) -> str:
    """The message and the hint in one text, where there is no place for the hint alone."""
    return finding.message if finding.hint is None else f"{finding.message}\nHint: {finding.hint}"


def _findings(checked: Sequence[Checked]) -> Iterator[Diagnostic]:
    for each in checked:
        yield from each.diagnostics


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
