"""What Schemathesis cannot know from a document: which addresses exist, and that a key names one request."""

from __future__ import annotations

import itertools
import re
from typing import Any

import schemathesis
from hypothesis import strategies as st

# The format `email` also has addresses of reserved domains (.test, .invalid): nobody gets mail there, and they are
# refused.
_LOCAL = st.from_regex(r"[a-z][a-z0-9]{0,20}", fullmatch=True)
schemathesis.openapi.format("email", st.builds("{}@{}.com".format, _LOCAL, _LOCAL))

_KEY = re.compile(r"[!-~]{1,200}")
_COUNT = itertools.count()


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Give each request a key of its own, where its key is a valid one: the same with another body is a 422."""
    for name, value in list((case.headers or {}).items()):
        if name.lower() == "idempotency-key" and isinstance(value, str) and _KEY.fullmatch(value):
            case.headers[name] = f"{value}-{next(_COUNT)}"
