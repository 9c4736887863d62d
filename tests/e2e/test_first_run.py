"""What somebody sees who starts the daemon at a terminal, and what a program sees that starts it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.process import clean_environment
from tests.helpers import model_text


def test_at_a_terminal_it_is_said_where_to_look(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "shop.yaml").write_text(model_text("shop"), encoding="utf-8")
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "watcherd", "serve", "--models", str(models), "--data-dir", str(tmp_path / "d")]
    command += ["--port", "0"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=clean_environment()) as process:
        os.close(theirs)
        said = b""
        try:
            while b"Ctrl-C stops it" not in said:
                said += os.read(ours, 65536)
        finally:
            process.send_signal(signal.SIGTERM)
            drain(ours)
            assert process.wait(120) == 0
            os.close(ours)
    text = said.decode().replace("\r\n", "\n")
    assert re.search(r"Dashboard   http://127\.0\.0\.1:\d+/\n", text)
    assert f"Models      {models}\n" in text
    assert re.search(r"curl http://127\.0\.0\.1:\d+/api/shop/items\n", text)


def drain(terminal: int) -> None:
    """Read to the end, so that nobody waits for a reader; a terminal whose other side has closed is an error."""
    while True:
        try:
            if not os.read(terminal, 65536):
                return
        except OSError:
            return
