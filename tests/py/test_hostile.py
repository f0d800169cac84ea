"""Requests and answers that smuggle, split, flood or lie: what is ambiguous is refused, nothing half reaches the other
side, and a truncated answer never looks complete (http.md 3 and 7, details.md 12)."""

import threading

import pytest

from backend import header_reader, raw
from waiting import opened
from wire import Closed

GET = b"GET /services/s/x HTTP/1.1\r\n"
HOST = b"Host: test\r\n"


def post(*fields, body=b""):
    return b"POST /services/s/x HTTP/1.1\r\n" + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body


def get(*fields):
    return GET + HOST + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def target(path):
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"


def line(text):
    return text + b"\r\n" + HOST + b"\r\n"


# name: (bytes, status)
REQUESTS = {
    # framing
    "CL and TE": (post(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "TE and CL": (post(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"), 400),
    "two lengths": (post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"), 400),
    "two equal lengths": (post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), 400),
    "list of lengths": (post(b"Content-Length: 5, 5", body=b"hello"), 400),
    "length with plus": (post(b"Content-Length: +5", body=b"hello"), 400),
    "negative length": (post(b"Content-Length: -1"), 400),
    "length in hex": (post(b"Content-Length: 0x5", body=b"hello"), 400),
    "empty length": (post(b"Content-Length:", body=b"hello"), 400),
    "length with a space inside": (post(b"Content-Length: 1 0", body=b"hellohello"), 400),
    "length with a point": (post(b"Content-Length: 5.0", body=b"hello"), 400),
    "20 digits": (post(b"Content-Length: 10000000000000000000"), 400),
    "length beyond 2^63-1": (post(b"Content-Length: 9223372036854775808"), 400),
    "length with underscore name": (post(b"Content_Length: 5"), 400),
    "TE twice in one field": (post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), 400),
    "TE in two fields": (post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "TE empty": (post(b"Transfer-Encoding:", body=b"0\r\n\r\n"), 400),
    "TE chunked, gzip": (post(b"Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"), 400),
    "TE gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
    "TE xchunked": (post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), 501),
    "TE identity": (post(b"Transfer-Encoding: identity"), 501),
    "TE gzip": (post(b"Transfer-Encoding: gzip"), (400, 501)),
    "TE quoted": (post(b'Transfer-Encoding: "chunked"', body=b"0\r\n\r\n"), (400, 501)),
    "TE with vertical tab": (post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"), 400),
    "TE in HTTP/1.0": (b"POST /services/s/x HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TE with underscore name": (post(b"Transfer_Encoding: chunked"), 400),
    # chunks
    "chunk size not hex": (post(b"Transfer-Encoding: chunked", body=b"g\r\n"), 400),
    "chunk size empty": (post(b"Transfer-Encoding: chunked", body=b"\r\n"), 400),
    "chunk size negative": (post(b"Transfer-Encoding: chunked", body=b"-1\r\n"), 400),
    "chunk size with 0x": (post(b"Transfer-Encoding: chunked", body=b"0x1\r\na\r\n0\r\n\r\n"), 400),
    "chunk size of 17 digits": (post(b"Transfer-Encoding: chunked", body=b"00000000000000001\r\na\r\n0\r\n\r\n"), 400),
    "chunk size overflows": (post(b"Transfer-Encoding: chunked", body=b"ffffffffffffffff\r\n"), 400),
    "chunk line ends in LF": (post(b"Transfer-Encoding: chunked", body=b"1\na\r\n0\r\n\r\n"), 400),
    "chunk data without CRLF": (post(b"Transfer-Encoding: chunked", body=b"1\r\nab\r\n0\r\n\r\n"), 400),
    "chunk data ends in LF": (post(b"Transfer-Encoding: chunked", body=b"1\r\na\n0\r\n\r\n"), 400),
    "chunk extension with bare CR": (post(b"Transfer-Encoding: chunked", body=b"1;a\rb\r\na\r\n0\r\n\r\n"), 400),
    "chunk extension with NUL": (post(b"Transfer-Encoding: chunked", body=b"1;a\0b\r\na\r\n0\r\n\r\n"), 400),
    "chunk extension of 257 bytes": (post(b"Transfer-Encoding: chunked", body=b"1;" + b"a" * 257 + b"\r\na\r\n0\r\n\r\n"), 400),
    "chunk trailer block too large": (
        post(b"Transfer-Encoding: chunked", body=b"0\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"v" * 1000) for n in range(9)) + b"\r\n"), 400),
    "chunk trailer malformed": (post(b"Transfer-Encoding: chunked", body=b"0\r\nbad trailer\r\n\r\n"), 400),
    # fields
    "obs-fold": (get(b"X-A: 1\r\n folded"), 400),
    "obs-fold with TAB": (get(b"X-A: 1\r\n\tfolded"), 400),
    "folded first line": (GET + b" X-A: 1\r\n" + HOST + b"\r\n", 400),
    "space before the colon": (get(b"X-A : 1"), 400),
    "TAB before the colon": (get(b"X-A\t: 1"), 400),
    "space before the colon of CL": (post(b"Content-Length : 5", body=b"hello"), 400),
    "bare LF": (b"GET /services/s/x HTTP/1.1\nHost: test\n\n", 400),
    "bare LF in fields": (GET + HOST + b"X-A: 1\nX-B: 2\r\n\r\n", 400),
    "bare CR in value": (get(b"X-A: 1\rX-B: 2"), 400),
    "bare CR before the end": (get(b"X-A: 1\r"), 400),
    "LF CR": (GET + b"Host: test\n\r\n\r", 400),
    "empty name": (get(b": value"), 400),
    "name with space": (get(b"X A: 1"), 400),
    "name not a token": (get(b"X(A): 1"), 400),
    "name 8-bit": (get(b"X-\xe9: 1"), 400),
    "name with NUL": (get(b"X-\0A: 1"), 400),
    "no colon": (get(b"nonsense"), 400),
    "NUL in value": (get(b"X-A: a\0b"), 400),
    "control in value": (get(b"X-A: a\x01b"), 400),
    "escape in value": (get(b"X-A: a\x1bb"), 400),
    "DEL in value": (get(b"X-A: a\x7fb"), 400),
    # Host
    "no Host": (GET + b"\r\n", 400),
    "two Hosts": (GET + b"Host: a\r\nHost: b\r\n\r\n", 400),
    "two equal Hosts": (GET + HOST + HOST + b"\r\n", 400),
    "empty Host": (GET + b"Host:\r\n\r\n", 400),
    "Host with a path": (GET + b"Host: test/path\r\n\r\n", 400),
    "Host with user": (GET + b"Host: user@test\r\n\r\n", 400),
    "Host with space": (GET + b"Host: te st\r\n\r\n", 400),
    "Host with list": (GET + b"Host: a, b\r\n\r\n", 400),
    "Host with bad port": (GET + b"Host: test:port\r\n\r\n", 400),
    "Host with too big a port": (GET + b"Host: test:65536\r\n\r\n", 400),
    "Host broken IPv6": (GET + b"Host: [::1\r\n\r\n", 400),
    "absolute-form differs from Host": (b"GET http://other/services/s/x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "absolute-form of another scheme": (b"GET ftp://test/services/s/x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "absolute-form with user": (b"GET http://u@test/services/s/x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    # request line
    "two spaces after the method": (line(b"GET  /services/s/x HTTP/1.1"), 400),
    "two spaces before the version": (line(b"GET /services/s/x  HTTP/1.1"), 400),
    "TAB in the request line": (line(b"GET\t/services/s/x HTTP/1.1"), 400),
    "TAB before the version": (line(b"GET /services/s/x\tHTTP/1.1"), 400),
    "space at the end": (line(b"GET /services/s/x HTTP/1.1 "), 400),
    "leading space": (line(b" GET /services/s/x HTTP/1.1"), 400),
    "no target": (line(b"GET HTTP/1.1"), 400),
    "HTTP/0.9": (b"GET /services/s/x\r\n\r\n", 400),
    "HTTP/0.9 said": (line(b"GET /services/s/x HTTP/0.9"), 400),
    "HTTP/2.0": (line(b"GET /services/s/x HTTP/2.0"), 505),
    "HTTP/3.0": (line(b"GET /services/s/x HTTP/3.0"), 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 501, 505)),
    "lower-case version": (line(b"GET /services/s/x http/1.1"), 400),
    "version without a point": (line(b"GET /services/s/x HTTP/11"), 400),
    "version 1.10": (line(b"GET /services/s/x HTTP/1.10"), 400),
    "version 01.1": (line(b"GET /services/s/x HTTP/01.1"), 400),
    "lower-case method": (line(b"get /services/s/x HTTP/1.1"), 501),
    "unknown method": (line(b"BREW /services/s/x HTTP/1.1"), 501),
    "method with a bad character": (line(b"G@T /services/s/x HTTP/1.1"), (400, 501)),
    "NUL before the method": (b"\0" + get(), 400),
    "three empty lines first": (b"\r\n\r\n\r\n" + get(), 400),
    # targets
    "fragment": (target(b"/services/s/x#frag"), 400),
    "fragment in the query": (target(b"/services/s/x?a#b"), 400),
    "raw 8-bit": (target(b"/services/s/\xc3\xa9"), 400),
    "raw 8-bit in the query": (target(b"/services/s/?\xc3\xa9"), 400),
    "%00": (target(b"/services/s/a%00b"), 400),
    "%0d": (target(b"/services/s/a%0db"), 400),
    "%0A": (target(b"/services/s/a%0Ab"), 400),
    "bad percent": (target(b"/services/s/a%zz"), 400),
    "half a percent": (target(b"/services/s/a%4"), 400),
    "percent at the end": (target(b"/services/s/a%"), 400),
    "dots above the root": (target(b"/services/../../etc/passwd"), 400),
    "encoded dots above the root": (target(b"/%2e%2e/x"), 400),
    "half encoded dots above the root": (target(b"/.%2e/x"), 400),
    "backslash": (target(b"/services/s/..\\x"), 400),
    "quote": (target(b'/services/s/"'), 400),
    "angle": (target(b"/services/s/<x>"), 400),
    "caret": (target(b"/services/s/^"), 400),
    "backtick": (target(b"/services/s/`"), 400),
    "brace": (target(b"/services/s/{x}"), 400),
    "bar": (target(b"/services/s/a|b"), 400),
    "NUL": (target(b"/services/s/\0"), 400),
    "DEL": (target(b"/services/s/\x7f"), 400),
    "authority-form": (target(b"test:80"), 400),
    "asterisk-form": (target(b"*"), 400),
    "no slash": (target(b"services/s/x"), 400),
    # Connection
    "Connection names Host": (get(b"Connection: Host"), 400),
    "Connection names Content-Length": (post(b"Connection: keep-alive, content-length", b"Content-Length: 1", body=b"x"), 400),
    "Connection names Transfer-Encoding": (post(b"Connection: Transfer-Encoding", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "Connection names Authorization": (get(b"Connection: close, Authorization"), 400),
    "Connection names X-API-Key": (get(b"Connection: x-api-key"), 400),
    # names that a CGI would confuse with ours
    "X_Forwarded_For": (get(b"X_Forwarded_For: 1.2.3.4"), 400),
    "X_API_Key": (get(b"X_API_Key: k"), 400),
    "X_Request_ID": (get(b"X_Request_ID: k"), 400),
    "X-Forwarded_Proto": (get(b"X-Forwarded_Proto: https"), 400),
    # limits
    "target too long": (target(b"/services/s/" + b"a" * 8192), 414),
    "field too long": (get(b"X-A: " + b"a" * 16384), 431),
    "head too long": (get(*(b"X-%d: %s" % (n, b"a" * 1000) for n in range(33))), 431),
    "too many fields": (get(*(b"X-%d: 1" % n for n in range(128))), 431),
    # not HTTP at all
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, (400, None)),
    "binary": (b"\x00\xff\xfe" * 40 + b"\r\n\r\n", (400, None)),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 400),
}

CLEAN = {
    "two empty lines first": b"\r\n\r\n" + get(),
    "HTTP/1.9": line(b"GET /services/s/x HTTP/1.9"),
    "8-bit in a value": get(b"X-A: caf\xe9"),
    "TAB in a value": get(b"X-A: a\tb"),
    "empty value": get(b"X-A:"),
    "white space around a value": get(b"X-A: \t x \t "),
    "Host with port": GET + b"Host: test:8080\r\n\r\n",
    "Host IPv6": GET + b"Host: [::1]:80\r\n\r\n",
    "underscore name of theirs": get(b"my_field: 1"),
    "target at the limit": target(b"/services/s/" + b"a" * (8192 - 12)),
    "field close to the limit": get(b"X-A: " + b"a" * 16000),
    "127 fields and Host": get(*(b"X-%d: 1" % n for n in range(127))),
    "leading zeros in a length": post(b"Content-Length: 0005", body=b"hello"),
    "16 chunk digits": post(b"Transfer-Encoding: chunked", body=b"0000000000000001\r\na\r\n0\r\n\r\n"),
    "chunk extension of 250 bytes": post(b"Transfer-Encoding: chunked", body=b"1;" + b"a" * 250 + b"\r\na\r\n0\r\n\r\n"),
    "CHUNKED": post(b"Transfer-Encoding: CHUNKED", body=b"0\r\n\r\n"),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One gateway for all hostile bytes: it must survive every one of them."""
    from backend import Backend
    from gateway import Gateway

    folder = tmp_path_factory.mktemp("hostile")
    backend = Backend()
    gateway = Gateway(folder, {"server": {"drain_seconds": 5}, "services": {"s": {"base_url": backend.url}}})
    gateway.start("s")
    yield gateway, backend
    gateway.stop()
    assert not backend.errors, backend.errors
    backend.close()


def answer_to(gateway, data):
    """The response, and whether the connection was closed after it; (None, True) when it was closed without one."""
    with gateway.connect() as connection:
        try:
            connection.send(data)
        except OSError:
            pass
        try:
            response = connection.read_response()
        except Closed:
            return None, True
        return response, connection.is_closed()


@pytest.mark.parametrize("name", REQUESTS)
def test_refused_request(shared, name):
    gateway, backend = shared
    data, status = REQUESTS[name]
    backend.requests.clear()
    response, closed = answer_to(gateway, data)
    allowed = status if isinstance(status, tuple) else (status,)
    assert (response.status if response else None) in allowed, response
    assert closed, "the connection must end"
    if response:
        error = response.json["error"]
        assert error["message"] and error["type"] and error["code"]
        assert response.value("Connection").lower() == "close"
        assert response.value("X-Hestia-Error-Source") == "gateway"
    # A body that turns out malformed may have begun to pass; it must not have ended.
    assert not [request for request in backend.requests if request.complete], backend.requests
    assert gateway.get("/health").status == 200


@pytest.mark.parametrize("name", CLEAN)
def test_unusual_but_clean_request(shared, name):
    gateway, backend = shared
    with gateway.connect() as connection:
        connection.send(CLEAN[name])
        response = connection.read_response()
    assert (response.status, response.body) == (200, b"ok"), response


def test_http_1_0_needs_no_host(shared):
    gateway, _ = shared
    assert gateway.request("GET", "/services/s/x", host=None, version="HTTP/1.0").body == b"ok"


def test_nothing_of_a_refused_request_is_taken_for_the_next(shared):
    """The classic smuggling: the rest of a refused request must not be served."""
    gateway, backend = shared
    backend.requests.clear()
    smuggled = b"GET /services/s/smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
    data = post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n" + smuggled)
    response, closed = answer_to(gateway, data)
    assert response.status == 400 and closed
    assert "/smuggled" not in backend.paths()


def test_body_of_get_is_not_the_next_request(shared):
    gateway, backend = shared
    backend.requests.clear()
    inner = b"GET /services/s/smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
    with gateway.connect() as connection:
        connection.request("GET", "/services/s/outer", body=inner)
        assert connection.read_response().status == 200
        connection.request("GET", "/services/s/next")
        assert connection.read_response().status == 200
    assert backend.paths() == ["/outer", "/next"]
    assert backend.requests[0].body == inner


def test_refusal_does_not_echo_the_input(shared):
    gateway, _ = shared
    response, _ = answer_to(gateway, GET + HOST + b"X-Canary-Secret : 12345canary\r\n\r\n")
    assert b"canary" not in response.body.lower()


@pytest.mark.parametrize("cut", [1, 10, 30])
def test_half_a_head_is_nothing(shared, cut):
    gateway, backend = shared
    backend.requests.clear()
    with gateway.connect() as connection:
        connection.send(get()[:cut])
        connection.half_close()
        try:
            assert connection.read_response().status in (400, 408)
        except Closed:
            pass
    assert backend.requests == []


def test_client_that_stops_inside_its_body(shared):
    """The upstream must not take half a body for a whole one."""
    gateway, backend = shared
    begun, ended, whole = threading.Event(), threading.Event(), []

    @header_reader
    def answer(peer, request):
        begun.set()
        try:
            whole.append(b"".join(peer.body_parts(request)))
        finally:
            ended.set()

    backend.on("/cut", answer)
    for framing, part in ((b"Content-Length: 10", b"half"), (b"Transfer-Encoding: chunked", b"4\r\nhalf\r\n")):
        begun.clear()
        ended.clear()
        with gateway.connect() as connection:
            connection.send(b"POST /services/s/cut HTTP/1.1\r\nHost: test\r\n" + framing + b"\r\n\r\n" + part)
            opened(begun, "the upstream saw the head")
        opened(ended, "the upstream saw the end")
    assert whole == []


@pytest.mark.parametrize("first", [b"GET /services/s/one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                                   b"GET /services/s/one HTTP/1.0\r\nHost: a\r\n\r\n"], ids=["close", "1.0"])
def test_nothing_behind_the_last_request(shared, first):
    """What follows it in the same packet is not served, and does not destroy the answer by a reset."""
    gateway, backend = shared
    before = len(backend.requests)
    for _ in range(20):
        with gateway.connect() as connection:
            connection.send(first + b"GET /services/s/two HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.read_response().status == 200
            assert connection.sock.recv(1) == b"", "the connection ends, and not by a reset"
    assert [request.target for request in backend.requests[before:]] == ["/one"] * 20


def test_slow_head_times_out(hestia):
    gateway = hestia({"server": {"timeouts": {"head": "1s"}}})
    with gateway.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: te")
        response = connection.read_response()
        assert response.status == 408
        assert connection.is_closed()


def test_idle_connection_is_closed(hestia):
    gateway = hestia({"server": {"timeouts": {"keepalive": "1s"}}})
    with gateway.connect() as connection:
        connection.request("GET", "/health")
        assert connection.read_response().status == 200
        assert connection.is_closed()


def test_body_limit(hestia, backend):
    gateway = hestia({"server": {"limits": {"body": 1000}}, "services": {"s": {"base_url": backend.url}}})
    assert gateway.post("/services/s/", b"x" * 1000).status == 200
    response = gateway.post("/services/s/", b"x" * 1001)
    assert response.status == 413 and response.code == "body_too_large"
    chunks = b"".join(b"64\r\n" + b"x" * 100 + b"\r\n" for _ in range(11)) + b"0\r\n\r\n"
    with gateway.connect() as connection:
        connection.send(b"POST /services/s/ HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        assert connection.read_response().status == 413
    assert sum(request.complete for request in backend.requests) == 1


def test_configured_limits(hestia, backend):
    gateway = hestia({"server": {"limits": {"target": 256, "field": 256, "head": 1024, "fields": 16}},
                      "services": {"s": {"base_url": backend.url}}})
    assert gateway.get("/services/s/" + "a" * 244).status == 200
    assert gateway.get("/services/s/" + "a" * 245).status == 414
    assert gateway.get("/services/s/", [("X-A", "a" * 240)]).status == 200
    assert gateway.get("/services/s/", [("X-A", "a" * 256)]).status == 431
    assert gateway.get("/services/s/", [(f"X-{n}", "1") for n in range(15)]).status == 200
    assert gateway.get("/services/s/", [(f"X-{n}", "1") for n in range(16)]).status == 431
    assert gateway.get("/services/s/", [(f"X-{n}", "a" * 230) for n in range(5)]).status == 431


def test_connection_limit(hestia):
    gateway = hestia({"server": {"limits": {"connections": 4}}})
    open_ones = [gateway.connect() for _ in range(4)]
    for connection in open_ones:
        connection.request("GET", "/health")
        assert connection.read_response().status == 200
    with gateway.connect() as connection:
        connection.request("GET", "/health")
        response = connection.read_response()
        assert response.status == 503 and response.value("Retry-After")
        assert connection.is_closed()
    for connection in open_ones:
        connection.close()


# ---- upstreams that lie

OK = b"HTTP/1.1 200 OK\r\n"

MALFORMED_HEADS = {
    "not HTTP": b"hello, I am not HTTP\r\n\r\n",
    "HTTP/0.9 text": b"<html>plain text</html>",
    "binary": b"\x00\x01\x02\x03\r\n\r\n",
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/2 status line": b"HTTP/2 200 OK\r\n\r\n",
    "HTTP/2.0 status line": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "lower-case version": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status not a number": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "bare CR": OK + b"X-A: a\rb\r\nContent-Length: 0\r\n\r\n",
    "NUL in value": OK + b"X-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "control in reason": b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
    "obs-fold": OK + b"X-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "space before colon": OK + b"X-A : a\r\nContent-Length: 0\r\n\r\n",
    "empty name": OK + b": a\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"nonsense\r\nContent-Length: 0\r\n\r\n",
    "CL and TE": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "bad length": OK + b"Content-Length: five\r\n\r\nhello",
    "negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "length overflows": OK + b"Content-Length: 99999999999999999999\r\n\r\nhello",
    "TE gzip": OK + b"Transfer-Encoding: gzip\r\n\r\nxx",
    "TE gzip, chunked": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "TE twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "head too large": OK + b"".join(b"X-%d: %s\r\n" % (n, b"v" * 1000) for n in range(70)) + b"\r\n",
    "head cut": OK + b"Content-Le",
    "status line cut": b"HTTP/1.1 200",
    "nothing": b"",
    "17 interim": b"HTTP/1.1 103 Early\r\n\r\n" * 17 + OK + b"Content-Length: 0\r\n\r\n",
}

TRUNCATED = {
    "length": OK + b"Content-Length: 100\r\n\r\nonly this",
    "length, nothing came": OK + b"Content-Length: 100\r\n\r\n",
    "chunk cut": OK + b"Transfer-Encoding: chunked\r\n\r\na\r\nhalf",
    "no last chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "last chunk without its end": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    "chunk size is nonsense": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
    "chunk without CRLF": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalfXX0\r\n\r\n",
    "chunk size overflows": OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nfffffffffffffffff\r\n",
}


@pytest.fixture
def liar(shared):
    """Sets what the upstream answers under a path of its own, and gives that path."""
    gateway, backend = shared

    def answer(data, close=True):
        backend.on("/lie", raw(data, close))
        return "/services/s/lie"

    yield gateway, answer
    assert gateway.get("/services/s/fine").body == b"ok", "the gateway is well afterwards"


@pytest.mark.parametrize("name", MALFORMED_HEADS)
def test_malformed_head_is_502(liar, name):
    gateway, answer = liar
    response = gateway.post(answer(MALFORMED_HEADS[name]), b"x")
    assert response.status == 502, response
    assert response.code == "upstream_protocol_error"
    assert response.value("X-Hestia-Error-Source") == "upstream"
    assert response.complete


@pytest.mark.parametrize("name", TRUNCATED)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_truncated_body_never_looks_complete(liar, name, version):
    gateway, answer = liar
    path = answer(TRUNCATED[name])
    with gateway.connect() as connection:
        connection.request("GET", path, version=version)
        try:
            response = connection.read_response()
        except Closed:
            return  # not even a head: fine, too
        if response.status == 502 and response.complete:
            return  # noticed before a byte of the answer had been sent
        assert not (response.complete and not response.until_close), response
        if response.until_close:
            # HTTP/1.0 has no other way to say it than a reset.
            assert connection_was_reset(gateway, path), "a clean end of a truncated body"


def connection_was_reset(gateway, path):
    with gateway.connect() as connection:
        connection.request("GET", path, version="HTTP/1.0")
        try:
            connection.read_head()
            while True:
                connection.pending = b""
                connection.fill()
        except Closed as closed:
            return str(closed) != "end of file"


def test_truncated_sse_says_so(liar):
    """An event stream gets an error event before the connection is cut (http.md 3.2)."""
    gateway, answer = liar
    data = b"data: one\n\n"
    path = answer(OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(data), data))
    response = gateway.get(path)
    assert not response.complete
    assert response.body.startswith(data) and b"event: error" in response.body


def test_extra_bytes_after_a_response_are_dropped(shared):
    """They must never become the answer of the next request, of whomever."""
    gateway, backend = shared
    backend.on("/extra", raw(OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", close=False))
    for _ in range(3):
        assert gateway.get("/services/s/extra").body == b"ok"
        assert gateway.get("/services/s/fine").body == b"ok"


def test_body_where_none_may_be(shared):
    gateway, backend = shared
    backend.on("/head", raw(OK + b"Content-Length: 4\r\n\r\nevil", close=False))
    backend.on("/204", raw(b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", close=False))
    with gateway.connect() as connection:
        for method, path in (("HEAD", "head"), ("GET", "204"), ("GET", "fine"), ("HEAD", "head"), ("GET", "fine")):
            connection.request(method, f"/services/s/{path}")
            response = connection.read_response(method)
            assert b"evil" not in response.body
            if path == "fine":
                assert response.body == b"ok"


def test_lengths_of_204_are_removed(liar):
    gateway, answer = liar
    response = gateway.get(answer(b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", close=False))
    assert response.status == 204 and response.values("Content-Length") == []


def test_response_splitting_by_the_upstream(liar):
    """CR LF inside a value cannot come through, whatever it is spelled like."""
    gateway, answer = liar
    response = gateway.get(answer(OK + b"X-A: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
    assert response.status == 200 and response.until_close is False
    assert response.value("X-A") == "a"


def test_upstream_that_resets_inside_the_head(shared):
    gateway, backend = shared

    def answer(peer, request):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-")
        peer.reset()

    backend.on("/reset", answer)
    assert gateway.post("/services/s/reset", b"x").status == 502


def test_upstream_that_resets_inside_the_body(shared):
    gateway, backend = shared

    def answer(peer, request):
        peer.send(OK + b"Content-Length: 100\r\n\r\npart")
        peer.reset()

    backend.on("/reset", answer)
    with gateway.connect() as connection:
        connection.request("GET", "/services/s/reset")
        try:
            assert not connection.read_response().complete
        except Closed:
            pass
