"""`watcherd key new`: the line and the key go different ways, and fit each other."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from watcherd.cli import app
from watcherd.errors import SettingsError
from watcherd.keys import Keys

runner = CliRunner()


def test_the_line_goes_to_standard_output_and_the_key_that_fits_it_to_standard_error() -> None:
    made = runner.invoke(app, ["key", "new", "shop-app", "--read", "*", "--write", "shop", "--write", "orders"])
    key = made.stderr.split()[-1]
    keys = Keys(None, made.stdout)

    assert made.exit_code == 0
    assert made.stdout.count("\n") == 1
    assert key not in made.stdout
    for method, model, refused in (("GET", "any", False), ("POST", "orders", False), ("POST", "any", True)):
        assert (keys.refusal([(b"x-api-key", key.encode())], method, model) is not None) is refused


def test_a_key_that_opens_nothing_is_not_made() -> None:
    made = runner.invoke(app, ["key", "new", "shop-app"])

    assert made.exit_code == 2
    assert "--read" in made.stderr


def test_what_could_not_be_read_back_is_not_made() -> None:
    made = runner.invoke(app, ["key", "new", "shop app", "--read", "*"])

    assert isinstance(made.exception, SettingsError)
    assert not made.stdout


@pytest.mark.parametrize("arguments", [["key"], ["key", "new", "--help"]])
def test_help_is_shown(arguments: list[str]) -> None:
    assert "new" in runner.invoke(app, arguments).output
