"""The page on the modelling language says all of it, and nothing that is not so."""

import re
from pathlib import Path

import pytest

from watcherd.pim import parse
from watcherd.pim.document import AttributeDoc, EntityDoc, ModelDoc, RelationshipDoc
from watcherd.pim.kinds import KINDS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "pim_models" / "README.md").read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
MODEL = re.search(r"## A model\n\n```yaml\n(.*?)```", PAGE, re.DOTALL)
assert MODEL is not None
SENTENCES = re.search(r"## Constraints and indexes\n\n(.*?)\n\n", PAGE, re.DOTALL)
assert SENTENCES is not None
QUOTED = [sentence for sentence in re.findall(r"`([^`]+)`", SENTENCES[1]) if not sentence.startswith("{")]


def keys(document: type[ModelDoc | EntityDoc | AttributeDoc | RelationshipDoc]) -> set[str]:
    """What a part of a file may say, less what stands for its short form."""
    return {name.rstrip("_") for name in document.model_fields} - {"sentence"}


@pytest.mark.parametrize("document", [ModelDoc, EntityDoc, AttributeDoc, RelationshipDoc])
def test_every_key_is_on_the_page(document: type[ModelDoc | EntityDoc | AttributeDoc | RelationshipDoc]) -> None:
    told = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", PROSE))))
    assert keys(document) - told == set()


def test_every_type_is_on_the_page_with_its_other_names() -> None:
    section = PROSE[PROSE.index("## Attributes") : PROSE.index("## Relationships")]
    assert set(KINDS) - set(re.findall(r"`([a-z]+)`", section)) == set()


def test_its_model_has_nothing_to_find() -> None:
    assert MODEL is not None
    parsed = parse(MODEL[1].encode(), "music-school.yaml")
    assert (parsed.spec is not None, parsed.diagnostics) == (True, ())


@pytest.mark.parametrize("sentence", QUOTED)
def test_its_sentences_are_enforced(sentence: str) -> None:
    attributes = (
        "{title: string, starts: date, ends: date, name: string, email: string, places: int, status: {enum: [a, b]}}"
    )
    text = f"domain: school\nentities:\n- name: Course\n  attributes: {attributes}\n  constraints: ['{sentence}']\n"
    parsed = parse(text.encode(), "school.yaml")
    assert parsed.spec is not None
    [constraint] = parsed.spec.entities["Course"].constraints
    assert (constraint.rule is not None, parsed.diagnostics) == (True, ())


@pytest.mark.parametrize("page", ["README.md", "pim_models/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    here = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", here.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        there = (here.parent / path).resolve() if path else here
        assert there.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, link
