"""How benchmarks run a program: the code beside them, nobody's settings, a free port, and an end of all of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
STOP_SECONDS = 10.0


def environment() -> dict[str, str]:
    """Ours without settings of watcherd; `-m watcherd` is the one beside these benchmarks, whatever is installed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WATCHERD_")}
    return kept | {"PYTHONPATH": str(REPOSITORY)}


def start(
    command: Sequence[str], directory: Path, log: Path, more: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a directory, in a session of its own; what it says goes to a file."""
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=directory,
            env=environment() | dict(more or {}),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], seconds: float = STOP_SECONDS) -> None:
    """End a process, which may take so long, and what it has started: the session that was made for it."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def processor_seconds(pid: int) -> float:
    """What a process has used so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
