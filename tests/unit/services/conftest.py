"""Tests of services: quiet, as those of behaviour."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _quiet(quiet: None) -> None:
    """Every test here is quiet."""
