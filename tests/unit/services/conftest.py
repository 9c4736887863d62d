"""Tests of services: quiet, as those of behaviour."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Say nothing: a traceback with all its locals, as structlog renders it by default, takes seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
