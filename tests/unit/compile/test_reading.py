from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from watcherd.compile import reading

PRODUCT = {"sku": "A1", "price": "12.5"}


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "line 1 column 0"),
        (b"{", "line 1 column 1"),
        (b'{"sku":\n "A1",}', "line 2 column 7"),
        (b'{"sku": NaN}', "line 1 column 9"),
        (b'{"sku": -Infinity}', "line 1 column"),
        (b'{"sku": "\xff"}', "line 1 column"),
        (b'{"sku": "\\ud800"}', "line 1 column"),
        (b"{'sku': 1}", "line 1 column 2"),
        (b"{} x", "line 1 column 4"),
        (b'{"details": ' + b"[" * 300 + b"]" * 300 + b"}", "line 1 column"),
        (b'{"stock": ' + b"9" * 5000 + b"}]", "line 1 column"),
        (b'{"stock": ' + b"9" * 5000 + b', "x": ' + b"[" * 50_000 + b"}", "line 1 column"),
    ],
)
async def test_malformed_json_is_told_with_its_place(shop: Any, body: bytes, where: str) -> None:
    refused = await shop("POST", "/products", raw=body)
    assert (refused.status, refused.slug) == (400, "malformed-json")
    assert where in refused.json["detail"]


@pytest.mark.parametrize("digits", [b"9" * 19, b"9" * 4300, b"9" * 4301, b"-" + b"9" * 5000])
async def test_a_number_that_is_too_long_is_a_finding_however_long_it_is(shop: Any, digits: bytes) -> None:
    refused = await shop("POST", "/products", raw=b'{"sku": "A1", "price": "1", "stock": ' + digits + b"}")
    assert (refused.status, refused.slug, refused.findings) == (422, "validation", {"#/stock": "range"})


async def test_a_number_that_is_too_long_is_found_wherever_it_stands(shop: Any) -> None:
    long = b"9" * 5000
    body = b'[{"stock": 1}, {"details": [[1, ' + long + b"." + long + b"], " + long + b"]}]"
    refused = await shop("POST", "/products", raw=body)
    assert refused.status == 422
    assert refused.findings == {"#/1/details/0/1": "range", "#/1/details/1": "range"}


async def test_all_findings_come_at_once(shop: Any) -> None:
    refused = await shop.post("/products", {"sku": 5, "stcok": 1, "status": "sold", "tags": ["a", 1], "seen": 9})
    assert (refused.status, refused.slug) == (422, "validation")
    assert refused.findings == {
        "#/sku": "type",
        "#/price": "required",
        "#/stcok": "unknown",
        "#/status": "enum",
        "#/tags/1": "type",
        "#/seen": "read_only",
    }
    assert refused.json["detail"] == "6 findings"


async def test_an_unknown_attribute_is_told_the_nearest_name(shop: Any) -> None:
    refused = await shop.post("/products", {**PRODUCT, "stcok": 1})
    assert refused.messages == {"#/stcok": "Product has no 'stcok'; did you mean 'stock'?"}
    refused = await shop.post("/products", {**PRODUCT, "zzzzzz": 1})
    assert "there are created_at, details, id" in refused.messages["#/zzzzzz"]


@pytest.mark.parametrize(
    ("body", "first"),
    [
        ({f"stck{number}": 1 for number in range(5000)}, "#/stck0"),
        ({**PRODUCT, "tags": list(range(5000))}, "#/tags/0"),
        ([{"zz": 1}] * 3000, "#/0/zz"),
        ([1] * 3000, "#/0"),
        ({**PRODUCT, "details": ["\0"] * 3000}, "#/details/0"),
    ],
    ids=["names", "items", "rows", "no rows", "characters"],
)
async def test_a_body_that_is_wrong_in_thousands_of_places_is_told_of_the_first(
    shop: Any, body: Any, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sought = []
    nearest = reading.nearest
    worded = []
    finding = reading.finding
    monkeypatch.setattr(reading, "nearest", lambda name, names: sought.append(name) or nearest(name, names))
    monkeypatch.setattr(reading, "finding", lambda detail, known: worded.append(detail) or finding(detail, known))

    refused = await shop.post("/products", body)

    assert (refused.status, refused.slug) == (422, "validation")
    assert refused.json["detail"] == "over 1000 findings, the first 1000 are listed"
    assert len(refused.json["errors"]) == 1000
    assert refused.json["errors"][0]["pointer"] == first
    # Each of them takes the event loop from everybody else.
    assert len(worded) <= 1001
    assert len(set(sought)) <= 10


async def test_a_body_that_is_wrong_after_a_long_beginning_is_refused(shop: Any) -> None:
    tags = ["a"] * 3000 + list(range(3000))
    refused = await shop.post("/products", {**PRODUCT, "tags": tags})
    assert (refused.status, refused.slug, len(refused.json["errors"])) == (422, "validation", 1000)
    assert refused.json["errors"][0]["pointer"] == "#/tags/3000"


async def test_what_is_unknown_is_not_repeated_at_length(shop: Any) -> None:
    name = "sku" * 10_000
    refused = await shop.post("/products", {**PRODUCT, name: 1})
    assert refused.findings == {f"#/{name}": "unknown"}
    assert len(refused.messages[f"#/{name}"]) < 500


@pytest.mark.parametrize(("body", "kind"), [("x", "a string"), (5, "an integer"), (None, "null")])
async def test_a_body_that_is_no_object_is_refused(shop: Any, body: object, kind: str) -> None:
    refused = await shop("POST", "/products", raw=json.dumps(body).encode())
    assert refused.findings == {"#": "type"}
    assert refused.messages == {"#": f"expected an object, not {kind}"}


async def test_only_a_create_takes_an_array(shop: Any) -> None:
    key = (await shop.post("/products", PRODUCT)).json["id"]
    assert (await shop.put(f"/products/{key}", [PRODUCT])).findings == {"#": "type"}
    assert (await shop.patch(f"/products/{key}", [PRODUCT])).findings == {"#": "type"}


async def test_the_character_nul_is_refused_and_its_escape_is_not(shop: Any) -> None:
    refused = await shop.post("/products", {**PRODUCT, "tags": ["a", "\x00"], "details": {"a": {"\x00": 1}}})
    assert refused.findings == {"#/tags/1": "characters", "#/details/a": "characters"}
    assert (await shop.post("/products", {**PRODUCT, "tags": ["\\u0000"]})).json["tags"] == ["\\u0000"]


async def test_names_in_pointers_are_escaped(shop: Any) -> None:
    assert (await shop.post("/products", {**PRODUCT, "a/b~c": 1})).findings == {"#/a~1b~0c": "unknown"}


@pytest.mark.parametrize(
    "media", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=UTF-8"]
)
async def test_json_is_accepted_with_parameters(shop: Any, media: str) -> None:
    assert (await shop.post("/products", PRODUCT, content_type=media)).status == 201


async def test_a_body_without_a_content_type_is_json(shop: Any) -> None:
    assert (await shop.post("/products", PRODUCT, content_type="-")).status == 201


async def test_a_byte_order_mark_is_passed_over(shop: Any) -> None:
    assert (await shop("POST", "/products", raw=b"\xef\xbb\xbf" + json.dumps(PRODUCT).encode())).status == 201


@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "application/merge-patch+json", ""]
)
async def test_another_content_type_is_415(shop: Any, media: str) -> None:
    refused = await shop.post("/products", PRODUCT, content_type=media)
    assert (refused.status, refused.slug) == (415, "unsupported-media-type")
    assert "application/json" in refused.json["detail"]


@pytest.mark.parametrize("path", ["/products", "/-/batch"])
async def test_a_compressed_body_is_415_and_not_malformed(shop: Any, path: str) -> None:
    raw = gzip.compress(json.dumps(PRODUCT).encode())
    refused = await shop("POST", path, raw=raw, content_encoding="gzip")
    assert (refused.status, refused.slug) == (415, "unsupported-media-type")
    assert "'gzip'" in refused.json["detail"]
    assert refused.headers["accept-encoding"] == "identity"
    assert (await shop.post("/products", PRODUCT, content_encoding="identity")).status == 201


async def test_a_patch_names_the_patches_that_it_accepts(shop: Any) -> None:
    key = (await shop.post("/products", PRODUCT)).json["id"]
    refused = await shop.patch(f"/products/{key}", {}, content_type="application/json-patch+json")
    assert refused.status == 415
    assert refused.headers["accept-patch"] == "application/json, application/merge-patch+json"


async def test_a_body_over_the_bound_is_413(shop: Any) -> None:
    refused = await shop.post("/products", {**PRODUCT, "secret": "x" * 100_000})
    assert (refused.status, refused.slug) == (413, "body-too-large")


async def test_of_duplicate_keys_the_last_counts(shop: Any) -> None:
    body = b'{"sku": 5, "price": 1, "sku": "A9"}'
    assert (await shop("POST", "/products", raw=body)).json["sku"] == "A9"


async def test_digits_beyond_a_float_are_kept_or_refused_never_rounded(shop: Any) -> None:
    body = b'{"sku": "A1", "price": 1234567890123456.78, "stock": 3, "details": [1234567890123456.78]}'
    made = await shop("POST", "/products", raw=body)
    assert made.json["price"] == "1234567890123456.78"
    assert made.json["details"] == [1234567890123456.78]
    body = b'{"sku": "A2", "price": 0.10000000000000000001}'
    assert (await shop("POST", "/products", raw=body)).findings == {"#/price": "format"}
