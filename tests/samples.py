"""The sample models, as the tests of several parts take them."""

from __future__ import annotations

from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "pim_models"
SAMPLE_FILES = sorted(SAMPLES.glob("*.yaml"))


def sample_texts() -> dict[str, str]:
    """File name -> text."""
    return {file.name: file.read_text(encoding="utf-8") for file in SAMPLE_FILES}
