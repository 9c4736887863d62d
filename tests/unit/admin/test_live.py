"""What the script of the pages hears of: every event after which a page says something else."""

from __future__ import annotations

import re

from watcherd.admin.docs import STATIC
from watcherd.events import Event

CHANGE_NO_PAGE = {
    "admin.loopback_only",
    "reload.started",  # what comes of it is heard
    "schema.applied",
    "schema.parked",
    "schema.drift_unknown",
}
HEARD = {
    kind.name for kind in Event.__subclasses__() if kind.name.partition(".")[0] not in {"shutdown", "worker"}
} - CHANGE_NO_PAGE | {"reset"}


def test_a_page_hears_of_every_event_that_changes_one() -> None:
    script = (STATIC / "dashboard" / "live.js").read_text(encoding="utf-8")
    listed = script.partition("const EVENTS = [")[2].partition("]")[0]
    assert set(re.findall(r'"([a-z_.]+)"', listed)) == HEARD, "add it to EVENTS, or here to those that change no page"
