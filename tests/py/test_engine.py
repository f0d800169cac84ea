"""The engine's corners: what two sides that misbehave at the same moment must not do to a worker."""

import json
import signal
import socket
import threading
import time

import pytest

from backend import answer_ok, answer_sha256, header_reader, raw
from waiting import eventually, opened
from wire import Closed


@pytest.fixture
def proxy(hestia, backend):
    """One worker, so that whatever stops it stops everything; the service `s` on `backend`, already hot."""
    gateway = hestia({"server": {"workers": 1}, "services": {"s": {"base_url": backend.url}}})
    gateway.start("s")
    return gateway


def chunked_post(connection, target, version="HTTP/1.1", method="POST"):
    connection.send(f"{method} {target} {version}\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".encode())


def in_flight(gateway, service="s"):
    return gateway.status(service)["inFlight"]


# ---- both sides at once


def test_interim_and_a_piece_of_what_follows_while_the_body_still_comes(proxy, backend):
    """The head's beginning stands unread while the client has more to send."""

    @header_reader
    def answer(peer, request):
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2")
        left = int(request.value("Content-Length"))
        while left:
            if not peer.pending:
                peer.fill()
            left -= len(peer.pending[:left])
            peer.pending = b""
        peer.send(b"00 OK\r\nContent-Length: 3\r\n\r\nend")

    backend.handler = answer
    for _ in range(10):
        response = proxy.post("/services/s/", b"x" * 5_000_000)
        assert (response.status, response.body) == (200, b"end")


@pytest.mark.parametrize("answer", [b"this is not HTTP\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", b"HTTP/1.1 20"])
@pytest.mark.parametrize("size", [1000, 10_000_000])
def test_bad_answer_while_the_body_still_comes(proxy, backend, answer, size):
    backend.handler = header_reader(raw(answer))
    with proxy.connect() as connection:
        connection.send(b"POST /services/s/ HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n0123456789" % size)
        assert connection.read_response().status == 502
    backend.handler = answer_ok
    assert proxy.get("/services/s/").status == 200


def test_broken_request_body_while_the_client_does_not_read(proxy, backend):
    @header_reader
    def answer(peer, request):
        peer.begin_chunked()
        while True:
            peer.chunk(b"z" * 65536)

    backend.on("/endless", answer)
    with proxy.connect() as connection:
        chunked_post(connection, "/services/s/endless")
        eventually(lambda: backend.peers, "it answers")
        connection.read_until(b"\r\n\r\n")
        threading.Event().wait(0.3)  # until nothing fits any more
        connection.send(b"not a chunk\r\n" + b"y" * 5000)
        with pytest.raises(Closed):
            while True:
                connection.read_some()
    assert proxy.get("/services/s/").status == 200


def test_chunks_broken_at_once_are_502(proxy, backend):
    """Not one byte of the answer has been sent: the client hears of it."""
    backend.handler = raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    response = proxy.get("/services/s/")
    assert response.status == 502 and response.complete
    assert response.value("X-Hestia-Error-Source") == "upstream"


def test_interim_answer_brings_only_its_own_fields(proxy, backend):
    backend.handler = raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n"
                          b"Connection: x-private\r\nX-Private: 1\r\nKeep-Alive: 5\r\n\r\n"
                          b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", close=False)
    response = proxy.get("/services/s/")
    assert response.body == b"ok" and [one.fields for one in response.interim] == [[("Link", "</a>")]]


def test_refusal_of_garbage_has_its_body_whatever_came_before(proxy):
    """What an earlier request left behind (its method) says nothing about this one."""
    for _ in range(3):
        assert proxy.request("HEAD", "/health").status == 200
        with proxy.connect() as connection:
            connection.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            response = connection.read_response()
            assert response.status == 400 and response.complete and response.json["error"]["code"]


def test_event_stream_of_a_1_0_client_ends_by_reset(proxy, backend):
    """An HTTP/1.0 client knows no chunks: an event of ours in chunk framing would be garbage."""
    backend.handler = raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                          b"9\r\ndata: a\n\n\r\n")
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/", version="HTTP/1.0")
        received = b""
        with pytest.raises(Closed) as end:
            while True:
                received += connection.read_some()
    assert "end of file" not in str(end.value), "a truncated body ended cleanly"
    assert b"error" not in received.partition(b"\r\n\r\n")[2]


def test_error_event_never_joins_half_an_event(proxy, backend):
    backend.handler = raw(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                          b"8\r\ndata: a\n\r\n")
    response = proxy.get("/services/s/")
    assert not response.complete and b"event: error" not in response.body


# ---- sending again


def keep_then_drop(counts, answer=answer_ok):
    """Answers the first request of each connection, and drops the next one without a byte."""

    def handler(peer, request):
        counts.append(request)
        if peer.number in [one.connection for one in counts[:-1]]:
            peer.close()
        else:
            answer(peer, request)

    return handler


def test_empty_chunked_body_is_not_half_repeated(proxy, backend):
    """A body of no bytes has been sent all the same: POST is not repeated."""
    backend.handler = keep_then_drop([])
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/first")
        connection.read_response()
        chunked_post(connection, "/services/s/pay")
        connection.send(b"0\r\n\r\n")
        assert connection.read_response().status == 502
    assert backend.paths().count("/pay") == 1


@pytest.mark.parametrize("chunked", [False, True])
def test_idempotent_body_is_repeated_in_full(proxy, backend, chunked):
    backend.handler = keep_then_drop([])
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/first")
        connection.read_response()
        if chunked:
            chunked_post(connection, "/services/s/put", method="PUT")
            connection.send(b"4;x=y\r\nhell\r\n1\r\no\r\n0\r\n\r\n")
        else:
            connection.request("PUT", "/services/s/put", body=b"hello")
        assert connection.read_response().status == 200
    assert [(r.target, r.body) for r in backend.requests[1:]] == [("/put", b"hello"), ("/put", b"hello")]


@pytest.mark.parametrize("first", ["refused", "503"])
def test_chunked_body_reaches_the_second_instance_whole(hestia, backend, backends, first):
    """What the first attempt could not send, or sent in vain, the second sends in its framing."""
    backend.handler = answer_sha256
    bad = backends(raw(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"))
    gateway = hestia({"services": {"s": {"instances": [{"url": bad.url}, {"url": backend.url}], "retry_count": 2,
                                         "retry_delay_ms": 1}}})
    gateway.start("s")
    if first == "refused":
        bad.close()
    for _ in range(4):
        with gateway.connect() as connection:
            chunked_post(connection, "/services/s/")
            connection.send(b"3\r\nabc\r\n")
            connection.send(b"2\r\nde\r\n0\r\n\r\n")
            response = connection.read_response()
        assert response.status == 200 and response.json["size"] == 5


def test_body_limit_leaves_no_rest_for_the_next_request(hestia, backend):
    gateway = hestia({"server": {"limits": {"body": 100}}, "services": {"s": {"base_url": backend.url}}})
    gateway.start("s")
    inner = b"GET /services/s/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    chunk = b"x" * 200 + b"\r\n0\r\n\r\n" + inner
    with gateway.connect() as connection:
        chunked_post(connection, "/services/s/")
        connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(chunk), chunk))
        response = connection.read_response()
        assert response.status == 413 and response.value("Connection") == "close"
        assert connection.is_closed()
    assert "/smuggled" not in backend.paths()


# ---- clients that leave


@pytest.fixture
def deaf_port():
    """A port whose connections are never completed: the listener's queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        yield listener.getsockname()[1]
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
def test_client_that_leaves_during_a_connect_is_noticed(hestia, deaf_port, leave):
    gateway = hestia({"services": {"s": {"base_url": f"http://127.0.0.1:{deaf_port}", "warmup_ms": 1}}})
    gateway.start("s")
    with gateway.connect() as connection:
        connection.request("GET", "/services/s/")
        eventually(lambda: in_flight(gateway) == 1, "it connects")
        getattr(connection, leave)()
        eventually(lambda: in_flight(gateway) == 0, "it is noticed")


def test_client_of_the_dispatcher_that_leaves_is_noticed(proxy, backend):
    gone = threading.Event()

    def answer(peer, request):
        peer.is_closed()
        gone.set()

    backend.on("/slow", answer)
    with proxy.connect() as connection:
        body = json.dumps({"serviceId": "s", "method": "GET", "path": "/slow"}).encode()
        connection.request("POST", "/v1/requests", [("Content-Type", "application/json")], body)
        backend.wait_path("/slow")
        connection.close()
        eventually(lambda: in_flight(proxy) == 0, "it is noticed")
    opened(gone, "the upstream's connection is closed")


def test_flood_after_a_refusal_ends(proxy):
    """The answer is given two seconds to arrive, however much still comes."""
    with proxy.connect() as connection:
        begun = time.monotonic()
        connection.send(b"GARBAGE\r\n\r\n")
        connection.sock.settimeout(20)
        with pytest.raises(OSError):
            while time.monotonic() < begun + 20:
                connection.send(b"x" * 65536)
        assert time.monotonic() - begun < 20


# ---- the dispatcher


def dispatch(gateway, **request):
    return gateway.post("/v1/requests", {"serviceId": "s", "method": "GET", "path": "/", **request})


@pytest.mark.parametrize("depth", [100, 2000, 100_000])
def test_deep_json_is_refused(proxy, depth):
    deep = b"[" * depth + b"]" * depth
    response = proxy.post("/v1/requests", b'{"serviceId":"s","method":"POST","path":"/","body":' + deep + b"}",
                          [("Content-Type", "application/json")])
    assert response.status == 422, response


def test_brackets_in_text_are_not_depth(proxy, backend):
    response = dispatch(proxy, method="POST", body={"a": "[" * 500 + '\\"' + "{" * 500})
    assert response.json["status"] == 200


def test_deep_json_of_a_service_is_text(proxy, backend):
    deep = b"[" * 2000 + b"]" * 2000
    backend.handler = lambda peer, request: peer.respond(200, deep, [("Content-Type", "application/json")])
    assert dispatch(proxy).json["body"] == deep.decode()


def test_big_answer_reaches_a_slow_reader(proxy, backend):
    big = b"0123456789abcdef" * (1 << 19)  # 8 MiB: no socket buffer takes it at once
    backend.handler = lambda peer, request: peer.respond(200, big, [("Content-Type", "text/plain")])
    with proxy.connect() as connection:
        body = json.dumps({"serviceId": "s", "method": "GET", "path": "/"}).encode()
        connection.request("POST", "/v1/requests", [("Content-Type", "application/json")], body)
        head = connection.read_head()
        threading.Event().wait(0.5)
        connection.read_body(head)
    assert head.complete and head.json["body"] == big.decode()


def test_dispatcher_survives_reloads_on_its_way(proxy, backend):
    """The configuration changes while its body comes, and again while the service works."""
    go = threading.Event()

    def answer(peer, request):
        opened(go)
        peer.respond(500, b"late", [("Content-Type", "text/plain")])

    backend.on("/late", answer)
    config = json.loads(proxy.config_path.read_text())

    def reload(n):
        config["services"][f"other{n}"] = {"base_url": backend.url}
        proxy.reload(config)

    body = json.dumps({"serviceId": "s", "method": "GET", "path": "/late"}).encode()
    with proxy.connect() as connection:
        connection.send(b"POST /v1/requests HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                        % len(body) + body[:10])
        proxy.wait_event("request_start", path="/v1/requests")
        reload(1)
        proxy.get("/v1/services")  # the worker has it
        connection.send(body[10:])
        backend.wait_path("/late")
        reload(2)
        reload(3)
        proxy.get("/v1/services")
        go.set()
        assert connection.read_response().json == {"status": 500, "headers": {"content-type": "text/plain",
                                                                              "content-length": "4"}, "body": "late"}


def test_dispatched_post_never_meets_a_dead_connection(proxy, backend):
    """A POST must not be sent twice, and need not fail where a new connection does."""
    backend.handler = keep_then_drop([])
    assert dispatch(proxy).json["status"] == 200
    assert dispatch(proxy, method="POST", path="/pay", body="x").json["status"] == 200
    assert backend.paths().count("/pay") == 1


# ---- the end


def test_second_sigterm_while_a_request_is_held(hestia, backend, fake):
    service = fake("--never-listen")
    gateway = hestia({"server": {"drain_seconds": 600, "workers": 1},
                      "services": {"f": service.config(), "s": {"base_url": backend.url}}})
    hold = threading.Event()
    backend.handler = lambda peer, request: opened(hold)
    gateway.start("s")
    with gateway.connect() as queued, gateway.connect() as running, gateway.connect() as half, gateway.connect() as called:
        queued.request("GET", "/services/f/")
        gateway.wait_status("f", "it queues", lambda status: status["queuePending"] == 1)
        running.request("GET", "/services/s/")
        half.send(b"GET /services/s/ HT")
        called.request("POST", "/v1/requests", [("Content-Type", "application/json")],
                       b'{"serviceId":"f","method":"GET","path":"/"}')
        gateway.wait_status("f", "both queue", lambda status: status["queuePending"] == 2)
        backend.wait_path("/")
        gateway.signal(signal.SIGTERM)
        eventually(lambda: gateway.get("/ready").status == 503, "it drains")
        gateway.signal(signal.SIGTERM)
        gateway.expected_exit = gateway.wait_exit()
        assert gateway.expected_exit in (0, 1), "not by a signal"
    hold.set()


def test_client_that_comes_while_the_services_stop(hestia, fake):
    """Nobody waits for it any more; what it holds is given back all the same."""
    service = fake("--ignore-term")
    gateway = hestia({"server": {"workers": 1}, "services": {"f": service.config(stop_timeout_ms=3000)}})
    gateway.start("f")
    gateway.signal(signal.SIGTERM)
    service.wait_line("terms")
    with gateway.connect() as half, gateway.connect() as called:
        half.send(b"GET /heal")
        called.send(b"POST /v1/requests HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n{")
        assert gateway.wait_exit() == 0
