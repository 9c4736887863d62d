"""The units: what systemd's own tools say of them, and that they start what the README installs."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "systemd"
WORST_SCORE = 1.5


def analyze(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is missing: install the Debian package systemd")
        pytest.skip("needs systemd-analyze (Debian package systemd)")
    return subprocess.run([tool, *arguments], cwd=directory, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units with a program that exists: what they name is installed where they are installed."""
    shutil.copy(UNITS / "watcherd.socket", tmp_path)
    text = (UNITS / "watcherd.service").read_text(encoding="utf-8")
    (tmp_path / "watcherd.service").write_text(text.replace("/opt/watcherd/bin/watcherd", "/bin/true"))
    return tmp_path


class Unit(configparser.ConfigParser):
    """A unit file; where a key stands twice, the last one."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=False, interpolation=None)
        self.read_string((UNITS / name).read_text(encoding="utf-8"))

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def test_systemd_finds_nothing_wrong_with_the_units(installed: Path) -> None:
    verified = analyze("verify", "./watcherd.service", "./watcherd.socket", directory=installed)
    assert (verified.returncode, verified.stderr) == (0, "")


def test_the_service_is_exposed_as_little_as_it_is_meant_to_be(installed: Path) -> None:
    rated = analyze("security", "--offline=true", "./watcherd.service", directory=installed)
    score = re.search(r"exposure level for watcherd.service: ([\d.]+)", rated.stdout)
    assert score is not None, rated.stderr
    assert float(score[1]) <= WORST_SCORE


def test_the_reload_of_the_service_waits_and_its_stop_has_time_to_drain() -> None:
    from watcherd.settings import Settings

    service = Unit("watcherd.service")["Service"]
    assert service["ExecReload"].endswith("watcherd reload --wait")
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert float(service["TimeoutStopSec"]) > defaults["graceful_timeout"] + defaults["cleanup_timeout"]


def test_the_service_starts_what_the_readme_installs() -> None:
    service = Unit("watcherd.service")["Service"]
    program = service["ExecStart"].split()[0]
    assert service["ExecReload"].split()[0] == program
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"python3 -m venv {Path(program).parents[1]}" in readme
    assert f"{Path(program).with_name('pip')} install" in readme
    for unit in ("watcherd.service", "watcherd.socket", "watcherd.service.d/notify-reload.conf"):
        assert f"systemd/{unit}" in readme


def test_the_drop_in_replaces_the_reload_command_by_a_signal() -> None:
    service = Unit("watcherd.service.d/notify-reload.conf")["Service"]
    assert (service["Type"], service["ExecReload"]) == ("notify-reload", "")
