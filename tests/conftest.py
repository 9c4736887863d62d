"""What tests of several parts share: empty databases of both kinds (PostgreSQL started when asked for), and quiet."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.postgres import Postgres, running

# A busy machine is no finding: of itself Hypothesis fails an example that takes 200 ms by the clock. Nor is what a
# run happens to draw: each draws the same as the last one. What is drawn at random is for the slow tests.
settings.register_profile("unhurried", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

# A shell that runs the tests in the background has them ignore Ctrl-C, and so would every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

WAITS = (
    "watcherd.logs.CLOSE_SECONDS",
    "watcherd.store.sqlite_session.HOLD_SECONDS",
    "watcherd.store.postgres.CONNECT_TIMEOUT",
    "watcherd.store.postgres.CHANGE_TIMEOUT",
    "watcherd.store.postgres._HEALTH_TIMEOUT",
    "watcherd.services.runs.MAX_SECONDS",
    "watcherd.behind.LOAD_SECONDS",
    "watcherd.examples.RUN_SECONDS",
    "watcherd.store.holders.STALE_SECONDS",
    "watcherd.store.store._LEAVE_SECONDS",
)
"""After so many seconds something in this process has waited, or worked, for too long."""


@pytest.fixture(scope="session", autouse=True)
def _unhurried() -> Iterator[None]:
    """Wait longer than any machine is busy; a test of such a bound sets its own."""
    with pytest.MonkeyPatch.context() as patched:
        for name in WAITS:
            patched.setattr(name, 120.0)
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database_url" in metafunc.fixturenames and getattr(metafunc.module, "ON_BOTH_DATABASES", False):
        metafunc.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.fixture
def schema(postgres: Postgres) -> str:
    """An empty schema of its own for a test; it goes with the server."""
    return postgres.new_schema()


@pytest.fixture
def make_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The address of an empty database: `sqlite` or `postgresql`."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite:///{tmp_path}/watcherd.db"
        server: Postgres = request.getfixturevalue("postgres")
        return server.url(request.getfixturevalue("schema"))

    return make


@pytest.fixture
def database_url(request: pytest.FixtureRequest, make_database_url: Callable[[str], str]) -> str:
    """An empty SQLite; in modules that say `ON_BOTH_DATABASES` an empty PostgreSQL as well."""
    return make_database_url(getattr(request, "param", "sqlite"))


@pytest.fixture
def quiet() -> Iterator[None]:
    """Say nothing: a traceback with all its locals, as structlog renders it by default, takes seconds."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
