"""Types under stress, from the body through the database to filters, order and back, over HTTP's own path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.compile.conftest import Client, make_entity, make_model, plain
from watcherd.compile import Options, compile_model
from watcherd.pim.spec import Kind
from watcherd.store import Record, Store

ON_BOTH_DATABASES = True

KINDS = {
    "amount": (Kind.DECIMAL, {}),
    "price": (Kind.DECIMAL, {"precision": 10, "scale": 2}),
    "at": (Kind.DATETIME, {}),
    "size": (Kind.INTEGER, {}),
    "ratio": (Kind.FLOAT, {}),
    "name": (Kind.STRING, {}),
    "extra": (Kind.JSON, {}),
    "tags": (Kind.STRING, {"is_list": True}),
    "amounts": (Kind.DECIMAL, {"is_list": True}),
}


class Served:
    """One entity with every kind that is hard, on a loop of its own: hypothesis calls no coroutines."""

    def __init__(self, directory: Path) -> None:
        self.runner = asyncio.Runner()
        self.store = self.runner.run(Store.open(None, directory, durability="normal"))
        self.client = self.runner.run(self._serve())

    async def _serve(self) -> Client:
        linked = make_model(make_entity("Thing", *(plain(name, kind, **more) for name, (kind, more) in KINDS.items())))
        plan = await self.store.plan(linked)
        record = Record(model="shop", domain="shop", file="shop.yaml", revision=1, source=b"", fingerprint="0")
        assert await self.store.expand(plan, record) == ()
        return Client(compile_model(linked, self.store.bind(plan), 1, options=Options(max_limit=10_000)))

    def send(self, raw: str) -> Any:
        return self.runner.run(self.client("POST", "/things", raw=raw.encode("utf-8", "surrogatepass")))

    def get(self, path: str) -> Any:
        return self.runner.run(self.client.get(path))

    def found(self, query: str) -> list[Any]:
        reply = self.get(f"/things?{query}&limit=10000")
        assert reply.status == 200, reply.body
        return list(reply.json["items"])

    def clear(self) -> None:
        for row in self.found("fields=id"):
            assert self.runner.run(self.client.delete(f"/things/{row['id']}")).status == 204


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with TemporaryDirectory() as directory:
        found = Served(Path(directory))
        with found.runner:
            yield found
            found.runner.run(found.store.close())


quick = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
DECIMALS = st.decimals(-(10**12) + 1, 10**12 - 1, places=6, allow_nan=False)


@given(st.lists(DECIMALS, min_size=1, max_size=6), st.booleans())
@quick
def test_decimals_are_exact_in_bodies_filters_and_order(served: Served, numbers: list[Decimal], as_text: bool) -> None:
    served.clear()
    for number in numbers:
        written = f'"{number:f}"' if as_text else f"{number:f}"
        made = served.send(f'{{"amount": {written}, "amounts": [{written}]}}')
        assert made.status == 201, made.body
        assert Decimal(made.json["amount"]) == number
    ordered = [Decimal(row["amount"]) for row in served.found("sort=amount")]
    assert ordered == sorted(numbers)
    bound = numbers[0]
    for operator, fits in {"eq": bound.__eq__, "gt": bound.__lt__, "gte": bound.__le__, "lt": bound.__gt__}.items():
        found = [Decimal(row["amount"]) for row in served.found(f"amount__{operator}={bound:f}")]
        assert sorted(found) == sorted(number for number in numbers if fits(number))
    assert len(served.found(f"amounts__contains={bound:f}")) == numbers.count(bound)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON.filter(lambda value: value is not None))
@quick
def test_json_of_any_shape_comes_back_as_it_was_sent(served: Served, value: Any) -> None:
    made = served.send(json.dumps({"extra": value}))
    assert made.status == 201, made.body
    for shown in (made.json["extra"], served.get(f"/things/{made.json['id']}?fields=extra").json["extra"]):
        assert shown == value
        assert json.dumps(shown) == json.dumps(value), "1, 1.0 and true stay different"


@pytest.mark.parametrize("depth", [50, 190])
def test_json_may_be_deep(served: Served, depth: int) -> None:
    made = served.send(f'{{"extra": {"[" * depth}{"]" * depth}}}')
    assert made.status == 201
    assert served.get(f"/things/{made.json['id']}").json["extra"] == json.loads("[" * depth + "]" * depth)


def test_moments_are_one_whatever_their_zone(served: Served) -> None:
    served.clear()
    for text in (
        "2026-11-22T01:00:00+02:00",
        "2026-11-21T23:00:00",
        "2026-11-21T23:00:00Z",
        "2026-11-21 18:00:00-0500",
    ):
        assert served.send(json.dumps({"at": text})).json["at"] == "2026-11-21T23:00:00.000000Z"
    for text in (
        "2026-11-22T01:00:00%2B02:00",
        "2026-11-22T01:00:00+02:00",
        "2026-11-21T23:00:00",
        "2026-11-21T23:00Z",
    ):
        assert len(served.found(f"at={text}")) == 4
        assert len(served.found(f"at__lte={text}&at__gte={text}")) == 4
        assert served.found(f"at__gt={text}") == served.found(f"at__lt={text}") == []
        assert len(served.found(f"at__in={text},2020-01-01T00:00:00")) == 4


def test_integers_have_64_bits_everywhere(served: Served) -> None:
    served.clear()
    least, most = -(2**63), 2**63 - 1
    for number in (least, 0, most):
        assert served.send(json.dumps({"size": number})).json["size"] == number
    assert [row["size"] for row in served.found("sort=-size")] == [most, 0, least]
    assert len(served.found(f"size__gte={most}")) == 1
    assert len(served.found(f"size__in={least},{most}")) == 2
    for number in (least - 1, most + 1, 10**40):
        assert served.send(json.dumps({"size": number})).findings == {"#/size": "range"}
        for operator in ("eq", "ne", "gt", "in"):
            assert served.get(f"/things?size__{operator}={number}").findings == {f"size__{operator}": "value"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_what_is_no_number_is_refused(served: Served, number: str) -> None:
    for name in ("ratio", "amount", "extra", "size"):
        assert served.send(f'{{"{name}": {number}}}').status in {400, 422}
        assert served.send(f'{{"{name}": [{number}]}}').status in {400, 422}
    for name in ("ratio", "amount", "size"):
        for operator in ("eq", "gt", "in"):
            assert served.get(f"/things?{name}__{operator}={number}").status == 400


BAD_TEXTS = {
    "nul": ('"a\\u0000b"', "%00"),
    "surrogate": ('"a\\ud800b"', "%ED%A0%80"),
    "low": ('"\\udc00"', "%ED%B0%80"),
}


@pytest.mark.parametrize("text", list(BAD_TEXTS))
def test_nul_and_lone_surrogates_are_refused_everywhere(served: Served, text: str) -> None:
    written, escaped = BAD_TEXTS[text]
    for body in (
        f'{{"name": {written}}}', f'{{"tags": ["x", {written}]}}', f'{{"extra": {written}}}',
        f'{{"extra": [{{"a": {written}}}]}}',
        f'{{"extra": {{{written}: 1}}}}', f"{{{written}: 1}}", f'{{"at": {written}}}',
    ):  # fmt: skip
        assert served.send(body).status in {400, 422}, body
    texts = ("name", "name__contains", "name__icontains", "name__startswith", "name__in", "tags__contains", "at")
    for name in (*texts, "sort", "fields", "expand", "cursor"):
        assert served.get(f"/things?{name}=a{escaped}").status == 400, name
    assert served.get(f"/things?a{escaped}=1").status == 400


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=6))
@quick
def test_any_text_is_found_by_itself_and_by_its_parts(served: Served, text: str) -> None:
    row = served.send(json.dumps({"name": text, "tags": [text]})).json
    asked, upper = (quote(one, safe="") for one in (text, text.upper()))
    quoted = quote('"' + text.replace('"', '""') + '"', safe="")
    for query in (
        f"name={asked}",
        f"name__in={quoted}",
        f"name__contains={quote(text[1:], safe='')}",
        f"name__icontains={asked}",
        f"name__icontains={upper}",
        f"name__startswith={quote(text[:2], safe='')}",
        f"name__endswith={quote(text[-2:], safe='')}",
        f"name__gte={asked}",
        f"name__lte={asked}",
        f"tags__contains={asked}",
    ):
        assert row in served.found(query), query


def test_icontains_knows_no_case_in_any_script(served: Served) -> None:
    served.clear()
    for name in ("Straße", "ΟΔΥΣΣΕΥΣ", "Ёлка", "CAFE\u0301", "100%"):
        served.send(json.dumps({"name": name}))
    expected = {
        "STRASSE": "Straße", "ß": "Straße", "οδυσσευς": "ΟΔΥΣΣΕΥΣ", "ёЛКА": "Ёлка", "café": "CAFE\u0301", "%": "100%",
        "_": None,
    }  # fmt: skip
    for asked, found in expected.items():
        names = [row["name"] for row in served.found(f"name__icontains={quote(asked)}")]
        assert names == ([] if found is None else [found]), asked
