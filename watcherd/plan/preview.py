"""From the text of a model to its plan, with nothing done: parse, link, compare.

Owns the order of a trial. What serves now is given by whoever asks: the daemon knows it, and a
database without a daemon remembers it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from watcherd.compile import Options, describe
from watcherd.ledger import as_diagnostic
from watcherd.pim import Diagnostic, link, link_diagnostics, parse
from watcherd.pim.linked import LinkedModel
from watcherd.pim.spec import ModelSpec, fold
from watcherd.plan.api import api_changes
from watcherd.plan.tables import table_changes
from watcherd.plan.value import ModelPlan
from watcherd.revision import Operation
from watcherd.store import SchemaPlan, Store


@dataclass(frozen=True, slots=True)
class Preview:
    """What would come of a text: its findings, and the plan unless they are errors of the file itself."""

    diagnostics: tuple[Diagnostic, ...]
    plan: ModelPlan | None

    @property
    def refused(self) -> bool:
        """Whether the text would not be served."""
        return any(item.is_error for item in self.diagnostics)

    def as_json(self) -> dict[str, Any]:
        """The preview as the admin API answers it."""
        shown = [item.as_json() for item in self.diagnostics]
        return {"diagnostics": shown, "plan": None if self.plan is None else self.plan.as_json()}


async def preview(
    content: bytes, file: str, models: Mapping[str, ModelSpec], store: Store, options: Options
) -> Preview:
    """Try a model's text beside the `models` that serve now, by folded name; nothing is changed.

    StoreError when the database cannot be asked.
    """
    parsed = parse(content, file)
    if parsed.spec is None:
        return Preview(parsed.diagnostics, None)
    spec = parsed.spec
    beside = {name: one for name, one in models.items() if name != spec.name}
    linked = link(spec, beside)
    if not isinstance(linked, LinkedModel):
        return Preview((*parsed.diagnostics, *link_diagnostics(parsed, linked, beside)), None)
    schema = await store.plan(linked)
    former = None if spec.renamed_from is None else fold(spec.renamed_from)
    serving = models.get(spec.name) or (models.get(former) if former is not None else None)
    linked_before = None if serving is None else link(serving, models)
    before = None
    if isinstance(linked_before, LinkedModel):
        before = linked_before, describe(linked_before, options).operations
    plan = planned(schema, describe(linked, options).operations, before)
    noticed = (as_diagnostic(notice, parsed) for notice in (*schema.rejections, *schema.notices))
    found = sorted((*parsed.diagnostics, *noticed), key=lambda item: (item.line, item.column, item.code))
    return Preview(tuple(found), plan)


def planned(
    schema: SchemaPlan, operations: Sequence[Operation], before: tuple[LinkedModel, Sequence[Operation]] | None
) -> ModelPlan:
    """The plan of a model that is compared with its tables; `before` is what serves now, if anything."""
    old, old_operations = before if before is not None else (None, ())
    return ModelPlan(
        linked=schema.linked,
        is_new=before is None,
        tables=table_changes(schema),
        api=api_changes(old, old_operations, schema.linked, operations),
        in_the_way=schema.rejections,
    )
