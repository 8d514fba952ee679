"""The client against servers that are slow, broken or hostile: real ones, on this machine."""

from __future__ import annotations

import json
import threading

import pytest

from insight_ext import ArgumentError, EngineError
from lightning_integration.rollouts import http_client
from lightning_integration.rollouts.http_client import HttpClient


def send(handler, status=200, text="{}", **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(text.encode())))
    handler.end_headers()
    handler.wfile.write(text.encode())


def drip_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    drip(handler)


def drip_body(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    drip(handler)


def drip(handler):
    while True:
        threading.Event().wait(0.01)
        handler.wfile.write(b" ")


def never_answer(handler):
    handler.rfile.read(1)


def endless_body(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        handler.wfile.write(b"{" * 65536)


def endless_headers(handler):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(10**9):
        handler.wfile.write(b"X-%d: more\r\n" % number)


def broken_off(handler):
    handler.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"choices": [')
    handler.close_connection = True


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(http_client, "FIRST_PAUSE", 0.0)


@pytest.mark.parametrize("answer", [drip_headers, drip_body, never_answer])
def test_a_call_ends_at_its_time_however_slow_the_server(serving, answer):
    with serving(answer) as (url, _), pytest.raises(EngineError, match=r"within 0\.3 seconds, got"):
        HttpClient(url, seconds=0.3).get("/slow")


def test_an_answer_without_end_is_cut_at_its_size(serving):
    with serving(endless_body) as (url, _), pytest.raises(EngineError, match="at most 100 bytes"):
        HttpClient(url).post_all("/endless", [{}], max_bytes=100)


@pytest.mark.parametrize("answer", [endless_headers, broken_off, lambda handler: None])
def test_what_is_no_answer_is_one_sentence(serving, answer):
    with serving(answer) as (url, asked), pytest.raises(EngineError, match=r"/x: expected a runn"):
        HttpClient(url, seconds=30, retries=1).post("/x", {})
    assert len(asked) == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(serving, status):
    def answer(handler):
        send(handler, status, Location="http://127.0.0.1:1/elsewhere")

    with serving(answer) as (url, asked):
        with pytest.raises(EngineError, match=r"1:1/elsewhere; redirects are not followed"):
            HttpClient(url).post("/x", {})
        assert asked == ["/x"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(serving, status):
    def answer(handler):
        send(handler, *((status,) if len(asked) < 3 else ()), text='{"a": 1}')

    with serving(answer) as (url, asked):
        assert HttpClient(url).post("/x", {}) == {"a": 1}
        assert len(asked) == 3


def test_a_server_that_fails_for_ever_is_given_up(serving):
    with serving(lambda handler: send(handler, 500, "out of\nmemory\x1b[2J")) as (url, asked):
        with pytest.raises(EngineError, match=r"got 500 .*: out of memory\\x1b\[2J$"):
            HttpClient(url, retries=2).get("/x")
        assert len(asked) == 3


@pytest.mark.parametrize("status", [400, 401, 404, 422, 501])
def test_a_refusal_is_not_asked_again(serving, status):
    with serving(lambda handler: send(handler, status, "no")) as (url, asked):
        with pytest.raises(EngineError, match=f"expected an answer, got {status} .*: no"):
            HttpClient(url).get("/x")
        assert len(asked) == 1


def test_the_pause_that_a_server_asks_for_counts_towards_the_time(serving):
    with serving(lambda handler: send(handler, 429, Retry_After="9999")) as (url, asked):
        with pytest.raises(EngineError, match=r"within 0\.3 seconds"):
            HttpClient(url, seconds=0.3).get("/x")
        assert len(asked) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html>", "expected JSON, got <html>"),
        ("[1]", r"expected a JSON object, got \[1\]"),
        ("null", "expected a JSON object, got null"),
        ("[" * 100_000, "expected JSON"),
        ('{"a": ' + "9" * 5000 + "}", "expected JSON"),
        ('{"a": 1', "expected JSON"),
    ],
)
def test_what_is_no_json_object_is_one_sentence(serving, text, message):
    with (
        serving(lambda handler: send(handler, text=text)) as (url, _),
        pytest.raises(EngineError, match=message) as caught,
    ):
        HttpClient(url).get("/x")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_compressed_bomb_is_not_unpacked(serving):
    def answer(handler):
        send(handler, text="\x01", Content_Encoding="gzip")

    with serving(answer) as (url, _), pytest.raises(EngineError, match=r"JSON, got \\x01"):
        HttpClient(url).get("/x")


def test_answers_come_in_the_order_of_the_requests(serving):
    with serving(lambda handler: send(handler, text=json.dumps(handler.body))) as (url, _):
        bodies = [{"i": i} for i in range(30)]
        assert HttpClient(url, connections=4).post_all("/echo", bodies, 100) == bodies


def test_a_notebook_whose_loop_is_running_can_ask_too(serving):
    import asyncio

    async def cell(url):
        return HttpClient(url).get("/x")

    with serving(send) as (url, _):
        assert asyncio.run(cell(url)) == {}


def test_nobody_at_the_address_is_one_sentence():
    with pytest.raises(EngineError, match="127.0.0.1:9/x: expected a running `vllm serve`"):
        HttpClient("http://127.0.0.1:9", retries=1).get("/x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "localhost:8000"}, "url: expected one like http"),
        ({"url": "file:///etc/passwd"}, "url: expected one like http"),
        ({"seconds": 0}, "seconds: expected more than 0"),
        ({"retries": -1}, "retries: expected a whole number of at least 0, got -1"),
        ({"connections": 0}, "connections: expected a whole number of at least 1, got 0"),
        ({"url": None}, "url: expected one like http://127.0.0.1:8000, got None"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ArgumentError, match=message):
        HttpClient(**{"url": "http://127.0.0.1", **options})
