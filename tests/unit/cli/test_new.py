"""`new`: what it writes is a model without findings, and it never writes over anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from watcherd.cli import app
from watcherd.cli.new import CannotWriteModelError
from watcherd.pim import parse


def new(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["new", *arguments])


def refusal(*arguments: str) -> str:
    result = new(*arguments)
    assert isinstance(result.exception, CannotWriteModelError)
    return str(result.exception)


def test_the_model_that_it_writes_has_no_findings_and_the_domain_that_was_asked_for(models: Path) -> None:
    result = new("our-shop")
    assert result.exit_code == 0, result.output
    file = models / "our_shop.yaml"
    assert str(file.relative_to(models.parent)) in result.output
    parsed = parse(file.read_bytes(), file.name)
    assert (parsed.domain, parsed.diagnostics) == ("our-shop", ())
    text = file.read_text()
    assert "/api/our-shop/" in text
    assert "example/" not in text
    assert text.count("#") > 8
    assert CliRunner().invoke(app, ["check"]).exit_code == 0


def test_another_directory_may_be_named(models: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert new("shop", "--models", "other").exit_code == 0
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["shop.yaml"]


@pytest.mark.parametrize(
    ("name", "said"), [("Our Shop", "such as 'our-shop'"), ("店", "lower-case words"), ("../x", "'x'")]
)
def test_what_cannot_be_a_domain_is_refused_with_one_that_can(name: str, said: str, models: Path) -> None:
    assert said in refusal(name)
    assert list(models.iterdir()) == []


def test_nothing_is_written_over_and_no_domain_is_declared_twice(models: Path) -> None:
    assert new("shop").exit_code == 0
    before = (models / "shop.yaml").read_bytes()
    assert "shop.yaml is the model of the domain shop" in refusal("shop")
    (models / "shop.yaml").rename(models / "moved.yaml")
    assert "moved.yaml is the model of the domain shop" in refusal("shop")
    (models / "shop.yaml").write_text("domain: something-else\n")
    (models / "moved.yaml").unlink()
    assert "shop.yaml exists already" in refusal("shop")
    assert (models / "shop.yaml").read_bytes() != before


def test_a_directory_that_is_missing_or_closed_is_told_of(models: Path) -> None:
    assert "there is no directory 'nowhere'" in refusal("shop", "--models", "nowhere")
