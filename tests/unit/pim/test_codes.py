"""Every code is caused here by the smallest file that has it; the mark stands where it is to be found."""

import pytest

from watcherd.pim import CODES, Limits, Position, Severity, file_diagnostic, link_diagnostics, owned_elsewhere, parse
from watcherd.pim.spec import EntityRef

SMALL = Limits(max_bytes=2000, max_depth=8, max_nodes=120, max_entities=2, max_attributes=3)
MARK = "▸"
HEAD = "domain: shop\nentities:\n- name: Thing\n"

ATTRIBUTES = HEAD + "  attributes:\n    "
FIELDS = HEAD + "  attributes: {sku: string, n: int, tags: 'string[]'}\n"
SERVICE = HEAD + "services:\n- name: Clerk\n  methods:\n  - "
STATES = HEAD + "  attributes: {n: int, st: {enum: [a, b]}}\n"
SERVING = "services: [{name: S, methods: [{name: m, parameters: {PARAMETER}, transition: TRANSITION}]}]"
MOVE = (STATES + SERVING).replace("{", "{{").replace("}", "}}").replace("PARAMETER", "{}").replace("TRANSITION", "{}")
FLOW = HEAD + "flows:\n  f:\n    "

CASES: list[tuple[str, str]] = [
    ("PIM001", "▸" + "#" * 2001),
    ("PIM003", "a: ▸\x00b"),
    ("PIM004", "domain:\n▸\tshop: 1"),
    ("PIM005", "a: 1\nb: [1▸"),
    ("PIM005", 'a: "\\u▸d800"'),
    ("PIM006", "[" * 8 + "▸" + "[" * 1000),
    ("PIM007", "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: [▸*b,*b]"),
    ("PIM008", "domain: shop\nmetadata: ▸!!python/object:os.system {}\nservices: [{name: S}]"),
    ("PIM008", "domain: shop\nmetadata: {a: ▸!!int x}\nservices: [{name: S}]"),
    ("PIM009", "? ▸[1]\n: 2\ndomain: shop\nentities:\n- name: Thing\n"),
    ("PIM010", HEAD + "  ▸name: Other"),
    ("PIM011", HEAD + "▸---\ndomain: other"),
    ("PIM012", "▸"),
    ("PIM012", "▸# nothing\n"),
    ("PIM013", "▸- domain"),
    ("PIM013", "▸domain"),
    ("PIM014", "a: ▸*nowhere"),
    ("PIM014", "a: &x [▸*x]"),
    ("PIM015", HEAD + "  attributes: {<<: [▸x]}"),
    ("PIM016", HEAD + "▸metadata: {n: .inf}"),
    ("PIM016", HEAD + "metadata: {n: ▸" + "9" * 500 + "}"),
    ("PIM101", HEAD + "▸titel: x"),
    ("PIM102", "▸services: [{name: S}]"),
    ("PIM102", "domain: shop\nentities:\n- ▸description: x"),
    ("PIM102", ATTRIBUTES + "▸sku: {required: true}"),
    ("PIM102", HEAD + "  attributes: [▸{type: string}]"),
    ("PIM102", SERVICE + "{name: sell, parameters: {▸a: {optional: true}}}"),
    ("PIM103", HEAD + "  description: ▸[x]"),
    ("PIM103", ATTRIBUTES + "sku: {type: string, required: ▸yes}"),
    ("PIM103", ATTRIBUTES + "sku: {type: string, max_length: ▸-1}"),
    ("PIM103", ATTRIBUTES + "n: {type: float, minimum: ▸1e99}"),
    ("PIM103", HEAD + "services: ▸5"),
    ("PIM103", HEAD + "rules: {r: ▸[a]}"),
    ("PIM103", FIELDS + "  constraints: [▸{message: m}]"),
    ("PIM103", FIELDS + "  constraints: [{▸unique: []}]"),
    ("PIM104", ATTRIBUTES + "n: {type: int, minimum: 1, ▸min: 2}"),
    ("PIM104", ATTRIBUTES + "s: {enum: [a], ▸values: [a]}"),
    ("PIM104", SERVICE + "{name: sell, returns: int, ▸return_type: int}"),
    ("PIM105", "domain: shop\n▸entities: [{name: A}, {name: B}, {name: C}]"),
    ("PIM106", HEAD + "  ▸attributes: {a: int, b: int, c: int, d: int}"),
    ("PIM107", "domain: ▸shop"),
    ("PIM201", "domain: ▸Shop Floor\nservices: [{name: S}]"),
    ("PIM201", "domain: shop\ndepends_on: [▸Not A Domain]\nservices: [{name: S}]"),
    ("PIM201", "domain: shop\nrenamed_from: ▸X\nservices: [{name: S}]"),
    ("PIM202", "domain: ▸metrics\nservices: [{name: S}]"),
    ("PIM203", "domain: shop\nentities:\n- name: ▸orderItem"),
    ("PIM203", ATTRIBUTES + "▸_hidden: string"),
    ("PIM203", ATTRIBUTES + "▸a__b: string"),
    ("PIM203", ATTRIBUTES + "▸'a b': string"),
    ("PIM203", ATTRIBUTES + "a: {type: string, renamed_from: ▸'x y'}"),
    ("PIM203", HEAD + "  renamed_from: ▸x-y"),
    (
        "PIM203",
        FIELDS + "  relationships: [{belongs_to: Thing, via: sku, name: ▸a b}]",
    ),
    ("PIM203", HEAD + "services: [{name: ▸'?'}]"),
    ("PIM203", SERVICE + "{name: sell, parameters: {▸_a: int}}"),
    ("PIM204", HEAD + "- name: ▸THING"),
    ("PIM204", ATTRIBUTES + "{orderId: string, ▸order_id: string}"),
    ("PIM204", HEAD + "  attributes: [{name: a, type: int}, {name: ▸a, type: int}]"),
    ("PIM204", SERVICE + "{name: sell, parameters: {a: int, ▸A: int}}"),
    ("PIM204", FLOW + "steps:\n    - {id: A}\n    - {id: ▸A}"),
    ("PIM205", HEAD + "  plural: ▸'-'"),
    ("PIM206", HEAD + "- name: Item\n  plural: ▸things"),
    ("PIM206", HEAD + "services: [{name: ▸Things}]"),
    ("PIM206", SERVICE + "{name: sell, returns: int}\n  - {name: ▸Sell}"),
    ("PIM207", ATTRIBUTES + "sku: ▸strng"),
    ("PIM207", ATTRIBUTES + "sku: ▸list"),
    ("PIM207", ATTRIBUTES + "sku: ▸Thing"),
    ("PIM207", ATTRIBUTES + "sku: {type: ▸'ref[]', reference: Thing}"),
    ("PIM208", ATTRIBUTES + "s: ▸enum"),
    ("PIM208", ATTRIBUTES + "s: {▸enum: []}"),
    ("PIM208", ATTRIBUTES + "s: {enum: [a, ▸a]}"),
    ("PIM208", ATTRIBUTES + "s: {enum: [▸'']}"),
    ("PIM208", ATTRIBUTES + "s: {type: ▸int, enum: [1]}"),
    ("PIM208", SERVICE + "{name: sell, parameters: {a: {type: ▸enum}}}"),
    (
        "PIM208",
        SERVICE + "{name: sell, parameters: {a: {type: ▸int, enum: [b]}}}",
    ),
    ("PIM209", ATTRIBUTES + "n: {type: int, default: ▸1.5}"),
    (
        "PIM209",
        SERVICE + "{name: sell, parameters: {a: {type: int, default: ▸x}}}",
    ),
    (
        "PIM209",
        SERVICE + "{name: sell, parameters: {a: {type: Thing, ▸default: x}}}",
    ),
    ("PIM210", ATTRIBUTES + "n: {type: int, ▸max_length: 3}"),
    ("PIM210", ATTRIBUTES + "n: {type: int, ▸on_delete: cascade}"),
    ("PIM210", ATTRIBUTES + "n: {type: float, ▸on_delete: cascade}"),
    ("PIM211", ATTRIBUTES + "n: {type:  int, minimum: ▸5, maximum: 3}"),
    ("PIM211", ATTRIBUTES + "s: {type: string, min_length: ▸5, max_length: 3}"),
    ("PIM211", ATTRIBUTES + "n: {type: int, multiple_of: ▸0}"),
    ("PIM211", ATTRIBUTES + "▸n: {type: int, maximum: 99999999999999999999}"),
    ("PIM212", ATTRIBUTES + "s: {type: string, pattern: ▸'('}"),
    ("PIM212", ATTRIBUTES + "s: {type: string, pattern: ▸'(?=a)'}"),
    ("PIM213", ATTRIBUTES + "n: {type: url, ▸primary_key: true}"),
    ("PIM213", ATTRIBUTES + "▸id: json"),
    ("PIM213", ATTRIBUTES + "n: {type: int, primary_key: true, ▸using: int(m)}"),
    ("PIM213", ATTRIBUTES + "id: {type: int, ▸using: int(m)}"),
    ("PIM213", ATTRIBUTES + "a: {type: int, primary_key: true}\n    b: {type: int, ▸primary_key: true}"),
    ("PIM213", ATTRIBUTES + "▸id: {reference: Thing, type: ref}\n    b: date"),
    ("PIM214", ATTRIBUTES + "n: {type: string, ▸auto_increment: true, primary_key: true}"),
    ("PIM214", ATTRIBUTES + "n: {type: int, ▸auto_increment: true}"),
    ("PIM214", ATTRIBUTES + "n: {type: int, ▸auto_now: true}"),
    ("PIM214", ATTRIBUTES + "d: {type: datetime, auto_now_add: true, ▸auto_now: true}"),
    ("PIM214", ATTRIBUTES + "d: {type: datetime, auto_now: true, ▸default: 2024-01-01}"),
    ("PIM215", ATTRIBUTES + "s: {type: string, read_only: true, ▸write_only: true}"),
    ("PIM215", ATTRIBUTES + "s: {type: string, primary_key: true, ▸write_only: true}"),
    ("PIM215", ATTRIBUTES + "s: {type: float, ▸reference: Thing}"),
    ("PIM215", ATTRIBUTES + "s: {type: string, name: ▸t}"),
    (
        "PIM215",
        SERVICE + "{name: sell, parameters: {a: {type: int, required: true, ▸optional: true}}}",
    ),
    ("PIM216", ATTRIBUTES + "n: {type: int, example: ▸x}"),
    ("PIM217", ATTRIBUTES + "a: {type: ▸reference}"),
    ("PIM217", ATTRIBUTES + "a: {reference: ▸'no entity'}"),
    ("PIM218", ATTRIBUTES + "a: {reference: Thing, on_delete: ▸explode}"),
    ("PIM218", ATTRIBUTES + "a: {reference: Thing, required: true, on_delete: ▸set_null}"),
    ("PIM219", ATTRIBUTES + "n: {type: decimal, precision: ▸19}"),
    ("PIM219", ATTRIBUTES + "n: {type: decimal, precision: 4, scale: ▸5}"),
    ("PIM301", FIELDS + "  constraints: [▸things should be nice]"),
    ("PIM101", FIELDS + "rules: {r: {on: Thing, assert: self.n > 0, ▸asert: x}}"),
    ("PIM102", FIELDS + "rules: {▸r: {on: Thing}}"),
    ("PIM103", FIELDS + "rules: {r: {on: Thing, ▸assert: [1]}}"),
    ("PIM103", FIELDS + "rules: {r: {on: Thing, assert: self.n > 0, code: ▸state}}"),
    ("PIM307", FIELDS + "rules: {r: {on: ▸Think, assert: self.n > 0}}"),
    ("PIM312", FIELDS + "rules: {r: {on: Thing, assert: self.▸m > 0}}"),
    ("PIM312", FIELDS + "rules: {r: {on: Thing, when: ▸n > 0, assert: self.n > 0}}"),
    ("PIM312", SERVICE + "{name: go, parameters: {n: int}, rules: [r]}\nrules: {r: {assert: ▸m > 0}}"),
    ("PIM410", FIELDS + "rules: {▸r: {assert: n > 0}}"),
    ("PIM101", STATES + "  states: {field: st, initial: a, ▸initail: a}"),
    ("PIM102", STATES + "  ▸states: {initial: a}"),
    ("PIM304", STATES + "  states: ▸sta"),
    ("PIM412", STATES + "  states: ▸n"),
    ("PIM412", STATES + "  ▸states: st"),
    ("PIM412", STATES + "  states: {field: st, initial: ▸c}"),
    ("PIM412", STATES + "  states: {field: st, initial: a, transitions: {▸c: a}}"),
    ("PIM412", STATES + "  states: {field: st, initial: a, transitions: {▸a: [b, c]}}"),
    ("PIM101", MOVE.format("id: uuid", "{entity: Thing, field: st, from: a, to: b, ▸fron: a}")),
    ("PIM102", MOVE.format("id: uuid", "{entity: Thing, field: st, from: a}").replace("transition", "▸transition")),
    ("PIM102", MOVE.format("id: uuid", "{entity: Thing, from: a, to: b}").replace("transition", "▸transition")),
    ("PIM304", MOVE.format("id: uuid", "{entity: Thing, field: ▸sta, from: a, to: b}")),
    ("PIM307", MOVE.format("id: uuid", "{entity: ▸Think, field: st, from: a, to: b}")),
    ("PIM412", MOVE.format("id: uuid", "{entity: Thing, field: ▸n, from: a, to: b}")),
    ("PIM412", MOVE.format("id: uuid", "{entity: Thing, field: st, from: ▸c, to: b}")),
    ("PIM412", MOVE.format("id: uuid", "{entity: Thing, field: st, from: a, to: ▸c}")),
    ("PIM412", MOVE.format("id: uuid", "{entity: Thing, field: st, from: a, to: b, key: ▸x}")),
    ("PIM412", MOVE.format("x: uuid", "{entity: Thing, field: st, from: a, to: b}").replace("tran", "▸tran")),
    (
        "PIM412",
        MOVE.format("id: uuid", "{entity: Thing, field: st, from: a, to: b}, returns: int").replace("tran", "▸tran"),
    ),
    ("PIM312", FIELDS + "  constraints: [{check: n > ▸m}]"),
    ("PIM312", ATTRIBUTES + "n: {type: integer, using: 'int(sku ▸'}"),
    ("PIM312", FIELDS + "  constraints: [{check: n >▸}]"),
    ("PIM312", FIELDS + "  constraints: [{check: n ▸> 'a'}]"),
    ("PIM312", FIELDS + "  constraints: [{check: ▸n}]"),
    ("PIM312", FIELDS + "  constraints: [{check: ▸1 > 0}]"),
    ("PIM312", FIELDS + "  constraints: [{check: n > 0 && ▸now == now}]"),
    ("PIM312", FIELDS + "  constraints: [{check: 'sku == ''a'' || self.▸nn > 0'}]"),
    ("PIM312", FIELDS + '  constraints: [{check: "sku == \\"a\\" || ▸nn > 0"}]'),
    ("PIM312", FIELDS + "  constraints:\n  - check: >-\n      n > 0 &&\n      ▸m > 0\n"),
    ("PIM312", FIELDS + "  constraints:\n  - check: n > 0 &&\n      ▸m > 0\n"),
    ("PIM303", FIELDS + "  constraints: [▸sku must be positive]"),
    (
        "PIM303",
        FIELDS + "  constraints: [▸nothing must be unique]",
    ),
    ("PIM304", FIELDS + "  constraints: [{unique: [n, ▸m]}]"),
    ("PIM304", FIELDS + "  indexes: [▸m]"),
    ("PIM304", FIELDS + "  indexes: [{fields: [n, ▸n]}]"),
    (
        "PIM304",
        SERVICE + "{name: sell, parameters: {a: {type: Thing, exclude: [▸x]}}}",
    ),
    ("PIM305", FIELDS + "  indexes: [▸tags]"),
    ("PIM305", ATTRIBUTES + "n: {type: 'int[]', ▸unique: true}"),
    ("PIM306", FIELDS + "  relationships: [▸friends with Thing]"),
    ("PIM306", FIELDS + "  relationships: [▸{via: n}]"),
    ("PIM307", FIELDS + "  relationships: [▸has many Ghosts]"),
    (
        "PIM307",
        FIELDS + "  relationships: [▸has many other.Ghost]",
    ),
    ("PIM307", ATTRIBUTES + "a: {reference: ▸Ghost}"),
    ("PIM308", FIELDS + "  relationships: [▸belongs to Thing]"),
    (
        "PIM308",
        FIELDS + "  relationships: [▸{belongs_to: Thing, via: nobody}]",
    ),
    (
        "PIM308",
        FIELDS + "  relationships: [▸{belongs_to: Thing, via: tags}]",
    ),
    (
        "PIM309",
        ATTRIBUTES + "{a: {reference: Thing}, b: {reference: Thing}}\n  relationships: [▸has many Thing]",
    ),
    ("PIM310", ATTRIBUTES + "{▸aId: {reference: Thing}, a: int}"),
    ("PIM310", ATTRIBUTES + "{aId: {reference: Thing}, things: int}\n  relationships: [▸has many Thing]"),
    ("PIM311", ATTRIBUTES + "thingId: ▸int\n  relationships: [belongs to Thing]"),
    ("PIM401", SERVICE + "{name: sell, returns: ▸Ghost}"),
    (
        "PIM402",
        SERVICE + "{name: sell, parameters: {a: {type: string, ▸partial: true}}}",
    ),
    ("PIM403", SERVICE + "{name: sell, flow: ▸nowhere}"),
    ("PIM404", SERVICE + "{name: sell, rules: [▸nowhere]}"),
    ("PIM405", FLOW + "steps:\n    - {id: A, next:  [▸B]}"),
    ("PIM406", FLOW + "steps:\n    - {id: A}\n    - {id: ▸B}"),
    ("PIM408", SERVICE + "{name: sell, returns: ▸other.Ghost}"),
    ("PIM409", FLOW + "steps:\n    - {id: A, type: ▸leap}"),
    ("PIM211", ATTRIBUTES + "n: {type: float, exclusive_minimum: ▸5, maximum: 5}"),
    ("PIM407", FLOW + "▸diagram: A --> B --> C\n    steps:\n    - {id: A, next: B}\n    - {id: B}"),
    ("PIM407", FLOW + "▸diagram: A --> Start\n    steps:\n    - {id: A, next: B}\n    - {id: B}"),
    ("PIM305", FIELDS + "  constraints: [{unique: [sku, ▸tags]}]"),
    ("PIM309", ATTRIBUTES + "{thingId: string, thing: ref}\n  relationships: [▸belongs to Thing]"),
    ("PIM213", ATTRIBUTES + "▸id: {type: ref, reference: Thing}"),
]
UNREADABLE: list[tuple[str, int, int, bytes]] = [
    ("PIM002", 2, 4, b"a: 1\n\xe5\xa7\x93: \xff\n"),
    ("PIM002", 1, 1, b"\xff\xfed\x00o\x00m\x00a\x00i\x00n\x00:\x00 \x00s\x00h\x00o\x00p\x00"),
    ("PIM002", 1, 4, b"a: \xed\xa0\x80"),
]
ELSEWHERE = {"PIM501", "PIM502", "PIM503"}
OF_CODE = {f"PIM{number}" for number in range(420, 426)}
OF_FLOWS = {f"PIM{number}" for number in range(430, 436)} | {"PIM440", "PIM441"}
"""See test_flow_findings."""

FOR_THE_STORE = {f"PIM{number}" for number in range(600, 614)}
OF_THE_FILE = {code for code in CODES if code.startswith("PIM7")}


def found_in(source: bytes) -> list[tuple[str, int, int]]:
    parsed = parse(source, "shop.yaml", limits=SMALL, reserved_domains=frozenset({"metrics"}))
    assert (parsed.spec is None) == any(found.is_error for found in parsed.diagnostics)
    return [(found.code, found.line, found.column) for found in parsed.diagnostics]


@pytest.mark.parametrize(("code", "marked"), CASES)
def test_each_mistake_is_the_only_finding_and_is_found_where_the_mark_stands(code: str, marked: str) -> None:
    before, _, after = marked.partition(MARK)
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    assert found_in((before + after).encode()) == [(code, line, column)]


@pytest.mark.parametrize(("code", "line", "column", "source"), UNREADABLE)
def test_bytes_that_are_no_text_are_found_at_the_first_of_them(
    code: str, line: int, column: int, source: bytes
) -> None:
    assert found_in(source) == [(code, line, column)]


def test_every_code_is_either_caused_here_or_belongs_to_someone_else() -> None:
    caused = {code for code, _ in CASES} | {code for code, *_ in UNREADABLE}
    assert caused | ELSEWHERE | OF_CODE | OF_FLOWS | FOR_THE_STORE | OF_THE_FILE == set(CODES)


def test_a_domain_that_another_file_serves_is_reported_at_the_domain() -> None:
    found = owned_elsewhere(parse(HEAD.encode(), "b.yaml"), "a.yaml")
    assert (found.code, found.file, found.line, found.column) == ("PIM501", "b.yaml", 1, 9)
    assert "a.yaml" in found.message


def test_a_missing_model_and_a_missing_entity_are_told_apart_and_reported_at_the_reference() -> None:
    source = ATTRIBUTES + "userId: {reference: user-management.User}\n    whoId: {reference: crm.Who}\n"
    parsed = parse(source.encode(), "shop.yaml")
    other = parse(b"domain: user-management\nentities: [{name: Users}]", "u.yaml").spec
    assert other is not None
    missing = (EntityRef("user_management", "User"), EntityRef("crm", "Who"))
    found = link_diagnostics(parsed, missing, {"user_management": other})
    assert [(one.code, one.line, one.column, one.hint) for one in found] == [
        ("PIM503", 5, 25, "did you mean `Users`?"),
        ("PIM502", 6, 24, "this file is tried again when that model appears"),
    ]


@pytest.mark.parametrize("code", sorted(OF_THE_FILE))
def test_a_finding_about_the_file_itself_has_its_first_line(code: str) -> None:
    found = file_diagnostic(code, "x.yaml", "it is a FIFO")
    assert (found.line, found.column) == (Position().line, Position().column)
    assert found.severity is Severity.ERROR
    assert found.message.endswith("it is a FIFO")
