"""`watcherd check --explain CODE`: the page about a code, as Markdown, laid out on a terminal."""

from __future__ import annotations

import sys

from watcherd.errors import WatcherdError


class UnknownCodeError(WatcherdError):
    """There is no such code; the message names a near one."""


def show_explanation(code: str) -> None:
    """Print the page about a code, in any case; without a terminal as it is written. Raises UnknownCodeError."""
    from watcherd.pim import CODES
    from watcherd.pim.findings import Nearest

    wanted = code.strip().upper()
    if wanted not in CODES:
        hint = Nearest(wanted, CODES, "codes are PIM001 to PIM706, as findings show them").find()
        raise UnknownCodeError(f"there is no code {code!r}: {hint}")
    from watcherd.pim.explain import explain

    page = explain(wanted)
    if not sys.stdout.isatty():
        sys.stdout.write(page)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(page, code_theme="ansi_dark"))


def complete_code(incomplete: str) -> list[tuple[str, str]]:
    """The codes that begin like this, with their titles: for the completion of shells."""
    from watcherd.pim.codes import CODES

    return [(code, about.title) for code, about in CODES.items() if code.startswith(incomplete.upper())]
