"""`check`: what is read, how files meet each other, and the exit code."""

import os
import re
import subprocess
import sys
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
# The code that each line has is written behind it.
TWELVE = """\
domain: shop
titel: Our shop  # PIM101
version: [1, 2]  # PIM103
entities:
  - name: orderLine  # PIM203
    attributes: {n: int}
  - name: Order
    attributes:
      total: {type: decimal, precision: 99}  # PIM219
      status: {enum: [open, open]}  # PIM208
      placed: {type: datetme}  # PIM207
      count: {type: int, default: many}  # PIM209
      note: {type: string, min_length: 9, max_length: 3}  # PIM211
      code: {type: string, pattern: '['}  # PIM212
      note: string  # PIM010
    relationships:
      - has many Invoices  # PIM307
    constraints:
      - unique: [status, nothing]  # PIM304
"""
MARK = re.compile(r"# (PIM\d+)$")


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
        assert "pim_models/authors.yaml:1:9: note: first declared here\n    1 | domain: authors" in result.output


def test_a_file_with_errors_does_not_own_its_domain(models: Path) -> None:
    (models / "a.yaml").write_text(BROKEN.replace("broken", "authors"))
    (models / "b.yaml").write_text(AUTHORS)
    found = re.findall(r"^(\S+?):\d+:\d+: (PIM\d+) error:", check().output, re.MULTILINE)
    assert found == [("pim_models/a.yaml", "PIM501"), ("pim_models/a.yaml", "PIM207")]


def test_a_file_named_twice_is_checked_once(models: Path) -> None:
    (models / "authors.yaml").write_text(AUTHORS)
    result = check("pim_models", "pim_models/authors.yaml", "./pim_models")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("1 file, ")


def test_what_is_no_regular_file_is_a_finding(models: Path) -> None:
    os.mkfifo(models / "pipe.yaml")
    result = check()
    assert result.exit_code == 1
    assert "pim_models/pipe.yaml:1:1: PIM701 error" in result.output


@pytest.mark.parametrize("path", ["nothing.yaml", "nowhere/at/all"])
def test_a_path_that_does_not_exist_is_refused(path: str, models: Path) -> None:
    with pytest.raises(ModelsDirectoryError, match=f"Cannot check '{path}': no such file or directory"):
        check(path)


def test_twelve_faults_of_different_kinds_are_all_found_at_their_lines_in_one_run(models: Path) -> None:
    (models / "shop.yaml").write_text(TWELVE)
    found = re.findall(r"^pim_models/shop\.yaml:(\d+):\d+: (PIM\d+) \w+:", check().output, re.MULTILINE)
    planted = [(str(line), mark[1]) for line, text in enumerate(TWELVE.splitlines(), 1) if (mark := MARK.search(text))]
    assert len(planted) == 12
    assert len({code for _, code in planted}) == 12
    assert found == planted


@pytest.mark.parametrize(
    ("form", "first"), [("text", "pim_models/b"), ("json", "{"), ("github", "::error"), ("sarif", "{")]
)
def test_each_format_goes_to_standard_output_and_exits_alike(form: str, first: str, models: Path) -> None:
    (models / "broken.yaml").write_text(BROKEN)
    result = check("--format", form)
    assert result.exit_code == 1
    assert result.stdout.startswith(first)
    (models / "broken.yaml").write_text(AUTHORS)
    assert check("--format", form).exit_code == 0


@pytest.mark.parametrize("arguments", [["--format", "xml"], ["--watch", "--format", "json"]])
def test_an_option_that_cannot_be_used_exits_with_2(arguments: list[str], models: Path) -> None:
    result = check(*arguments)
    assert result.exit_code == 2
    assert arguments[0] in result.stderr


def test_checking_imports_neither_a_web_framework_nor_a_database(models: Path) -> None:
    (models / "authors.yaml").write_text(AUTHORS)
    code = (
        "import sys\n"
        "sys.argv = ['watcherd', 'check']\n"
        "try:\n"
        "    import watcherd.cli; watcherd.cli.main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "heavy = {'fastapi', 'starlette', 'sqlalchemy', 'sqlite3', 'uvicorn', 'watchfiles', 'structlog', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = str(Path(__file__).parents[3])
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=models.parent,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == "[]"


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
