"""Schemathesis against a live daemon: no answer that the OpenAPI document does not describe, no 5xx.

Its settings, and why they are what they are, stand in schemathesis.toml beside this file.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.process import running

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "pim_models"

HOST = ("--exclude-path-regex", "^/api/")
DOMAINS = ("clinic", "library", "order-management", "user-management")
MODELS = [("--include-path-regex", f"^/api/{domain}(/|$)") for domain in DOMAINS]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("selected", [HOST, *MODELS], ids=lambda selected: selected[1])
async def test_every_answer_of_the_sample_models_is_one_that_the_document_describes(
    tmp_path: Path, selected: Sequence[str]
) -> None:
    shutil.copytree(SAMPLES, tmp_path / "models")
    async with running(tmp_path / "models", tmp_path / "data") as daemon:
        async with daemon.client() as client:
            await client.post("/admin/reload")
            pims = (await client.get("/admin/pim")).json()["pims"]
        assert {pim["name"] for pim in pims if pim["state"] == "live"} == set(DOMAINS)
        status, said = await schemathesis(tmp_path, f"{daemon.address}/openapi.json", *selected)

    assert status == 0, said


async def schemathesis(directory: Path, document: str, *selected: str) -> tuple[int, str]:
    """Run it as its users do; its exit status, and what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(HERE / "schemathesis.toml"),
        "run",
        document,
        "--no-color",
        "--seed",
        "1",
        "--continue-on-failure",
        *selected,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env=os.environ | {"SCHEMATHESIS_HOOKS": str(HERE / "schemathesis_hooks.py")},
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode()
