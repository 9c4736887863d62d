"""`schema`: prints a JSON Schema that accepts the sample models and refuses a typing mistake."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from watcherd.cli import app

SAMPLES = sorted((Path(__file__).parents[3] / "pim_models").glob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    result = CliRunner().invoke(app, ["schema"], catch_exceptions=False)
    assert result.exit_code == 0
    schema = json.loads(result.output)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_the_sample_models_fit_the_schema(sample: Path, validator: jsonschema.Draft202012Validator) -> None:
    document = yaml.load(sample.read_text("utf-8"), yaml.BaseLoader)
    assert [error.message for error in validator.iter_errors(_typed(document))] == []


def test_an_unknown_key_does_not_fit_the_schema(validator: jsonschema.Draft202012Validator) -> None:
    assert not validator.is_valid({"domain": "shop", "entites": []})


def _typed(value: object) -> object:
    """What YAML 1.2 makes of the scalars that the samples use, all of which BaseLoader leaves as text."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    if isinstance(value, str) and (value in {"true", "false"} or value.lstrip("-").isdecimal()):
        return json.loads(value)
    return value
