"""Clients that others generate from the live `/openapi.json`: they compile, and the Python one works.

The generators come from PyPI and npm, in the versions that `clients/` pins, into an environment of
their own. Where they cannot be had (no npm, no network) the tests are skipped, and say so; under CI
that is a failure.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.e2e.process import Process, running

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
NOT_JSON = {"/-/import", "/admin/pim/plan"}
"""Ends of paths whose bodies are not JSON, which openapi-python-client leaves out, and says so."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def cannot(reason: str) -> NoReturn:
    """Skip; where CI is set, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def run(*command: str | Path, directory: Path, path: str = "") -> str:
    environment = {**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}", "PYTHONUTF8": "1"}
    environment.pop("PYTHONPATH", None)
    result = subprocess.run(
        [*map(str, command)],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=500,
        check=False,
    )
    assert result.returncode == 0, f"{command[0]} failed:\n{result.stdout[-4000:]}"
    return result.stdout


def installed(*command: str | Path, directory: Path) -> None:
    """Install the generator, or skip."""
    try:
        run(*command, directory=directory)
    except AssertionError as failure:
        cannot(f"the generator cannot be installed here: {str(failure)[-500:]}")


@pytest.fixture
async def document(tmp_path: Path) -> AsyncIterator[tuple[Process, Path]]:
    """A daemon on the sample models, and its OpenAPI document as a file."""
    shutil.copytree(ROOT / "pim_models", tmp_path / "models")
    async with running(tmp_path / "models", tmp_path / "data") as daemon:
        async with daemon.client() as client:
            answer = await client.get("/openapi.json")
        file = tmp_path / "openapi.json"
        file.write_bytes(answer.content)
        yield daemon, file


async def test_a_python_client_compiles_and_creates_lists_patches_and_deletes(
    document: tuple[Process, Path], tmp_path: Path
) -> None:
    daemon, file = document
    run(sys.executable, "-m", "venv", "env", directory=tmp_path)
    programs = tmp_path / "env/bin"
    pip = (programs / "python", "-m", "pip", "--disable-pip-version-check", "--quiet")
    installed(*pip, "install", "--requirement", CLIENTS / "requirements.txt", directory=tmp_path)
    told = run(
        *(programs / "openapi-python-client", "generate", "--path", file, "--meta", "none"),
        *("--output-path", tmp_path / "library_client"),
        directory=tmp_path,
        path=str(programs),
    )
    left_out = re.findall(r"^WARNING parsing \w+ (\S+) within", told, re.MULTILINE)
    assert all(any(path.endswith(end) for end in NOT_JSON) for path in left_out), told
    assert "Unable to" not in told

    run(programs / "python", "-m", "compileall", "-q", "library_client", directory=tmp_path)
    shutil.copy(CLIENTS / "use_client.py", tmp_path)
    steps = run(programs / "python", "use_client.py", daemon.address, directory=tmp_path).splitlines()
    assert steps == [
        "every module can be imported",
        "created",
        "listed",
        "patched",
        "refused with a problem",
        "deleted",
    ]


async def test_typescript_types_compile_in_strict_mode(document: tuple[Process, Path], tmp_path: Path) -> None:
    _, file = document
    if shutil.which("npm") is None:
        cannot("npm is not installed")
    for name in ("package.json", "package-lock.json", "use_types.ts"):
        shutil.copy(CLIENTS / name, tmp_path)
    installed("npm", "ci", "--no-audit", "--no-fund", directory=tmp_path)
    programs = tmp_path / "node_modules/.bin"
    run(programs / "openapi-typescript", file, "--output", "api.d.ts", directory=tmp_path)
    run(programs / "tsc", "--noEmit", "--strict", "api.d.ts", "use_types.ts", directory=tmp_path)


async def test_models_that_name_an_entity_alike_are_apart_in_a_client(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    for domain in ("sales", "support"):
        (models / f"{domain}.yaml").write_text(
            f"domain: {domain}\nentities: [{{name: Customer, attributes: {{of_{domain}: string}}}}]\n"
        )
    async with running(models, tmp_path / "data") as daemon, daemon.client() as client:
        schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    titles = [schema["title"] for schema in schemas.values() if "title" in schema]
    assert len(titles) == len(set(titles)), "generators name classes by titles"
    assert {"Sales Customer", "Support Customer"} <= set(titles)
