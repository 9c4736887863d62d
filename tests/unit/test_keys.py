"""API keys: what a key opens, what a file may say, and that no refusal shows what it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.unit.test_gateway import Client, a_gateway, a_revision, host, segments_of
from watcherd.errors import SettingsError
from watcherd.gateway import Gateway
from watcherd.keys import PREFIX, Keys, make_key
from watcherd.problems import NO_SUCH_MODEL, Problem

DIGEST = "sha256:" + "0" * 64


def bearer(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + key.encode())]


def refusal(keys: Keys, key: str, method: str, model: str) -> int | None:
    problem = keys.refusal(bearer(key), method, model)
    return None if problem is None else problem.type.status


def test_a_key_opens_the_models_that_its_globs_name_and_no_others() -> None:
    key, line = make_key("app", ["shop*", "user-management"], ["orders"])
    keys = Keys(None, line)

    assert refusal(keys, key, "GET", "shop") is None
    assert refusal(keys, key, "GET", "shop-eu") is None
    assert refusal(keys, key, "HEAD", "user_management") is None
    assert refusal(keys, key, "GET", "orders") is None
    assert refusal(keys, key, "POST", "orders") is None
    assert refusal(keys, key, "POST", "shop") == 403
    assert refusal(keys, key, "GET", "my-shop") == 403
    assert refusal(keys, key, "GET", "order") == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "INVENTED"])
def test_whatever_does_not_only_read_is_a_write(method: str) -> None:
    key, line = make_key("app", ["*"], [])

    assert refusal(Keys(None, line), key, method, "shop") == 403


def test_a_key_with_no_globs_to_write_writes_nothing() -> None:
    key, line = make_key("app", ["?"], [])
    keys = Keys(None, line)

    assert refusal(keys, key, "GET", "a") is None
    assert refusal(keys, key, "GET", "ab") == 403
    assert refusal(keys, key, "POST", "") == 403


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Basic abc")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer wk_unknown")],
        [(b"x-api-key", b"\xff")],
    ],
)
def test_without_a_key_that_is_known_nothing_opens(headers: list[tuple[bytes, bytes]]) -> None:
    _, line = make_key("app", ["*"], ["*"])
    problem = Keys(None, line).refusal(headers, "GET", "shop")

    assert problem is not None
    assert problem.type.status == 401
    assert problem.headers["www-authenticate"].startswith("Bearer")


def test_a_hash_is_no_key() -> None:
    _, line = make_key("app", ["*"], ["*"])

    assert refusal(Keys(None, line), line.split("sha256:")[1][:64], "GET", "shop") == 401


def test_a_key_may_also_be_sent_in_a_header_of_its_own() -> None:
    key, line = make_key("app", ["*"], [])

    assert Keys(None, line).refusal([(b"x-api-key", key.encode())], "GET", "shop") is None


def test_a_key_is_long_random_and_only_its_hash_is_in_the_line() -> None:
    key, line = make_key("app", ["*"], [])

    assert key.startswith(PREFIX)
    assert len(key) >= 40
    assert key != make_key("app", ["*"], [])[0]
    assert key not in line
    assert hashlib.sha256(key.encode()).hexdigest() in line


def test_a_file_has_comments_and_a_setting_adds_to_it(tmp_path: Path) -> None:
    first, first_line = make_key("first", ["*"], [])
    second, second_line = make_key("second", ["*"], [])
    third, third_line = make_key("third", ["*"], [])
    file = tmp_path / "keys.txt"
    file.write_text(f"# keys\n\n{first_line}  # of the shop\n")
    keys = Keys(file, f"{second_line}; {third_line};")

    assert [refusal(keys, key, "GET", "shop") for key in (first, second, third)] == [None, None, None]


def test_without_any_key_nobody_comes_in(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("# none yet\n")

    assert refusal(Keys(file, None), "x", "GET", "shop") == 401


@pytest.mark.parametrize(
    "line",
    [
        "app",
        f"a/b {DIGEST} read=*",
        "app sha256:12 read=*",
        f"app {DIGEST[7:]} read=*",
        f"app {DIGEST}",
        f"app {DIGEST} delete=*",
        f"app {DIGEST} read",
        f"app {DIGEST} read=",
        f"app {DIGEST} read=a,,b",
        f"app {DIGEST} read=[a]",
        f"app {DIGEST} read=a read=b",
        "wk_planted sha256:12 read=*",
        "app wk_planted read=*",
        f"app {DIGEST} read=* wk_planted",
    ],
)
def test_a_line_that_cannot_be_read_is_named_by_its_number_and_not_shown(line: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"# keys\n{line}\n")
    with pytest.raises(SettingsError, match=r"line 2 of .*keys\.txt") as refused:
        Keys(file, None)

    assert "planted" not in str(refused.value)
    assert DIGEST not in str(refused.value)


@pytest.mark.parametrize("second", [f"app sha256:{'1' * 64} read=*", f"other {DIGEST} read=*"])
def test_a_name_and_a_hash_are_there_once(second: str) -> None:
    with pytest.raises(SettingsError, match=r"entry 2 of api_keys: the API key .* is there twice"):
        Keys(None, f"app {DIGEST} read=*;{second}")


def test_a_file_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the API keys in .*none\.txt"):
        Keys(tmp_path / "none.txt", None)


def test_a_file_that_is_read_again_and_is_broken_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    old, old_line = make_key("old", ["*"], [])
    new, new_line = make_key("new", ["*"], [])
    file = tmp_path / "keys.txt"
    file.write_text(old_line)
    keys = Keys(file, None)
    file.write_text(f"{new_line}\nbroken\n")
    with pytest.raises(SettingsError):
        keys.load()
    assert (refusal(keys, old, "GET", "shop"), refusal(keys, new, "GET", "shop")) == (None, 401)

    file.write_text(new_line)
    keys.load()
    assert (refusal(keys, old, "GET", "shop"), refusal(keys, new, "GET", "shop")) == (401, None)


async def test_the_gateway_asks_for_a_key_before_it_says_what_exists_and_never_on_the_host() -> None:
    key, line = make_key("app", ["shop"], [])
    gateway = Gateway(
        api_prefix="/api",
        max_body_bytes=10,
        missing=lambda name: Problem(NO_SUCH_MODEL, name),
        keys=Keys(None, line),
    )
    gateway.host = host
    gateway.swap(a_gateway(a_revision(segments_of), a_revision(segments_of, domain="near")).table)

    for path in ("/api/shop", "/api/none"):
        client = await Client(path).call(gateway)
        assert client.status == 401
        assert b"www-authenticate" in client.headers
    assert (await Client("/api/shop", headers=bearer(key)).call(gateway)).status == 200
    refused = await Client("/api/near", headers=bearer(key)).call(gateway)
    assert (refused.status, refused.json["type"]) == (403, "/problems/not-permitted")
    assert (await Client("/api/shop", "POST", headers=bearer(key)).call(gateway)).status == 403
    assert (await Client("/docs").call(gateway)).status == 200
