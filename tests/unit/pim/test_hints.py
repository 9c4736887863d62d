"""What an author most likely meant is told beside what is wrong."""

import pytest

from watcherd.pim import parse

ENTITY = "domain: shop\nentities:\n  - name: Thing\n"
ATTRIBUTES = ENTITY + "    attributes:\n      n: integer\n      "
CHECK = ENTITY + "    attributes: {n: integer, m: integer}\n    constraints:\n      - check: "

HINTS = [
    (ATTRIBUTES + "paid: {type: boolean, default: no}", "PIM209", "write `false`: in YAML 1.2 this is text"),
    (ATTRIBUTES + "paid: {type: boolean, default: 'Yes'}", "PIM209", "write `true`: in YAML 1.2 this is text"),
    (ATTRIBUTES + "tags: [string]", "PIM103", "a list of them is `string[]`"),
    (ATTRIBUTES + "tags: {type: [string]}", "PIM103", "a list of them is `string[]`"),
    (
        ATTRIBUTES + "x: {type: string, nullable: false}",
        "PIM101",
        "an attribute may be without a value unless it says `required: true`",
    ),
    (ATTRIBUTES + "x: {type: string, choices: [a]}", "PIM101", "did you mean `enum`?"),
    (ATTRIBUTES + "x: {type: string, Length: 3}", "PIM101", "did you mean `max_length`?"),
    (ENTITY + "    fields: {n: integer}\n", "PIM101", "did you mean `attributes`?"),
    (ENTITY.replace("domain", "name"), "PIM101", "a model is named by its `domain`"),
    (
        "domain: shop\nentities:\n  Thing: {attributes: {n: integer}}\n",
        "PIM103",
        "each is an item of a list, with its name: `- name: Thing`",
    ),
    (CHECK + "n > 1 and m > 1", "PIM312", "write `&&`"),
    (CHECK + "n > 1 OR m > 1", "PIM312", "write `||`"),
    (CHECK + "not n > 1", "PIM312", "write `!` for not"),
    (CHECK + "n = m", "PIM312", "write `==`: nothing is assigned here"),
    (CHECK + "n <> m", "PIM312", "write `!=`"),
    (CHECK + "has(n)", "PIM312", "write `has(self.x)` for an attribute, and `x != null` for all else"),
    (CHECK + "n is null", "PIM312", "write `x == null`"),
    (ENTITY + "    name: Other\n", "PIM010", "where another item of the list begins, write `- name:`"),
    (ATTRIBUTES + "x: string\n      x: text", "PIM010", None),
    ("domain: s\x07hop\n", "PIM003", 'take it out, or write it as an escape in double quotes: "\\x07"'),
    ("domain: s\ud7ff\ufffehop\n", "PIM003", 'take it out, or write it as an escape in double quotes: "\\ufffe"'),
]


@pytest.mark.parametrize(("text", "code", "hint"), HINTS, ids=[f"{code}-{hint}" for _, code, hint in HINTS])
def test_a_finding_says_what_to_write_instead(text: str, code: str, hint: str | None) -> None:
    assert (code, hint) in [(one.code, one.hint) for one in parse(text.encode(), "f.yaml").diagnostics]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_called_so_with_and_without_a_mark(encoding: str) -> None:
    [finding] = parse(ENTITY.encode(encoding), "f.yaml").diagnostics
    assert (finding.code, finding.message, finding.hint) == (
        "PIM002",
        "the file is encoded in UTF-16",
        "save it as UTF-8",
    )


@pytest.mark.parametrize(("letter", "number"), [("\u00a0", "00A0"), ("\u200b", "200B"), ("\u3000", "3000")])
def test_a_letter_of_a_name_that_cannot_be_seen_is_named(letter: str, number: str) -> None:
    [finding] = parse((ATTRIBUTES + f"{letter}born: date").encode(), "f.yaml").diagnostics
    assert finding.code == "PIM203"
    assert f"it has the character U+{number}" in finding.message


def test_an_entity_that_is_there_twice_is_called_so() -> None:
    text = ENTITY + "    attributes: {n: integer}\n  - name: Thing\n    attributes: {n: integer}\n"
    [finding] = parse(text.encode(), "f.yaml").diagnostics
    assert (finding.code, finding.message) == ("PIM204", "the entity `Thing` is here twice")
    [first] = finding.related
    assert (first.line, first.column) == (3, 11)
