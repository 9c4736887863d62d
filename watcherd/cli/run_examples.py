"""`watcherd check --run`: the examples of models that are sound, run as a reload would, without a daemon.

Handlers run only where the settings allow them, as in the daemon; examples of methods that need one
are left out elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from watcherd.cli.examine import Checked, Source

if TYPE_CHECKING:
    from watcherd.pim import Diagnostic
    from watcherd.pim.spec import ModelSpec


def run_examples(checked: Sequence[Checked], sources: Sequence[Source], *, allow_handlers: bool) -> list[Checked]:
    """What was checked, with how many examples were run, and those that fail among the findings of each model."""
    models = {each.spec.name: each.spec for each in checked if each.spec is not None}
    code = {one.file: one.content for one in sources if one.is_code and one.content is not None}
    return asyncio.run(_run(checked, models, code if allow_handlers else {}))


async def _run(checked: Sequence[Checked], models: Mapping[str, ModelSpec], code: Mapping[str, bytes]) -> list[Checked]:
    return [await _with_examples(each, models, code) for each in checked]


async def _with_examples(each: Checked, models: Mapping[str, ModelSpec], code: Mapping[str, bytes]) -> Checked:
    if each.spec is None or each.source.content is None or not each.source.asked_for:
        return each
    ran, found = await _failures(each.source, each.spec, models, code)
    if not found:
        return replace(each, examples=ran)
    diagnostics = sorted((*each.diagnostics, *found), key=lambda one: (one.line, one.column))
    return replace(each, spec=None, diagnostics=tuple(diagnostics), examples=ran)


async def _failures(
    source: Source, spec: ModelSpec, models: Mapping[str, ModelSpec], code: Mapping[str, bytes]
) -> tuple[int, tuple[Diagnostic, ...]]:
    """How many examples were run, and the findings about those that failed."""
    from watcherd import pim
    from watcherd.behind import CodeRefusedError, loaded
    from watcherd.compile import Options
    from watcherd.examples import as_diagnostics, examples, failures
    from watcherd.pim.linked import NO_CODE, Code, LinkedModel

    assert source.content is not None  # noqa: S101 - it was parsed
    parsed = pim.parse(source.content, source.file)
    gathered = pim.gather(spec, source.file.rpartition("/")[0], code) if code else NO_CODE
    linked = pim.link(spec, models, gathered if isinstance(gathered, Code) else NO_CODE)
    if not isinstance(linked, LinkedModel):
        return 0, ()  # told already
    try:
        handlers = await loaded(linked)
    except CodeRefusedError as error:
        return 0, pim.code_diagnostics(parsed, (error.fault,))
    try:
        found = await failures(linked, Options(), handlers)
        return len(list(examples(linked))), as_diagnostics(found, parsed)
    finally:
        handlers.unload()
