from collections.abc import Callable
from textwrap import dedent

import pytest

from watcherd.pim import Parsed, parse
from watcherd.pim.spec import Entity, ModelSpec

Parse = Callable[[str], Parsed]


@pytest.fixture
def parse_text() -> Parse:
    return lambda text: parse(dedent(text).encode(), "shop.yaml")


@pytest.fixture
def spec_of(parse_text: Parse) -> Callable[[str], ModelSpec]:
    def read(text: str) -> ModelSpec:
        parsed = parse_text(text)
        assert parsed.spec is not None, parsed.diagnostics
        return parsed.spec

    return read


@pytest.fixture
def entity_of(spec_of: Callable[[str], ModelSpec]) -> Callable[[str], Entity]:
    """The entity `Thing` of a model, given what stands under its name (in flow style: `attributes: {...}`)."""

    def read(body: str) -> Entity:
        return spec_of("domain: shop\nentities:\n  - name: Thing\n" + _under_entity(body)).entities["Thing"]

    return read


@pytest.fixture
def findings_of(parse_text: Parse) -> Callable[[str], list[str]]:
    """The code of everything that is found in the body of the entity `Thing`."""

    def read(body: str) -> list[str]:
        parsed = parse_text("domain: shop\nentities:\n  - name: Thing\n" + _under_entity(body))
        return [found.code for found in parsed.diagnostics]

    return read


def _under_entity(body: str) -> str:
    return "".join(f"    {line}\n" for line in dedent(body).strip("\n").splitlines())
