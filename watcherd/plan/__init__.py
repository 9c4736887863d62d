"""What a change would do, as one value for people and machines: to the tables and to the API.

The walk: `preview` (the text of a model, the models that serve -> plan) over `tables` (the store's
plan, classified) and `api` (two models compared, by a table of rules) to `value`. The same value is
logged by a reload, answered by `POST /admin/pim/plan` and shown by `watcherd plan`.
"""

from watcherd.plan.preview import Preview, planned, preview
from watcherd.plan.value import ApiChange, Change, Class, ModelPlan, TableChange

__all__ = ["ApiChange", "Change", "Class", "ModelPlan", "Preview", "TableChange", "planned", "preview"]
