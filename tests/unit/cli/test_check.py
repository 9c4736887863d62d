"""`check`: what is read, how files meet each other, and the exit code."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from watcherd.cli import app
from watcherd.errors import ModelsDirectoryError
from watcherd.pim import parse
from watcherd.pim.spec import Kind

AUTHORS = """\
domain: authors
entities:
  - name: Author
    attributes: {name: string}
"""
BOOKS = """\
domain: books
entities:
  - name: Book
    attributes:
      title: {type: string, required: true}
      authorId: {type: reference, reference: authors.Author}
"""
BROKEN = """\
domain: broken
entities:
  - name: Thing
    attributes:
      size: {type: strnig}
"""


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an empty `pim_models`."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "pim_models"
    directory.mkdir()
    return directory


def check(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments], catch_exceptions=False)


def test_good_models_exit_with_0_and_are_counted(models: Path) -> None:
    (models / "authors.yaml").write_text(AUTHORS)
    (models / "books.yaml").write_text(BOOKS)
    result = check()
    assert result.exit_code == 0, result.output
    assert result.output == "2 files, 0 errors, 0 warnings; 2 models with 2 entities.\n"


def test_an_error_is_shown_at_its_place_and_exits_with_1(models: Path) -> None:
    (models / "authors.yaml").write_text(AUTHORS)
    (models / "broken.yaml").write_text(BROKEN)
    result = check()
    assert result.exit_code == 1
    first, excerpt, carets, *_ = result.output.splitlines()
    assert first.startswith("pim_models/broken.yaml:5:20: PIM")
    assert "error:" in first
    assert excerpt == "    5 |       size: {type: strnig}"
    assert carets == "      |                    ^^^^^^"
    assert result.output.splitlines()[-1].startswith("2 files, 1 error, 0 warnings; 1 model with 1 entity")


def test_a_reference_to_a_model_that_is_missing_is_an_error(models: Path) -> None:
    (models / "books.yaml").write_text(BOOKS)
    result = check()
    assert result.exit_code == 1
    assert "pim_models/books.yaml:6:" in result.output
    assert "authors" in result.output


def test_a_file_is_checked_beside_its_neighbours_without_their_findings(models: Path) -> None:
    (models / "authors.yaml").write_text(AUTHORS)
    (models / "books.yaml").write_text(BOOKS)
    (models / "broken.yaml").write_text(BROKEN)
    result = check("pim_models/books.yaml")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("1 file, 0 errors")


def test_a_domain_that_a_neighbour_declares_is_an_error_that_names_it(models: Path) -> None:
    (models / "authors.yaml").write_text(AUTHORS)
    (models / "zz.yaml").write_text(AUTHORS.replace("Author", "Writer"))
    for arguments in ([], ["pim_models/zz.yaml"]):
        result = check(*arguments)
        assert result.exit_code == 1
        assert "pim_models/zz.yaml:1:" in result.output
        assert "pim_models/authors.yaml" in result.output


def test_a_file_with_errors_does_not_own_its_domain(models: Path) -> None:
    (models / "a.yaml").write_text(BROKEN.replace("broken", "authors"))
    (models / "b.yaml").write_text(AUTHORS)
    output = check().output
    assert "pim_models/a.yaml:1:" in output
    assert "pim_models/b.yaml:" not in output.replace("'pim_models/b.yaml'", "").replace("note", "")


def test_a_file_named_twice_is_checked_once(models: Path) -> None:
    (models / "authors.yaml").write_text(AUTHORS)
    result = check("pim_models", "pim_models/authors.yaml", "./pim_models")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("1 file, ")


def test_what_is_no_regular_file_is_a_finding(models: Path) -> None:
    import os

    os.mkfifo(models / "pipe.yaml")
    result = check()
    assert result.exit_code == 1
    assert "pim_models/pipe.yaml:1:1: PIM701 error" in result.output


@pytest.mark.parametrize("path", ["nothing.yaml", "nowhere/at/all"])
def test_a_path_that_does_not_exist_is_refused(path: str, models: Path) -> None:
    with pytest.raises(ModelsDirectoryError, match=f"Cannot check '{path}': no such file or directory"):
        check(path)


def test_an_empty_directory_has_nothing_wrong(models: Path) -> None:
    result = check()
    assert (result.exit_code, result.output) == (0, "0 files, 0 errors, 0 warnings; 0 models with 0 entities.\n")


def test_the_sample_models_have_no_findings() -> None:
    result = check(str(Path(__file__).parents[3] / "pim_models"))
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1].startswith("4 files, 0 errors, 0 warnings; 4 models with ")


def test_the_sample_models_use_every_type_of_the_language() -> None:
    directory = Path(__file__).parents[3] / "pim_models"
    parsed = [parse(file.read_bytes(), file.name) for file in directory.glob("*.yaml")]
    entities = [entity for each in parsed if each.spec for entity in each.spec.entities.values()]
    attributes = [attribute for entity in entities for attribute in entity.attributes.values() if not attribute.implied]
    assert {attribute.kind for attribute in attributes} == set(Kind)
    assert any(attribute.is_list for attribute in attributes)
