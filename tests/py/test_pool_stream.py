"""Streams: what passes, how they begin, fail and end (issue "The pool" 3 and 4; details.md 9)."""

import json
import threading
import time

import pytest

from pool import (CHAT, COMPLETIONS, DONE, FIRST, SECOND, SSE, USAGE_CHUNK, Stream, answer, ask, chat, chunk, drop, event, events_of,
                  fail, hang, is_error_event, providers, served, streams)
from waiting import SCALE, eventually, mostly_within, opened

ASKED = {"stream_options": {"include_usage": True}}


def stream_of(pool, *events, end=True, body=None, fields=(), **config):
    """The whole answer to a stream whose upstream sends these pieces."""
    a = pool.upstream("a", streams(*events, end=end), models=None)
    return ask(pool.start(a, **config), body or chat(stream=True, **ASKED))


# ---- what passes


PIECES = {
    "usual": [FIRST, SECOND, DONE],
    "in one piece": [FIRST + SECOND + DONE],
    "byte by byte": [bytes([byte]) for byte in FIRST + SECOND + DONE],
    "cut in the middle": [FIRST[:7], FIRST[7:] + SECOND[:-1], b"\n", DONE[:5], DONE[5:]],
    "CRLF": [FIRST.replace(b"\n", b"\r\n"), DONE.replace(b"\n", b"\r\n")],
    "CRLF cut": [FIRST.replace(b"\n", b"\r\n")[:-1], b"\n" + DONE.replace(b"\n", b"\r\n")[:-3], b"\n\r\n"],
    "comments": [b": OPENROUTER PROCESSING\n\n", b":\n\n", FIRST, b": ping\n\n", SECOND, DONE],
    "other fields": [b"event: message\nid: 7\nretry: 100\n" + FIRST, b"id\n" + SECOND, DONE],
    "no space": [b'data:{"choices":[{"delta":{"content":"x"}}]}\n\n', b"data:[DONE]\n\n"],
    "several lines": [b'data: {"choices":\ndata: [{"index":0,"delta":{}}]}\n\n', DONE],
    "unicode": [event(chunk({"content": "grüße 你好 🔥"})), DONE],
    "blank lines first": [b"\n\n\n", FIRST, DONE],
    "no choices": [b'data: {"prompt_filter_results":[],"choices":[]}\n\n', FIRST, DONE],
    "usage null": [event(chunk({"content": "x"}, usage=None)), DONE],
    "usage with choices": [FIRST, event(chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3})), DONE],
    "odd spacing": [b'data:   { "choices" : [ { "delta" : { } } ] }  \n\n', DONE],
    "long event": [event(chunk({"content": "z" * 300_000})), DONE],
    "not JSON": [FIRST, b"data: hello\n\n", DONE],
    "without DONE": [FIRST, SECOND],
}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
@pytest.mark.parametrize("asked", [True, False], ids=["usage asked", "usage added"])
def test_events_pass_byte_for_byte(pool, pieces, asked):
    response = stream_of(pool, *pieces, body=chat(stream=True, **(ASKED if asked else {})))
    assert response.status == 200 and response.complete
    assert response.body == b"".join(pieces)


def test_fields_of_a_stream(pool):
    response = stream_of(pool, FIRST, DONE)
    assert response.value("Content-Type").startswith("text/event-stream")
    assert response.value("X-Hestia-Provider") == "a" and response.value("X-Hestia-Model") == "m"
    assert response.values("Content-Length") == []


@pytest.mark.parametrize("kind", [b"text/event-stream", b"text/event-stream; charset=utf-8", b"Text/Event-Stream;charset=UTF-8"])
def test_a_stream_that_ends_with_its_connection(pool, kind):
    def handler(peer, request):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\n\r\n" + FIRST + DONE)
        peer.close()

    a = pool.upstream("a", handler, models=None)
    response = ask(pool.start(a), chat(stream=True))
    assert response.body == FIRST + DONE and response.complete


def test_each_event_comes_at_once(pool):
    """The client has an event before the upstream sends the next."""
    seen = [threading.Event() for _ in range(3)]

    def handler(peer, request):
        peer.begin_chunked(SSE)
        for i, one in enumerate((FIRST, SECOND, DONE)):
            peer.chunk(one)
            opened(seen[i], f"the client has event {i}")
        peer.send(b"0\r\n\r\n")

    a = pool.upstream("a", handler, models=None)
    with Stream(pool.start(a)) as stream:
        for i, one in enumerate((FIRST, SECOND, DONE)):
            assert stream.next() + b"\n\n" == one
            seen[i].set()
        assert stream.next() is None and stream.response.complete


def test_the_head_waits_for_the_first_event(pool):
    """Comments of the upstream are no events."""
    go = threading.Event()

    def handler(peer, request):
        peer.begin_chunked(SSE)
        peer.chunk(b": thinking\n\n")
        opened(go)
        peer.chunk(FIRST + DONE)
        peer.send(b"0\r\n\r\n")

    a = pool.upstream("a", handler, models=None)
    gateway = pool.start(a)
    with Stream(gateway) as stream:
        a.wait_calls(1)
        stream.connection.sock.settimeout(0.2)
        with pytest.raises(AssertionError, match="nothing came"):
            stream.connection.fill()
        stream.connection.sock.settimeout(20)
        go.set()
        assert stream.head().status == 200
        assert stream.next_event() + b"\n\n" == FIRST


def test_a_plain_answer_to_a_stream_request_passes(pool):
    """Some upstreams do not stream."""
    a = pool.upstream("a", lambda peer, request: peer.respond(200, {"object": "chat.completion", "choices": []}), models=None)
    response = ask(pool.start(a), chat(stream=True))
    assert response.status == 200 and response.json["object"] == "chat.completion"


def test_text_completions_stream(pool):
    a = pool.upstream("a", models=None)
    response = ask(pool.start(a), {"model": "m", "prompt": "Hi", "stream": True}, path=COMPLETIONS)
    *parts, done = events_of(response)
    assert done == "[DONE]" and "".join(json.loads(part)["choices"][0]["text"] for part in parts) == "Hello, wörld!"


def test_http_1_0_client(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a)
    with gateway.connect() as connection:
        connection.request("POST", CHAT, body=json.dumps(chat(stream=True)).encode(), version="HTTP/1.0")
        response = connection.read_response()
    assert response.status == 200 and response.body.endswith(DONE) and response.values("Transfer-Encoding") == []


def test_stream_false_is_plain(pool):
    a = pool.upstream("a", models=None)
    response = ask(pool.start(a), chat(stream=False))
    assert response.json["object"] == "chat.completion" and b"stream_options" not in a.last.body


# ---- usage


@pytest.mark.parametrize("path, body", [(CHAT, chat(stream=True)), (COMPLETIONS, {"model": "m", "prompt": "Hi", "stream": True})])
def test_usage_is_asked_for_and_kept_back(pool, path, body):
    a = pool.upstream("a", models=None)
    response = ask(pool.start(a), body, path=path)
    assert json.loads(a.last.body) == {**body, "stream_options": {"include_usage": True}}
    assert b"usage" not in response.body and response.body.endswith(DONE)


def test_usage_is_passed_when_asked(pool):
    a = pool.upstream("a", models=None)
    raw = json.dumps(chat(stream=True, **ASKED)).encode()
    response = ask(pool.start(a), raw)
    assert a.last.body == raw
    assert USAGE_CHUNK in response.body


@pytest.mark.parametrize("options, expected", [
    ('{"include_usage":false}', {"include_usage": True}),
    ("{}", {"include_usage": True}),
    ("null", {"include_usage": True}),
    ('{"include_obfuscation":true}', {"include_obfuscation": True, "include_usage": True}),
    ('{"include_usage":false,"x":[1,{"y":2}]}', {"x": [1, {"y": 2}], "include_usage": True}),
    ('{"x":1,"include_usage":null}', {"x": 1, "include_usage": True}),
])
def test_other_stream_options_stay(pool, options, expected):
    a = pool.upstream("a", models=None)
    response = ask(pool.start(a), f'{{"model":"m","stream":true,"stream_options":{options},"messages":[]}}'.encode())
    assert json.loads(a.last.body) == {"model": "m", "stream": True, "stream_options": expected, "messages": []}
    assert len(json.loads(a.last.body, object_pairs_hook=list)) == 4  # and each key once
    assert b"usage" not in response.body and response.body.endswith(DONE)


def test_the_rest_of_the_body_stays(pool):
    a = pool.upstream("a", models=None)
    ask(pool.start(a), b'{ "z" : 1.0 , "stream":true,\n"model" : "m" , "z" : [ ] }')
    for part in (b'"z" : 1.0 ', b'"stream":true', b'"model" : "m"', b'"z" : [ ]'):
        assert part in a.last.body
    assert [key for key, _ in json.loads(a.last.body, object_pairs_hook=list) if key != "stream_options"] == ["z", "stream", "model", "z"]


def test_usage_is_not_asked_where_forbidden(pool):
    a = pool.upstream("a", models=None)
    raw = json.dumps(chat(stream=True)).encode()
    ask(pool.start(a.provider(stream_usage="never")), raw)
    assert a.last.body == raw


def test_usage_chunk_cut_anywhere_is_kept_back(pool):
    for cut in (1, 10, len(USAGE_CHUNK) // 2, len(USAGE_CHUNK) - 1):
        a = pool.upstream("a", streams(FIRST, USAGE_CHUNK[:cut], USAGE_CHUNK[cut:], DONE), models=None)
        assert ask(pool.start(a), chat(stream=True)).body == FIRST + DONE


def test_usage_chunk_in_the_same_piece(pool):
    assert stream_of(pool, FIRST + USAGE_CHUNK + DONE, body=chat(stream=True)).body == FIRST + DONE
    assert stream_of(pool, FIRST + USAGE_CHUNK + DONE).body == FIRST + USAGE_CHUNK + DONE


# ---- failing before the first event


@pytest.mark.parametrize("handler", [
    pytest.param(streams(end=True), id="empty"),
    pytest.param(streams(end=False), id="reset after the head"),
    pytest.param(streams(b": ping\n\n", end=True), id="only comments"),
    pytest.param(streams(b": ping\n\n", end=False), id="comment, then reset"),
    pytest.param(streams(FIRST[:20], end=False), id="half an event"),
    pytest.param(streams(event({"error": {"message": "overloaded", "code": 503}})), id="an error in its place"),
    pytest.param(streams(b'event: error\ndata: {"error":{"message":"overloaded"}}\n\n'), id="an error event"),
    pytest.param(fail(500), id="500"),
    pytest.param(fail(429), id="429"),
    pytest.param(drop, id="closes"),
])
def test_another_provider_streams(pool, handler):
    a, b = pool.upstream("a", handler), pool.upstream("b")
    response = ask(pool.start(a, b, routing={"strategy": "failover"}), chat(stream=True))
    assert served(response) == "b" and response.value("X-Hestia-Attempts") == "2"
    assert response.complete and response.body.endswith(DONE) and b"error" not in response.body and b"ping" not in response.body
    assert len(a.calls) == len(b.calls) == 1


@pytest.mark.parametrize("begin", [lambda peer: None, lambda peer: peer.begin_chunked(SSE),
                                   lambda peer: (peer.begin_chunked(SSE), peer.chunk(b": ping\n\n"))], ids=["silent", "head", "comment"])
def test_first_byte_time_out(pool, begin):
    gone = threading.Event()

    def handler(peer, request):
        begin(peer)
        peer.is_closed()
        gone.set()
        peer.close()

    a, b = pool.upstream("a", handler), pool.upstream("b")
    gateway = pool.start(a, b, routing={"strategy": "failover"}, timeouts={"first_byte": 1, "request": 300})
    assert served(ask(gateway, chat(stream=True))) == "b"
    opened(gone, "the slow one was given up")


def test_first_byte_is_as_request_when_not_given(pool):
    a, b = pool.upstream("a", hang), pool.upstream("b")
    gateway = pool.start(a, b, routing={"strategy": "failover"}, timeouts={"request": 1})
    assert served(ask(gateway, chat(stream=True))) == "b"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_an_upstreams_error_keeps_its_status(pool, status):
    a = pool.upstream("a", fail(status, "because"), models=None)
    response = ask(pool.start(a), chat(stream=True))
    assert response.status == status and response.json["error"]["message"] == "because"
    assert response.value("Content-Type") == "application/json"


def test_a_single_stream_that_begins_with_an_error(pool):
    """No 200 has gone out, so it does not become one."""
    a = pool.upstream("a", streams(event({"error": {"message": "overloaded"}}), DONE), models=None)
    response = ask(pool.start(a), chat(stream=True))
    assert response.status >= 500 and response.json["error"]["message"]


# ---- failing later


BREAKS = {
    "reset": lambda peer: peer.reset(),
    "close": lambda peer: peer.close(),
    "garbage": lambda peer: (peer.send(b"zzz\r\nthis is no chunk\r\n"), peer.close()),
}


@pytest.mark.parametrize("how", BREAKS.values(), ids=BREAKS)
@pytest.mark.parametrize("half", [b"", SECOND[:15]], ids=["between events", "within one"])
def test_mid_stream_failure_is_an_event(pool, how, half):
    def handler(peer, request):
        peer.begin_chunked(SSE)
        peer.chunk(FIRST)
        if half:
            peer.chunk(half)
        opened(seen, "the client has the first event")
        how(peer)

    seen = threading.Event()
    a, b = pool.upstream("a", handler), pool.upstream("b")
    gateway = pool.start(a, b, routing={"strategy": "failover"})
    with Stream(gateway) as stream:
        assert stream.next() + b"\n\n" == FIRST
        seen.set()
        left = stream.rest()
    assert b"[DONE]" not in b"".join(left)
    assert is_error_event(left[-1])["message"] and is_error_event(left[-1])["code"], left
    assert len(left) == 1, left
    assert b.calls == []  # what a client has seen is not begun again elsewhere
    assert providers(gateway)["a"]["failures"] == 1


def test_stream_idle_time_out(pool):
    gone = threading.Event()

    def handler(peer, request):
        peer.begin_chunked(SSE)
        peer.chunk(FIRST)
        peer.is_closed()
        gone.set()
        peer.close()

    a = pool.upstream("a", handler, models=None)
    with Stream(pool.start(a, timeouts={"stream_idle": 0.3, "request": 300})) as stream:
        assert stream.next() + b"\n\n" == FIRST
        left = stream.rest()
    opened(gone, "the upstream was given up")
    assert is_error_event(left[-1])["code"] and b"[DONE]" not in b"".join(left)


def test_a_slow_stream_may_take_longer_than_request(pool):
    """timeouts.request is for plain answers; what keeps coming is not idle."""
    pause = threading.Event()

    def handler(peer, request):
        peer.begin_chunked(SSE)
        for _ in range(20):
            peer.chunk(SECOND)
            pause.wait(0.05)
        peer.chunk(DONE)
        peer.send(b"0\r\n\r\n")

    a = pool.upstream("a", handler, models=None)
    response = ask(pool.start(a, timeouts={"request": 0.4, "first_byte": 10, "stream_idle": 10}), chat(stream=True))
    assert response.complete and response.body == SECOND * 20 + DONE


def test_comments_keep_a_stream_alive(pool):
    pause = threading.Event()

    def handler(peer, request):
        peer.begin_chunked(SSE)
        peer.chunk(FIRST)
        for _ in range(40):
            peer.chunk(b": ping\n\n")
            pause.wait(0.05)
        peer.chunk(DONE)
        peer.send(b"0\r\n\r\n")

    a = pool.upstream("a", handler, models=None)
    response = ask(pool.start(a, timeouts={"stream_idle": 1}), chat(stream=True))
    assert response.complete and response.body.endswith(DONE)


def test_an_error_event_of_the_upstream_passes(pool):
    """After events have gone out an upstream's own error is its last word."""
    wrong = event({"error": {"message": "ran out of tea", "code": "tea"}})
    response = stream_of(pool, FIRST, wrong)
    assert response.body == FIRST + wrong


def test_an_event_without_end(pool):
    """2 MiB without an empty line: the gateway does not collect for ever."""
    response = stream_of(pool, FIRST, b"data: " + b"x" * (2 << 20), DONE)
    assert len(response.body) < 3 << 20
    assert response.body.startswith(FIRST) and not response.body.endswith(DONE)


# ---- the client leaves


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
@pytest.mark.parametrize("begun", [True, False], ids=["mid-stream", "before the first event"])
def test_the_upstream_sees_that_the_client_left(pool, how, begun):
    """Within 100 ms."""
    times = []

    def handler(peer, request):
        if begun:
            peer.begin_chunked(SSE)
            peer.chunk(FIRST)
        peer.is_closed()
        times.append(time.monotonic())
        peer.close()

    a = pool.upstream("a", handler, models=None)
    gateway = pool.start(a)

    def leave():
        stream, number = Stream(gateway), len(times) + 1
        if begun:
            assert stream.next() + b"\n\n" == FIRST
        a.wait_calls(number)
        left = time.monotonic()
        getattr(stream.connection, how)()
        eventually(lambda: len(times) == number, "the upstream sees it")
        stream.leave()
        return times[-1] - left

    mostly_within(0.1 * SCALE, leave)
    assert providers(gateway)["a"]["failures"] == 0
    a.handler = answer
    assert served(ask(gateway)) == "a"


def test_a_client_that_reads_slowly_slows_the_upstream(pool):
    """Nothing piles up: the upstream cannot send 64 MiB into a client that does not read."""
    sent, stop = [0], threading.Event()

    def handler(peer, request):
        peer.begin_chunked(SSE)
        block = event(chunk({"content": "y" * 60_000}))
        peer.sock.settimeout(2)
        try:
            for _ in range(1100):
                peer.chunk(block)
                sent[0] += len(block)
        finally:
            stop.set()

    a = pool.upstream("a", handler, models=None)
    gateway = pool.start(a)
    with Stream(gateway) as stream:
        stream.head()
        opened(stop, "the upstream is stuck")
        assert sent[0] < 40 << 20
