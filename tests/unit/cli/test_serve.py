"""`serve`: from the command line to settings, and the ways that it refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def watcherd(*arguments: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as users do, with none of our variables but those given."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WATCHERD_", "STATE_DIRECTORY"))}
    return subprocess.run(
        [sys.executable, "-m", "watcherd", *arguments],
        cwd=directory,
        env={**clean, "PYTHONPATH": str(Path(__file__).parents[3]), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_print_config_shows_each_value_and_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "watcherd.toml").write_text('durability = "normal"\n')
    result = watcherd(
        "serve",
        "--print-config",
        "--port",
        "9000",
        directory=tmp_path,
        WATCHERD_ADMIN_TOKEN="s3cret",
        WATCHERD_HOST="::1",
    )
    assert result.returncode == 0, result.stderr
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in result.stdout.splitlines()}
    assert lines["port"] == ["9000", "--port on the command line"]
    assert lines["host"] == ["::1", "WATCHERD_HOST in the environment"]
    assert lines["durability"] == ["normal", "durability in watcherd.toml"]
    assert lines["admin_token"] == ["***", "WATCHERD_ADMIN_TOKEN in the environment"]
    assert lines["models"] == ["pim_models", "default"]
    assert "s3cret" not in result.stdout


def test_an_unknown_variable_stops_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = watcherd("serve", directory=tmp_path, WATCHERD_PROT="1")
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("watcherd: Cannot use the settings: unknown setting 'WATCHERD_PROT' in the environment")
    assert line.endswith("did you mean 'WATCHERD_PORT'?")


@pytest.mark.parametrize("arguments", [["--durability", "some"], ["--port", "many"], ["--nothing"]])
def test_an_option_that_cannot_be_used_exits_with_2(arguments: list[str], tmp_path: Path) -> None:
    result = watcherd("serve", *arguments, directory=tmp_path)
    assert result.returncode == 2
    assert arguments[0] in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["serve", "check", "schema"])
def test_help_shows_an_example(command: str, tmp_path: Path) -> None:
    result = watcherd(command, "--help", directory=tmp_path)
    assert result.returncode == 0
    assert f"Example: watcherd {command}" in result.stdout


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    import watcherd as package

    assert watcherd("--version", directory=tmp_path).stdout == f"watcherd {package.__version__}\n"


def test_asking_for_help_imports_nothing_that_is_slow_to_import(tmp_path: Path) -> None:
    code = (
        "import sys, watcherd.cli\n"
        "heavy = {'fastapi', 'starlette', 'pydantic', 'sqlalchemy', 'uvicorn', 'watchfiles', 'yaml', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = str(Path(__file__).parents[3])
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert result.stdout == "[]\n"
