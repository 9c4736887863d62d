"""`schema`: every key is explained with an example, what the language accepts fits it, and mistakes do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from tests.explanations import CODES, DEFAULT_FILE, read_page
from tests.samples import SAMPLE_FILES
from watcherd.cli import app
from watcherd.pim import DEFAULT_LIMITS
from watcherd.pim.findings import Findings, SourceText
from watcherd.pim.key_words import KEYS
from watcherd.pim.nodes import MapNode
from watcherd.pim.schema import json_schema
from watcherd.pim.values import free_value
from watcherd.pim.yaml_reader import read_tree

ROOT = Path(__file__).parents[3]

SHOWN_IN_AN_EDITOR = ["PIM101", "PIM102", "PIM103", "PIM201", "PIM203", "PIM207", "PIM409"]
"""Codes whose wrong examples a schema can tell of; the others are about several keys, or about the text."""

TELL = "say what it is for in KEYS of watcherd/pim/key_words.py, with an example"


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    result = CliRunner().invoke(app, ["schema"], catch_exceptions=False)
    assert result.exit_code == 0
    printed: dict[str, Any] = json.loads(result.output)
    jsonschema.Draft202012Validator.check_schema(printed)
    return printed


@pytest.fixture(scope="module")
def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema)


def as_editors_read_it(text: str) -> Any:
    """A file as YAML 1.2 reads it, which is what yaml-language-server holds against the schema."""
    findings = Findings(SourceText("x.yaml", text))
    root, _ = read_tree(text, DEFAULT_LIMITS, findings)
    assert isinstance(root, MapNode), findings.sorted()
    return free_value(root)


def mappings(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every part of the format, by name."""
    for name, part in {"Model": schema, **schema["$defs"]}.items():
        assert part["description"]
        yield name, part if "properties" in part else part["anyOf"][-1]


def test_every_key_is_explained_with_examples_that_fit_it(schema: dict[str, Any]) -> None:
    walked = set()
    for name, part in mappings(schema):
        for key, told in part["properties"].items():
            walked.add((name, key))
            assert told.get("description"), f"`{key}` of {name} is not explained: {TELL}"
            assert told.get("examples"), f"`{key}` of {name} has no example: {TELL}"
            one = jsonschema.Draft202012Validator({"$defs": schema["$defs"], **told})
            for example in told["examples"]:
                assert one.is_valid(example), f"the example {example!r} of `{key}` of {name} does not fit it"
    assert walked == {(name, key) for name, keys in KEYS.items() for key in keys}, "KEYS tells of a key that is gone"


def test_what_has_a_fixed_set_of_values_lists_them(schema: dict[str, Any]) -> None:
    parts = dict(mappings(schema))
    for name, key, some in (
        ("Attribute", "type", {"string", "decimal", "reference", "string[]"}),
        ("Attribute", "on_delete", {"restrict", "cascade", "set_null"}),
        ("Step", "type", {"start", "action", "decision", "end"}),
    ):
        offered = parts[name]["properties"][key]["anyOf"][0]["enum"]
        assert some <= set(offered)
    assert schema["$defs"]["Attribute"]["anyOf"][0] == {
        "anyOf": parts["Attribute"]["properties"]["type"]["anyOf"][:2],
    }


@pytest.mark.parametrize("sample", SAMPLE_FILES, ids=lambda path: path.stem)
def test_the_sample_models_fit_the_schema(sample: Path, validator: jsonschema.Draft202012Validator) -> None:
    found = validator.iter_errors(as_editors_read_it(sample.read_text("utf-8")))
    assert [f"{list(error.path)}: {error.message}" for error in found] == []


RIGHT = [
    pytest.param(text, id=f"{code}-{name}")
    for code in CODES
    for name, text in (read_page(code).sections["Right"].files if read_page(code).sections else {}).items()
]


@pytest.mark.parametrize("text", RIGHT)
def test_what_is_right_fits_the_schema(text: str, validator: jsonschema.Draft202012Validator) -> None:
    found = validator.iter_errors(as_editors_read_it(text))
    assert [f"{list(error.path)}: {error.message}" for error in found] == []


@pytest.mark.parametrize("code", SHOWN_IN_AN_EDITOR)
def test_what_is_wrong_with_a_key_or_a_name_does_not_fit(code: str, validator: jsonschema.Draft202012Validator) -> None:
    text = read_page(code).sections["Wrong"].files[DEFAULT_FILE]
    assert not validator.is_valid(as_editors_read_it(text))


@pytest.mark.parametrize(
    "wrong",
    [
        "entites: []",
        "entities: [{description: x}]",
        "entities: [{name: order}]",
        "entities: [{name: A, attributes: {a b: string}}]",
        "entities: [{name: A, attributes: {sku: {type: strnig}}}]",
        "entities: [{name: A, attributes: {sku: }}]",
        "entities: [{name: A, attributes: {sku: {type: string, required: yes}}}]",
        "entities: [{name: A, attributes: {sku: {type: string, max_length: -1}}}]",
        "entities: [{name: A, attributes: {sku: {reference: A, on_delete: explode}}}]",
        "entities: {A: {}}",
        "flows: {f: {steps: [{id: a, type: leap}]}}",
        "services: [{name: S, methods: [{nme: x}]}]",
        "metadata: 5",
    ],
)
def test_a_mistake_is_marked_in_an_editor(wrong: str, validator: jsonschema.Draft202012Validator) -> None:
    assert not validator.is_valid(as_editors_read_it(f"domain: shop\n{wrong}\n"))


@pytest.mark.parametrize(
    "right",
    [
        "version: 1.0",
        "title:",
        "x-anything: {a: 1}",
        "entities: [{name: A, attributes: {a: String, b: 'list[ INT ]', c: ' money ', d: 'Date[]', e: ref}}]",
        "entities: [{name: A, attributes: {a: {reference: A, on_delete: Set Null}}}]",
        "entities: [{name: 订单, attributes: {名: string}}]",
        "entities: [{name: A, attributes: [{name: a, type: int}]}]",
        "entities: [{name: A, attributes: {a: {enum: [1, NO, null, 2.5, true]}}}]",
        "flows: {f: {steps: [{id: a, type: DECISION, next: {yes: End}}]}}",
    ],
)
def test_every_spelling_that_the_language_reads_fits(right: str, validator: jsonschema.Draft202012Validator) -> None:
    found = validator.iter_errors(as_editors_read_it(f"domain: shop\n{right}\n"))
    assert [error.message for error in found] == []


def test_each_call_makes_a_schema_of_its_own() -> None:
    json_schema()["$defs"].clear()
    assert json_schema()["$defs"]
