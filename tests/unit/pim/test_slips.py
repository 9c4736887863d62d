"""What is no YAML is told as its author would put it: where the slip is, and what to write instead."""

import pytest
import yaml

from watcherd.pim import parse, yaml_reader

MARK = "▸"
HEAD = "domain: shop\nentities:\n  - name: Thing\n    attributes:\n      sku: string\n"

SLIPS = [
    (
        "domain: shop\ndescription: Note▸: all of it\n",
        "a text that has a colon and a space in it needs quotes",
        "put it in quotes: `description: 'Note: all of it'`",
    ),
    (
        HEAD + "      ▸size integer\n      n: integer\n",
        "this line is no `key: value`",
        "by a colon and a space",
    ),
    (HEAD + "      ▸size:integer\n      n: integer\n", "there is no space behind the colon", "write `size: integer`"),
    (
        "domain: shop\nentities:\n  - name: A\n    attributes:\n      ▸x:string\n      y: string\n",
        "there is no space behind the colon",
        "write `x: string`",
    ),
    (
        HEAD + "        ▸size: integer\n",
        "this line is deeper than line 5, which has its value already",
        "6 spaces there, 8 spaces here",
    ),
    (
        HEAD + "     ▸size: integer\n",
        "this line is indented by 5 spaces, unlike those around it",
        "by 4 spaces or 6 spaces",
    ),
    (HEAD + "      ▸- size: integer\n", "an item of a list among keys", "a list stands below a key of its own"),
    (
        HEAD + "    constraints:\n      - a\n      ▸b: c\n",
        "a key among the items of a list",
        "begin each item with `- `",
    ),
    (
        HEAD + "   ▸- name: Other\n",
        "this line is indented by 3 spaces, unlike those around it",
        "by 2 spaces or 6 spaces",
    ),
    (
        HEAD + "      n: ▸{type: integer\n      m: integer\n",
        "the `{` of line 6, column 10 is not closed",
        "close it with `}`",
    ),
    (
        HEAD + "    indexes: ▸[sku\n    plural: things\n",
        "the `[` of line 6, column 14 is not closed",
        "close it with `]`",
    ),
    (
        HEAD + "      n: {\n        type: integer\n        unique▸: true\n      }\n",
        "the `{` of line 6, column 10 is not closed, or a `,` is missing",
        "close it with `}`",
    ),
    (
        HEAD + "      n: {type: string▸[], required: true}\n",
        "within `{}` a text with `[` in it needs quotes",
        "put it in quotes: `'string[]'`",
    ),
    (HEAD + "      n: {type: string}▸}\n", "this `}` closes nothing", None),
    (HEAD + "    plural: ▸@things\n", "a text cannot begin with `@`", "put it in quotes: `'@things'`"),
    (
        HEAD + "      n: {description: ▸%x, type: string}\n",
        "a text cannot begin with `%`",
        "put it in quotes: `'%x'`",
    ),
    (HEAD + "    description: ▸**all**\n", "a text cannot begin with `*`", "put it in quotes: `'**all**'`"),
    (HEAD + "    description: ▸>= 3\n", "`>` begins a text that starts on the next line", "put it in quotes: `'>= 3'`"),
    (
        HEAD + "    description: ▸| all\n",
        "`|` begins a text that starts on the next line",
        "put the text there, indented",
    ),
    (HEAD + "    description: ▸'all\n", "this quote is not closed", "quotes of the other kind"),
    (HEAD + "    description: 'It'▸s'\n", "the text has ended with the `'` before", "double quotes"),
    (HEAD + "    description: ▸- all\n", "a list cannot begin beside its key", "`[a, b]`"),
    (HEAD + "    indexes: [sku, ▸, n]\n", "a value cannot begin with `,`", "a value is missing before it"),
    (HEAD + "    indexes: ▸[\n", "this `[` is not closed", "close it with `]`"),
    (HEAD + "    indexes: ▸[sku, [n],\n", "this `[` is not closed", "close it with `]`"),
    (HEAD + "      n: ▸{", "this `{` is not closed", "close it with `}`"),
    (" domain: shop\n▸entities:\n", "this line is outside of the model", "in the first column"),
]


@pytest.fixture(params=["libyaml", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers that PyYAML may come with."""
    if request.param == "Python":
        monkeypatch.setattr(yaml_reader, "EventParser", yaml.SafeLoader)


def found_in(marked: str) -> tuple[str, int, str, str | None]:
    """The syntax error of a file: its code, its offset in the text, its message and its hint."""
    text = marked.replace(MARK, "")
    [slip] = [one for one in parse(text.encode(), "f.yaml").diagnostics if one.code in {"PIM004", "PIM005"}]
    lines = text.splitlines(keepends=True)
    return slip.code, sum(map(len, lines[: slip.line - 1])) + slip.column - 1, slip.message, slip.hint


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize(("marked", "message", "hint"), SLIPS, ids=[message for _, message, _ in SLIPS])
def test_a_slip_is_told_where_it_is_and_with_what_to_write_instead(marked: str, message: str, hint: str | None) -> None:
    code, at, told, advice = found_in(marked)
    assert (code, at) == ("PIM005", marked.index(MARK))
    assert told.startswith(f"this is not YAML: {message}")
    if hint is None:
        assert advice is None
    else:
        assert advice is not None
        assert hint in advice


@pytest.mark.usefixtures("parser")
def test_an_escape_that_is_none_is_told_with_the_quotes_in_which_it_would_be_text() -> None:
    _, _, message, hint = found_in(HEAD + '      n: {type: string, pattern: "\\d+"}\n')
    assert message == "this is not YAML: in double quotes `\\` begins an escape, and this is none"
    assert hint == "put the text in single quotes, where `\\` is itself"


@pytest.mark.usefixtures("parser")
def test_what_is_none_of_the_usual_slips_is_told_in_the_words_of_the_parser() -> None:
    _, _, message, hint = found_in("%YAML 9.9\n---\ndomain: shop\n")
    assert message.startswith("this is not YAML: found incompatible YAML document")
    assert hint is None


def test_an_endless_line_is_shown_in_part() -> None:
    _, _, message, hint = found_in("domain: shop\n" + "k" * 5000 + ": " + "v" * 5000 + ": w\n")
    assert len(message) < 300
    assert hint is not None
    assert len(hint) < 300
