"""What tests of commands on model files share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an empty `pim_models`."""
    monkeypatch.chdir(tmp_path)
    directory = tmp_path / "pim_models"
    directory.mkdir()
    return directory
