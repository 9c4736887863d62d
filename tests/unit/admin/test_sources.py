"""A file with its findings: every character is there, marked where the finding says, whatever the file holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watcherd.admin.sources import AROUND, COLOURED_BYTES, LONGEST_LINE, WHOLE_LINES, Source, annotated, difference
from watcherd.pim import Severity, parse
from watcherd.pim.diagnostics import Diagnostic


def at(line: int, column: int = 1, *, end: int | None = None, severity: Severity = Severity.ERROR) -> Diagnostic:
    return Diagnostic("PIM101", severity, "m.yaml", line, column, "wrong", end_column=end)


def text_of(source: Source) -> list[str]:
    return ["".join(piece.text for piece in line.pieces) for line in source.lines]


def marked(source: Source) -> list[tuple[int, str, str]]:
    return [(line.number, piece.text, piece.mark) for line in source.lines for piece in line.pieces if piece.mark]


def test_each_finding_is_at_its_line_and_marks_what_it_is_about() -> None:
    content = b"domain: shop\nentities:\n  - name: Item\n    attributes: {color: strnig}\n"
    source = annotated(content, parse(content, "m.yaml").diagnostics)

    assert text_of(source) == content.decode().splitlines()
    assert marked(source) == [(4, "strnig", "error")]
    assert [
        (line.number, line.found, [item.code for item in line.findings]) for line in source.lines if line.found
    ] == [(4, "error", ["PIM207"])]


def test_a_finding_without_an_end_marks_a_word() -> None:
    assert marked(annotated(b"a: first second\n", [at(1, 4)])) == [(1, "first", "error")]


def test_several_findings_of_a_line_are_all_there_the_gravest_gives_the_colour() -> None:
    source = annotated(b"abc def\n", [at(1, 5, severity=Severity.WARNING), at(1, 1, end=4)])

    assert source.lines[0].found == "error"
    assert [item.column for item in source.lines[0].findings] == [1, 5]
    assert marked(source) == [(1, "abc", "error"), (1, "def", "warning")]


@pytest.mark.parametrize("finding", [at(99, 99), at(1, 1), at(0, 0), at(2, 500, end=900)])
def test_a_finding_beyond_the_end_is_shown_all_the_same(finding: Diagnostic) -> None:
    for content in (b"", b"a: b", b"a: b\nc: d\n"):
        assert [item for line in annotated(content, [finding]).lines for item in line.findings] == [finding]


def test_of_a_long_file_the_lines_around_the_findings_are_shown() -> None:
    content = b"".join(b"k%d: v\n" % number for number in range(WHOLE_LINES + 100))
    source = annotated(content, [at(50), at(200)])

    assert [line.number for line in source.lines] == [
        *range(50 - AROUND, 50 + AROUND + 1),
        *range(200 - AROUND, 200 + AROUND + 1),
    ]
    assert source.lines[0].skipped == 50 - AROUND - 1
    assert source.lines[2 * AROUND + 1].skipped == 200 - 50 - 2 * AROUND - 1
    assert source.skipped == WHOLE_LINES + 100 - 200 - AROUND


def test_of_a_long_file_without_findings_the_beginning_is_shown() -> None:
    source = annotated(b"a: b\n" * (WHOLE_LINES + 5), [])
    assert (len(source.lines), source.skipped) == (WHOLE_LINES, 5)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00bad",
        b"\xef\xbb\xbfdomain: x\r\nversion: 1\r",
        b"a: '\n" * 50,
        b"x" * (COLOURED_BYTES + 10),
        b"\x0c\x85\n",
    ],
)
def test_a_file_that_is_hardly_one_is_shown(content: bytes) -> None:
    source = annotated(content, parse(content[:10_000], "m.yaml").diagnostics)
    assert source.lines
    assert all(len(line) <= LONGEST_LINE + 1 for line in text_of(source))


@given(
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=200),
    st.integers(1, 9),
    st.integers(1, 30),
)
def test_no_character_is_lost(text: str, line: int, column: int) -> None:
    text = text.removeprefix("\ufeff")
    source = annotated(text.encode(), [at(line, column), at(line, column + 2, end=column + 5)])
    assert "\n".join(text_of(source)) == text.removesuffix("\n")


def test_a_difference_is_told_line_by_line() -> None:
    assert difference(b"a\nb\nc\n", b"a\nB\nc\n") == [
        ("hunk", "@@ -1,3 +1,3 @@"),
        ("", " a"),
        ("removed", "-b"),
        ("added", "+B"),
        ("", " c"),
    ]
    assert difference(b"a\n", b"a\n") == []
