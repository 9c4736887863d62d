"""How findings look: the place, the line with carets, the hint, the related place, the summary."""

import io
from collections.abc import Sequence

from rich.console import Console

from watcherd.cli.examine import Checked, Source, examine
from watcherd.cli.report import WINDOW, show
from watcherd.pim.diagnostics import Diagnostic, Related, Severity


def finding(**changes: object) -> Diagnostic:
    values: dict[str, object] = {
        "code": "PIM101",
        "severity": Severity.ERROR,
        "file": "shop.yaml",
        "line": 1,
        "column": 1,
        "message": "unknown key",
    }
    return Diagnostic(**{**values, **changes})  # type: ignore[arg-type]  # changes are the test's own


def shown(content: bytes | None, *findings: Diagnostic, colours: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=colours, width=40, highlight=False)
    source = Source(findings[0].file, content, None, asked_for=True)
    show([Checked(source, None, findings)], console=console)
    return stream.getvalue()


def lines(content: bytes | None, *findings: Diagnostic) -> Sequence[str]:
    return shown(content, *findings).splitlines()


def test_a_finding_is_the_place_the_line_with_carets_and_the_hint() -> None:
    found = finding(line=2, column=3, end_column=7, hint="did you mean 'type'?", message="unknown key 'tpye'")
    assert lines(b"email:\n  tpye: string\n", found) == [
        "shop.yaml:2:3: PIM101 error: unknown key 'tpye'",
        "    2 |   tpye: string",
        "      |   ^^^^",
        "       = hint: did you mean 'type'?",
        "1 file, 1 error, 0 warnings; 0 models with 0 entities.",
    ]


def test_a_finding_without_an_end_is_marked_with_one_caret() -> None:
    assert lines(b"email: x\n", finding(column=8))[2] == "      |        ^"


def test_carets_stand_below_wide_characters() -> None:
    assert lines("姓名: 字符\n".encode(), finding(column=5, end_column=7))[1:3] == [
        "    1 | 姓名: 字符",
        "      |       ^^^^",
    ]


def test_carets_stand_right_behind_and_below_tabs() -> None:
    assert lines(b"a:\tb\n", finding(column=4))[1:3] == ["    1 | a:  b", "      |     ^"]
    assert lines(b"a:\tb\n", finding(column=3, end_column=4))[2] == "      |   ^^"
    assert lines("名:\tab\tc\n".encode(), finding(column=7))[1:3] == ["    1 | 名: ab  c", "      |         ^"]


def test_carets_stand_below_characters_that_are_composed_of_several() -> None:
    assert lines("e\u0301\u0301: x\n".encode(), finding(column=6))[2] == "      |    ^"
    assert lines("👍: x\n".encode(), finding(column=4))[2] == "      |     ^"


def test_a_finding_behind_the_end_of_a_line_or_of_the_file_is_shown_all_the_same() -> None:
    assert lines(b"ab\n", finding(column=9, end_column=12))[1:3] == ["    1 | ab", "      |   ^"]
    assert len(lines(b"ab\n", finding(line=7))) == 2


def test_an_unreadable_file_has_no_excerpt() -> None:
    assert lines(None, finding(code="PIM701", message="not a regular file")) == [
        "shop.yaml:1:1: PIM701 error: not a regular file",
        "1 file, 1 error, 0 warnings; 0 models with 0 entities.",
    ]


def test_of_a_long_line_only_the_part_around_the_finding_is_shown() -> None:
    content = b"x" * 100_000 + b"HERE" + b"y" * 100_000
    _place, excerpt, carets, _summary = lines(content, finding(column=100_001, end_column=100_005))
    assert len(excerpt) <= WINDOW + 8
    assert excerpt[carets.index("^") : carets.rindex("^") + 1] == "HERE"


def test_a_related_place_is_a_note() -> None:
    related = Related("other.yaml", 3, 5, "first declared here")
    assert "other.yaml:3:5: note: first declared here" in lines(b"a\n", finding(related=(related,)))


def test_a_related_place_of_a_file_at_hand_is_shown_with_its_line() -> None:
    related = Related("shop.yaml", 1, 3, "first declared here")
    assert lines(b"- a\n- a\n", finding(line=2, column=3, related=(related,)))[1:6] == [
        "    2 | - a",
        "      |   ^",
        "shop.yaml:1:3: note: first declared here",
        "    1 | - a",
        "      |   ^",
    ]


def test_a_file_cannot_write_to_the_terminal() -> None:
    text = shown(b"a: \x1b[31mred\x07\n", finding(file="\x1b]0;x.yaml", message="odd \x1b[2J", hint="\x9bm"))
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "�[31mred�" in text


def test_square_brackets_are_text() -> None:
    assert "unknown type [bold]list[/]" in shown(b"a\n", finding(message="unknown type [bold]list[/]"))


def test_a_terminal_gets_colours_and_a_pipe_gets_none() -> None:
    assert "\x1b[" in shown(b"a\n", finding(), colours=True)
    assert "\x1b[" not in shown(b"a\n", finding())


def test_a_warning_is_counted_as_a_warning() -> None:
    assert lines(b"a\n", finding(severity=Severity.WARNING))[-1].startswith("1 file, 0 errors, 1 warning;")


def test_what_of_a_model_is_prose_is_told_before_the_summary() -> None:
    text = (
        "domain: shop\nentities:\n- {name: T, attributes: {n: int}, constraints: [n is nice, n must be positive]}\n"
        "services: [{name: S, methods: [{name: m}]}]\n"
    )
    stream = io.StringIO()
    console = Console(file=stream, width=200, highlight=False)
    show(examine([Source("shop.yaml", text.encode(), None, asked_for=True)]), console=console)
    *_, coverage, summary = stream.getvalue().splitlines()
    assert coverage == "shop: 1 of 2 constraints enforced, 0 of 1 methods executable."
    assert summary.endswith("1 model with 1 entity, 1 service method without anything to execute (501).")
