"""Fixtures of the tests on a real process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.process import Process, running

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if TESTS in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Process]:
    """A daemon on an empty models directory."""
    async with running(tmp_path / "models", tmp_path / "data") as process:
        yield process
