"""How answers look: plain columns in a pipe, lines and colours on a terminal, nothing that writes to it."""

from __future__ import annotations

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from watcherd.cli import app, client
from watcherd.cli.output import complete_name, counted, print_findings, print_json, print_line, print_table, printable

HEAD = ("MODEL", "STATE", "FILE")


def test_a_table_in_a_pipe_is_aligned_columns_without_lines_colours_or_cuts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(HEAD, [("订单", "live", "x" * 300), ("shop", None, "")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "MODEL  STATE  FILE",
        "订单   live   " + "x" * 300,
        "shop   -      -",
    ]


def test_a_table_on_a_terminal_has_lines_and_styles_and_with_no_color_no_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    print_table(HEAD, [("shop", "rejected", "a.yaml")])
    shown = capsys.readouterr().out
    assert "─" in shown
    assert "\x1b[31mrejected" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(HEAD, [("shop", "rejected", "a.yaml")])
    assert "\x1b[31m" not in capsys.readouterr().out


def test_a_table_without_rows_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(HEAD, [])
    assert capsys.readouterr().out == ""


def test_nothing_that_a_daemon_tells_can_write_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("A",), [("\x1b[2J\nx",)])
    print_line("odd \x1b]0;title\x07")
    print_findings(
        "a\x1b.yaml",
        [
            {"code": "PIM101", "severity": "error", "line": 1, "column": 2, "message": "\r[red]", "hint": "\x9b"},
            {
                "code": "PIM010",
                "severity": "error",
                "line": 3,
                "column": 2,
                "message": "twice",
                "hint": None,
                "related": [{"file": "b\x1b.yaml", "line": 1, "column": 2, "message": "first \x07"}],
            },
        ],
    )
    shown = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert "�[red]" in shown
    assert "a�.yaml:3:2: PIM010 error: twice\nb�.yaml:1:2: note: first �\n" in shown
    assert printable("a\tb") == "a b"


def test_json_is_in_the_script_that_it_is_written_in(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"名": [1]})
    assert capsys.readouterr().out == '{\n  "名": [\n    1\n  ]\n}\n'


def test_numbers_are_counted_as_people_do() -> None:
    assert [counted(1, "file"), counted(0, "file"), counted(2, "entity", "entities")] == [
        "1 file",
        "0 files",
        "2 entities",
    ]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("watcherd dra", "drains"),
        ("watcherd check --explain PIM20", "PIM207"),
        ("watcherd check --format sa", "sarif"),
        ("watcherd show our", "our-shop"),
    ],
)
def test_shells_complete_commands_options_codes_and_models(
    words: str, offered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ask", lambda *_, **__: {"pims": [{"name": "our-shop"}, {"name": "other"}]})
    asked = {
        "_WATCHERD_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    result = CliRunner().invoke(app, [], prog_name="watcherd", env=asked)
    assert offered in result.output.split()
    assert "other" not in result.output


def test_nothing_is_completed_where_no_daemon_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise client.DaemonError("cannot reach a daemon")

    monkeypatch.setattr(client, "ask", nobody)
    assert complete_name("our") == []


COMMANDS = sorted(get_command(app).commands)  # type: ignore[attr-defined]  # the root is a group


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "key"])
def test_every_command_shows_an_example_and_how_it_ends(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    text = " ".join(result.output.split())
    assert f"Example: watcherd {command}" in text
    assert "[[" not in text, "brackets around what may be left out are not written by us"
    if command != "schema":
        assert "xits with 0" in text, "say with which codes it exits"


def test_the_commands_of_the_manual_are_all_there() -> None:
    assert {
        "backup",
        "check",
        "drains",
        "events",
        "load",
        "new",
        "plan",
        "prune",
        "reload",
        "revisions",
        "rollback",
        "schema",
        "serve",
        "show",
        "status",
        "unload",
    } <= set(COMMANDS)
