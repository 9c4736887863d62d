"""Fixtures of the tests on a real process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e.models import shop
from tests.e2e.process import Process, running

if TYPE_CHECKING:
    from playwright.async_api import Browser

TESTS = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if TESTS in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests that look at pages: a start costs more than a test."""
    from tests.e2e.browser import chromium

    async with chromium() as browser:
        yield browser


@pytest.fixture
def shop_models(tmp_path: Path) -> Path:
    """A models directory with one model in `shop.yaml`."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(shop())
    return models


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Process]:
    """A daemon on an empty models directory."""
    async with running(tmp_path / "models", tmp_path / "data") as process:
        yield process
