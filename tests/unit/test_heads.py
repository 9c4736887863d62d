"""What the head of a request must not say, on real sockets: a refusal is a problem, a line in the log, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httptools
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tests.unit.test_connection import NOW, POST, Served, a_prompt_revision, answers, echo, problem_of, prompt, serving
from tests.unit.test_gateway import a_revision
from watcherd.gateway import Gateway
from watcherd.wire import Answer, Call, Receive, Scope, Send, send_answer

HOST = b"host: a\r\n"
WAYS = {"at once": NOW, "usual": POST}
BODY = b"2\r\n{}\r\n0\r\n\r\n"


# One server for all of them: each takes a fifth of a second to stop.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served() -> AsyncIterator[Served]:
    async with serving(a_prompt_revision()) as served:
        yield served


async def refused(served: Served, head: bytes) -> tuple[int, str]:
    """The status and the detail of the only answer; the log has one line of it that says the same."""
    with capture_logs() as lines:
        async with asyncio.timeout(120):
            problem = problem_of(await served.exchange(head))
    assert [(line["event"], line["status"], line["reason"]) for line in lines] == [
        ("request", problem["status"], problem["detail"])
    ]
    assert lines[0]["request_id"] == problem["request_id"]
    return problem["status"], problem["detail"]


async def answered(served: Served, *requests: bytes) -> list[bytes]:
    """The bodies of the answers to requests that are sent in one piece."""
    async with served.connected() as (reader, writer):
        writer.write(b"".join(requests))
        found = await answers(reader, len(requests))
        assert all(head.startswith(b"HTTP/1.1 200 ") for head, _ in found)
        return [body for _, body in found]


# -- how a body is framed --------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"transfer-encoding: gzip, chunked\r\n", 501),
        (b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", 501),
        (b"transfer-encoding: , chunked\r\n", 501),
        (b"transfer-encoding: chunked, gzip\r\n", 400),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n", 400),
        (b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", 400),
        (b"transfer-encoding: identity\r\n", 400),
        (b"transfer-encoding: xchunked\r\n", 400),
        (b"transfer-encoding: chunked;a=b\r\n", 400),
        (b"transfer-encoding:\r\n", 400),
        (b"transfer-encoding: \x0bchunked\r\n", 400),
        (b"transfer-encoding : chunked\r\n", 400),
        (b"transfer-encoding: chunked\r\ncontent-length: 2\r\n", 400),
        (b"content-length: 2\r\ntransfer-encoding: chunked\r\n", 400),
        (b"content-length: 2\r\ncontent-length: 2\r\n", 400),
        (b"content-length: 2\r\ncontent-length: 3\r\n", 400),
        (b"content-length: 2, 2\r\n", 400),
        (b"content-length: +2\r\n", 400),
        (b"content-length: -2\r\n", 400),
        (b"content-length: 0x2\r\n", 400),
        (b"content-length: 2_0\r\n", 400),
        (b"content-length:\r\n", 400),
        (b"content-length: 99999999999999999999\r\n", 400),
        (b"content-length : 2\r\n", 400),
    ],
)
async def test_a_body_whose_end_others_might_see_elsewhere_is_refused(
    served: Served, way: str, lines: bytes, status: int
) -> None:
    found, detail = await refused(served, WAYS[way] + lines + b"\r\n" + BODY)
    assert found == status
    assert status == 400 or "send the body as chunked alone" in detail


async def test_a_coding_of_http_1_1_in_a_request_of_http_1_0_is_refused(served: Served) -> None:
    old = POST.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n" + BODY
    assert await refused(served, old) == (
        400,
        "HTTP/1.0 has no Transfer-Encoding: send Content-Length, or HTTP/1.1",
    )


async def test_chunked_is_read_in_whatever_case_it_is_written(served: Served) -> None:
    assert await answered(served, POST + b"transfer-encoding: CHUNKED\r\n\r\n" + BODY) == [b"{}"]


# -- lines of a head -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "lines",
    [
        b"a: b\r\n c\r\n\r\n",  # folded
        b"x : b\r\n\r\n",
        b"x\t: b\r\n\r\n",
        b"a: b\rc\r\n\r\n",
        b"a: b\nc: d\r\n\r\n",
        b"a: b\0c\r\n\r\n",
        b"a: b\x01c\r\n\r\n",
        b"no colon\r\n\r\n",
        b": no name\r\n\r\n",
        b"a(b: c\r\n\r\n",
    ],
)
async def test_a_line_that_others_might_read_in_another_way_is_refused(served: Served, way: str, lines: bytes) -> None:
    assert (await refused(served, WAYS[way] + lines))[0] == 400


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /api/shop/now HTTP/2.0\r\n", 505),
        (b"GET /api/shop/now HTTP/0.9\r\n", 505),
        (b"CONNECT a:80 HTTP/1.1\r\n", 501),
        (b"CONNECT /api/shop/now HTTP/1.1\r\n", 501),
        (b"FOO /api/shop/now HTTP/1.1\r\n", 400),
        (b"GET\t/api/shop/now HTTP/1.1\r\n", 400),
        (b"GET /api/shop/now now HTTP/1.1\r\n", 400),
        (b"GET /api/shop/\xc3\xa4 HTTP/1.1\r\n", 400),
        (b"GET api/shop/now HTTP/1.1\r\n", 400),
        (b"GET * HTTP/1.1\r\n", 400),
        (b"GET /api/shop/now?" + b"x" * 70_000 + b" HTTP/1.1\r\n", 414),
    ],
)
async def test_a_first_line_that_means_nothing_here_is_refused(served: Served, line: bytes, status: int) -> None:
    assert (await refused(served, line + HOST + b"\r\n"))[0] == status
    before = NOW + b"\r\n"  # of a connection of which the host is known to be in order
    raw = await served.exchange(before + line + HOST + b"\r\n")
    assert raw.count(b"HTTP/1.1 200 OK\r\n") == 1
    assert b"\r\nHTTP/1.1 %d " % status in raw.replace(b"/api/shop/nowHTTP", b"\r\nHTTP")


async def test_a_request_of_before_there_were_headers_is_refused(served: Served) -> None:
    assert (await refused(served, b"GET /api/shop/now\r\n\r\n"))[0] == 505


# -- the host --------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "host",
    [
        b"a b",
        b"user@a",
        b"user:secret@a",
        b"a:x",
        b"::1",
        b"[::1",
        b"a/b",
        b"http://a",
        b"\xe9",
        b"a%zz",
        b"a?b",
    ],
)
async def test_a_host_that_names_none_is_refused(served: Served, way: str, host: bytes) -> None:
    head = WAYS[way].replace(b"host: a\r\n", b"host: %b\r\n" % host) + b"content-length: 0\r\n\r\n"
    status, detail = await refused(served, head)
    assert (status, detail.startswith("the header Host names no host: ")) == (400, True)
    assert (await refused(served, head.replace(b"1.1", b"1.0")))[0] == 400
    # Nor after one that was in order on the same connection.
    assert b"HTTP/1.1 400 " in await served.exchange(NOW + b"\r\n" + head)


@pytest.mark.parametrize("host", [b"a", b"a:80", b"a:", b"[::1]:80", b"127.0.0.1", b"a_b.example", b"a%41", b""])
async def test_a_host_as_the_grammar_has_it_is_taken(served: Served, host: bytes) -> None:
    """An empty one as well: the grammar allows it, and there is one server here whatever it is called."""
    assert await answered(served, NOW.replace(b"host: a", b"host: " + host) + b"\r\n") == [b"/api/shop/now"]


# -- the form of an address ------------------------------------------------------------------------


async def test_of_an_address_with_a_host_that_host_counts_whatever_the_header_says() -> None:
    hosts = []

    def look(call: Call) -> Answer | None:
        hosts.append(call.header(b"host"))
        return prompt(call)

    revision = a_revision(echo)
    revision.at_once = look
    absolute = NOW.replace(b" /", b" http://b:80/")
    requests = [absolute + b"\r\n", absolute.replace(HOST, b"host:\r\n") + b"\r\n", NOW + b"\r\n"]
    async with serving(revision) as served:
        assert await answered(served, *requests) == [b"/api/shop/now"] * 3
    assert hosts == [b"b:80", b"b:80", b"a"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (b"http://u:p@a/api", "the address names a user: send credentials in the header Authorization"),
        (b"http:///api", None),
        (b"http://[::1/api", None),
        (b"ftp://a/api", "the address is one of 'ftp': send one of http, or its path"),
    ],
)
async def test_an_address_of_elsewhere_is_refused(served: Served, address: bytes, said: str | None) -> None:
    status, detail = await refused(served, b"GET %b HTTP/1.1\r\n" % address + HOST + b"\r\n")
    assert status == 400
    assert said is None or detail == said


@pytest.mark.parametrize(
    ("line", "path", "query"),
    [
        (b"GET http://a", "/", b""),
        (b"GET HTTPS://a?b=1", "/", b"b=1"),
        (b"OPTIONS http://a?b=1", "/", b"b=1"),
        (b"GET //a/api", "//a/api", b""),
    ],
)
async def test_what_is_no_path_of_a_model_is_the_hosts(
    monkeypatch: pytest.MonkeyPatch, line: bytes, path: str, query: bytes
) -> None:
    async def host(scope: Scope, receive: Receive, send: Send) -> None:
        answer = Answer(200, scope["path"].encode() + b" " + scope["query_string"])
        await send_answer(send, answer, head=False, receive=receive)

    monkeypatch.setattr(Gateway, "host", staticmethod(host), raising=False)
    async with serving(a_revision(echo)) as served:
        assert await answered(served, line + b" HTTP/1.1\r\n" + HOST + b"\r\n") == [path.encode() + b" " + query]


@pytest.mark.parametrize("address", [b"*", b"http://a"])
async def test_options_of_the_server_as_a_whole_are_its_methods(served: Served, address: bytes) -> None:
    raw = await served.exchange(b"OPTIONS %b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" % address)
    assert raw.startswith(b"HTTP/1.1 204 ")
    assert b"\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n" in raw


# -- wishes ----------------------------------------------------------------------------------------

NEXT = POST + b"content-length: 4\r\n\r\nnext"
UPGRADE = b"upgrade: h2c\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AAMAAABk\r\n"


@pytest.mark.parametrize("way", WAYS)
async def test_another_protocol_is_not_granted_and_what_comes_next_is_answered(served: Served, way: str) -> None:
    wish = WAYS[way] + UPGRADE + b"\r\n"
    said = b"/api/shop/now" if way == "at once" else b"nothing"
    assert await answered(served, wish, NEXT) == [said, b"next"]


@pytest.mark.parametrize("cut", [0, 1, 2])
@pytest.mark.parametrize(
    ("length", "sent"),
    [(b"content-length: %d", b"%b"), (b"transfer-encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n")],
)
async def test_the_body_of_a_request_that_wishes_for_another_protocol_is_never_the_next_request(
    served: Served, cut: int, length: bytes, sent: bytes
) -> None:
    smuggled = b"DELETE /api/shop/everything HTTP/1.1\r\nhost: a\r\n\r\n"
    line = length % len(smuggled) if b"%" in length else length
    body = sent % ((len(smuggled), smuggled) if b"%x" in sent else (smuggled,))
    head = POST + UPGRADE + line + b"\r\n\r\n"
    pieces = [[head + body + NEXT], [head, body + NEXT], [head[:-1], head[-1:] + body, NEXT]]
    with capture_logs() as lines:
        async with served.connected() as (reader, writer):
            for piece in pieces[cut]:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            assert [body for _, body in await answers(reader, 2)] == [smuggled, b"next"]
    assert [line["method"] for line in lines if line["event"] == "request"] == ["POST", "POST"]


async def test_whoever_asks_whether_to_send_the_body_is_told_to(served: Served) -> None:
    async with served.connected() as (reader, writer):
        writer.write(POST + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert [body for _, body in await answers(reader, 1)] == [b"{}"]


async def test_whoever_asks_whether_to_send_too_large_a_body_is_told_not_to(served: Served) -> None:
    raw = await served.exchange(POST + b"expect: 100-continue\r\ncontent-length: 200000\r\n\r\n")
    assert raw.startswith(b"HTTP/1.1 413 ")


async def test_a_client_of_before_http_1_1_is_told_nothing_in_between() -> None:
    entered = asyncio.Event()

    async def wait_for_body(call: Call) -> Answer:
        entered.set()
        return await echo(call)

    async with serving(a_revision(wait_for_body)) as served, served.connected() as (reader, writer):
        writer.write(POST.replace(b"1.1", b"1.0") + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        await entered.wait()
        writer.write(b"{}")
        assert (await reader.read()).startswith(b"HTTP/1.1 200 ")


# -- our own faults --------------------------------------------------------------------------------


async def test_a_fault_of_ours_while_a_head_is_read_is_told_of_as_ours() -> None:
    def broken(_call: Call) -> Answer | None:
        raise ZeroDivisionError("unforeseen")

    revision = a_revision(echo)
    revision.at_once = broken
    with capture_logs() as lines:
        async with serving(revision) as served:
            problem = problem_of(await served.exchange(NOW + b"\r\n"))
    failed, told = lines
    assert (problem["status"], problem["type"]) == (500, "/problems/internal")
    assert (failed["event"], failed["log_level"]) == ("request.failed", "error")
    assert isinstance(failed["exc_info"], ZeroDivisionError)
    assert failed["request_id"] == told["request_id"] == problem["request_id"]


async def test_the_parser_still_stops_after_a_wish_for_another_protocol() -> None:
    """What `Connection` does about it rests on where it says that it stopped."""

    class Nothing:
        pass

    head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nupgrade: b\r\nconnection: upgrade\r\n\r\n"
    with pytest.raises(httptools.HttpParserUpgrade) as stopped:
        httptools.HttpRequestParser(Nothing()).feed_data(head + b"{}")
    assert stopped.value.args == (len(head),)
