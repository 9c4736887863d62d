"""`check --explain`: the page of a code, plain in a pipe and laid out on a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.explanations import PAGES
from watcherd.cli import app
from watcherd.cli.explain import UnknownCodeError, complete_code
from watcherd.pim import CODES
from watcherd.pim.explain import explain

ROOT = str(Path(__file__).parents[3])


@pytest.mark.parametrize("written", ["PIM203", "pim203", " PIM203 "])
def test_a_page_is_printed_as_it_is_written_where_there_is_no_terminal(written: str) -> None:
    result = CliRunner().invoke(app, ["check", "--explain", written])
    assert result.exit_code == 0
    assert result.stdout == (PAGES / "PIM203.md").read_text("utf-8") == explain("PIM203")


@pytest.mark.parametrize(("code", "hint"), [("PIM2003", "did you mean `PIM203`"), ("nonsense", "PIM001 to PIM")])
def test_a_code_that_does_not_exist_is_refused_with_a_hint(code: str, hint: str) -> None:
    result = CliRunner().invoke(app, ["check", "--explain", code])
    assert isinstance(result.exception, UnknownCodeError)
    assert hint in str(result.exception)
    with pytest.raises(KeyError):
        explain(code)


def test_codes_are_completed_with_their_titles() -> None:
    assert complete_code("pim20") == [(code, CODES[code].title) for code in CODES if code.startswith("PIM20")]
    assert complete_code("x") == []


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What `watcherd` writes to a terminal of 80 columns."""
    leader, follower = pty.openpty()
    try:
        process = subprocess.run(
            [sys.executable, "-m", "watcherd", *arguments],
            stdout=follower,
            env={**os.environ, "PYTHONPATH": ROOT, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
            timeout=120,
            check=False,
        )
        os.close(follower)
        follower = -1
        chunks: list[bytes] = []
        while chunk := _read(leader):
            chunks.append(chunk)
        assert process.returncode in {0, 1}
        return b"".join(chunks).decode()
    finally:
        os.close(leader)
        if follower >= 0:
            os.close(follower)


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 65536)
    except OSError:  # the other end is closed and nothing is left
        return b""


def test_a_terminal_gets_the_page_laid_out_and_with_no_color_without_colours(tmp_path: Path) -> None:
    page = on_a_terminal("check", "--explain", "PIM203")
    assert "\x1b[" in page
    assert "## Wrong" not in page
    assert "Wrong" in page
    plain = on_a_terminal("check", "--explain", "PIM203", NO_COLOR="1")
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", plain)


def test_findings_have_colours_on_a_terminal_and_none_with_no_color(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("domain: shop\n")
    assert "\x1b[1;31m" in on_a_terminal("check", str(file))
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", on_a_terminal("check", str(file), NO_COLOR="1"))
