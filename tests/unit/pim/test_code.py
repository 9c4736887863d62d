"""Which Python files the handlers of a model need, told from their text alone."""

from __future__ import annotations

from typing import Any

import pytest

from watcherd.pim import gather, parse
from watcherd.pim.code import CodeFault
from watcherd.pim.linked import NO_CODE, Code
from watcherd.pim.spec import ModelSpec

MODEL = """\
domain: shop
services:
  - name: Desk
    methods:
      - {name: order, handler: "HANDLER"}
"""


def spec_of(handler: str = "orders.py:order") -> ModelSpec:
    spec = parse(MODEL.replace("HANDLER", handler).encode(), "shop.yaml").spec
    assert spec is not None
    return spec


def needed(sources: dict[str, str], handler: str = "orders.py:order", folder: str = "") -> Any:
    return gather(spec_of(handler), folder, {path: text.encode() for path, text in sources.items()})


ORDER = "def order(ctx, params): ...\n"


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"orders.py": ORDER, "other.py": ""}, {"orders.py"}),
        ({"orders.py": "from .a import x\n" + ORDER, "a.py": ""}, {"orders.py", "a.py"}),
        ({"orders.py": "from . import a\n" + ORDER, "a.py": ""}, {"orders.py", "a.py"}),
        ({"orders.py": "from .lib.a import x\n" + ORDER, "lib/a.py": ""}, {"orders.py", "lib/a.py"}),
        (
            {"orders.py": "from .lib import a\n" + ORDER, "lib/a.py": "from ..b import y"}
            | {"lib/__init__.py": "", "b.py": ""},
            {"orders.py", "lib/a.py", "lib/__init__.py", "b.py"},
        ),
        ({"orders.py": "def order(ctx, params):\n    from .late import x\n", "late.py": ""}, {"orders.py", "late.py"}),
        ({"orders.py": "from .a import order\n", "a.py": "from .b import *", "b.py": "from .a import order"},
         {"orders.py", "a.py", "b.py"}),
        ({"orders.py": "import json, os.path\nif True:\n    order = json.dumps\n"}, {"orders.py"}),
    ],
)  # fmt: skip
def test_a_handler_brings_what_it_imports_by_relative_imports(sources: dict[str, str], found: set[str]) -> None:
    code = needed(sources)
    assert isinstance(code, Code), code
    assert set(code.files) == found


def test_handlers_are_named_from_the_folder_of_their_model() -> None:
    code = needed({"shop/orders.py": "from ..common import x\n" + ORDER, "common.py": ""}, folder="shop")
    assert code == Code("shop", {"shop/orders.py": b"from ..common import x\n" + ORDER.encode(), "common.py": b""})
    assert Code.of_text(code.as_text()) == code


def test_bytes_that_are_not_utf_8_survive_the_catalog() -> None:
    code = Code("", {"orders.py": b"# coding: latin-1\nx = '\xe9'\n"})
    assert Code.of_text(code.as_text()) == code
    assert Code.of_text(NO_CODE.as_text()) == NO_CODE


@pytest.mark.parametrize(
    ("sources", "faults"),
    [
        ({}, [("PIM421", None, 1)]),
        ({"orders.py": "x = 1"}, [("PIM423", None, 1)]),
        ({"orders.py": "def order(:"}, [("PIM422", "orders.py", 1)]),
        (
            {"orders.py": ORDER + "from .a import x\nfrom .b import y\n"},
            [("PIM421", "orders.py", 2), ("PIM421", "orders.py", 3)],
        ),
        ({"orders.py": "from .a import order", "a.py": "\n\nx = ="}, [("PIM422", "a.py", 3)]),
        ({"orders.py": "from ..a import order"}, [("PIM421", "orders.py", 1)]),
        ({"orders.py": "x = '\0'"}, [("PIM422", "orders.py", 1)]),
    ],
)  # fmt: skip
def test_everything_that_is_wrong_is_told_at_its_line(sources: dict[str, str], faults: list[tuple[Any, ...]]) -> None:
    found = needed(sources)
    assert all(isinstance(one, CodeFault) for one in found)
    assert [(one.code, one.file, one.position.line) for one in found] == faults


@pytest.mark.parametrize(
    "handler",
    ["orders.py", "orders:order", "../orders.py:order", "/orders.py:order", ".x/a.py:order", "a.py:1x", "a b.c/x.py:f",
     "a.b.py:f", "orders.py:", ":order", "x/../orders.py:order"],
)  # fmt: skip
def test_what_cannot_be_a_handler_is_a_finding_at_its_place(handler: str) -> None:
    parsed = parse(MODEL.replace("HANDLER", handler).encode(), "shop.yaml")
    [found] = parsed.diagnostics
    assert (found.code, found.line, found.column) == ("PIM420", 5, 32)
