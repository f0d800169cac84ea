"""What passes through: methods, targets, fields, bodies, streams, upgrades, TLS (http.md 3, details.md 5, 11, 12)."""

import hashlib
import os
import ssl
import threading
import warnings

import pytest

from backend import answer_sha256, answer_websocket_echo, header_reader, raw
from fakes import Together
from gateway import metric
from waiting import eventually, opened
from wire import Closed, websocket_accept

BIG = 64 << 20


@pytest.fixture
def proxy(hestia, backend):
    """A gateway with the service `s` on `backend`, already hot."""
    gateway = hestia({"services": {"s": {"base_url": backend.url}}})
    gateway.start("s")
    return gateway


# ---- methods


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_method_passes(proxy, backend, method):
    response = proxy.request(method, "/services/s/thing")
    assert (response.status, response.body) == (200, b"ok")
    assert backend.last.line == f"{method} /thing HTTP/1.1"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_body_of_any_method_passes(proxy, backend, method):
    proxy.request(method, "/services/s/thing", body=b"some bytes")
    assert backend.last.body == b"some bytes"
    assert backend.last.value("Content-Length") == "10"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_no_body_becomes_length_0(proxy, backend, method):
    proxy.request(method, "/services/s/")
    assert backend.last.values("Content-Length") == ["0"]
    assert backend.last.values("Transfer-Encoding") == []


def test_get_without_body_has_no_length(proxy, backend):
    proxy.get("/services/s/")
    assert backend.last.values("Content-Length") == []


def test_head_keeps_length_and_has_no_body(proxy, backend):
    backend.handler = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"a\"\r\n\r\n", close=False)
    with proxy.connect() as connection:
        for _ in range(2):
            connection.request("HEAD", "/services/s/big")
            response = connection.read_response("HEAD")
            assert response.status == 200 and response.value("Content-Length") == "1234"
            assert response.value("ETag") == '"a"'
    assert backend.last.line == "HEAD /big HTTP/1.1"


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_body(proxy, backend, status):
    backend.handler = raw(f"HTTP/1.1 {status} None\r\nX-A: 1\r\n\r\n".encode(), close=False)
    with proxy.connect() as connection:
        for _ in range(2):
            connection.request("GET", "/services/s/")
            response = connection.read_response()
            assert (response.status, response.value("X-A"), response.body) == (status, "1", b"")


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_never_served(proxy, backend, method):
    seen = len(backend.requests)
    target = "127.0.0.1:80" if method == "CONNECT" else "/services/s/"
    response = proxy.request(method, target)
    assert response.status == 405 and "GET" in response.value("Allow")
    assert len(backend.requests) == seen


def test_options_asterisk_is_answered_here(proxy, backend):
    seen = len(backend.requests)
    response = proxy.request("OPTIONS", "*")
    assert response.status in (200, 204)
    assert "GET" in response.value("Allow")
    assert len(backend.requests) == seen


def test_max_forwards_0_is_answered_here(proxy, backend):
    seen = len(backend.requests)
    response = proxy.request("OPTIONS", "/services/s/", {"Max-Forwards": "0"})
    assert response.status in (200, 204)
    assert len(backend.requests) == seen


# ---- what is remembered of an answer


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("method, answer, size", [
    pytest.param("GET", lambda peer, request: peer.respond(200, b"x" * 940), 940, id="plain"),
    pytest.param("GET", lambda peer, request: peer.respond(200, b"x" * (3 << 20)), 3 << 20, id="long"),
    pytest.param("GET", raw(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", close=False), 2,
                 id="after hints"),
    pytest.param("GET", raw(CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", close=False), 15, id="chunked"),
    pytest.param("HEAD", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", close=False), 0, id="HEAD"),
])
def test_size_of_an_answer_is_its_body(proxy, backend, method, answer, size):
    """In the log and in the metric; of the connection's second request, too."""
    backend.handler = answer
    with proxy.connect() as connection:
        for count in (1, 2):
            connection.request(method, "/services/s/sized", [("Expect", "100-continue")], b"body")
            assert connection.read_response(method).status == 200
            line = proxy.wait_event("request_end", count=count, path="/services/s/sized")
            assert line["metadata"]["content_length"] == size
    labels = {"method": method, "route": "/services/{serviceId}/…"}
    eventually(lambda: metric(proxy, "hestia_response_size_bytes_count", **labels) == 2, "they are counted")
    assert metric(proxy, "hestia_response_size_bytes_sum", **labels) == 2 * size


def test_size_of_our_own_answer_is_its_body(proxy):
    response = proxy.get("/nothing")
    line = proxy.wait_event("request_end", path="/nothing")
    assert line["metadata"]["content_length"] == len(response.body)


# ---- targets


@pytest.mark.parametrize("sent, forwarded", [
    ("/services/s/", "/"),
    ("/services/s/a/b", "/a/b"),
    ("/services/s/a/b/", "/a/b/"),
    ("/services/s//a//b", "//a//b"),
    ("/services/s/a?x=1&y=%20&z", "/a?x=1&y=%20&z"),
    ("/services/s/a?", "/a?"),
    ("/services/s/?q=a/../b", "/?q=a/../b"),
    ("/services/s/a?u=http://x/?y", "/a?u=http://x/?y"),
    ("/services/s/a?q={%22a%22:[1]}|^`\\", "/a?q={%22a%22:[1]}|^`\\"),
    ("/services/s/%61%7E%2d", "/a~-"),
    ("/services/s/a%2fb%2Fc", "/a%2fb%2Fc"),
    ("/services/s/a%3fb%23c%25", "/a%3fb%23c%25"),
    ("/services/s/a/./b/../c", "/a/c"),
    ("/services/s/a/%2e%2e/c", "/c"),
    ("/services/s/name:tag", "/name:tag"),
    ("/services/s/http://elsewhere/x", "/http://elsewhere/x"),
    ("/services/s/caf%C3%A9", "/caf%C3%A9"),
    ("/services/other/../s/x", "/x"),
    ("/services/%73/x", "/x"),
])
def test_target(proxy, backend, sent, forwarded):
    assert proxy.get(sent).status == 200
    assert backend.last.target == forwarded


def test_absolute_form_target(proxy, backend):
    assert proxy.get("http://test/services/s/abs?q=1").status == 200
    assert backend.last.target == "/abs?q=1"


def test_prefix_of_base_url(hestia, backend):
    gateway = hestia({"services": {"s": {"base_url": backend.url + "/base/"}}})
    for sent, forwarded in [("/services/s/x?q", "/base/x?q"), ("/services/s/", "/base/"), ("/services/s//y", "/base//y")]:
        gateway.get(sent)
        assert backend.last.target == forwarded


def test_service_without_slash_is_redirected(proxy):
    response = proxy.get("/services/s?x=1")
    assert response.status == 307
    assert response.value("Location") == "/services/s/?x=1"


def test_unknown_service(proxy):
    response = proxy.get("/services/nobody/x")
    assert response.status == 404 and response.code == "service_not_found"
    assert response.value("X-Hestia-Error-Source") == "gateway"


def test_unknown_route(proxy):
    response = proxy.get("/nowhere")
    assert response.status == 404 and response.code == "not_found"


# ---- fields of the request


def test_host_is_the_upstreams(proxy, backend):
    proxy.get("/services/s/", host="front.example:8080")
    assert backend.last.value("Host") == f"127.0.0.1:{backend.port}"
    assert backend.last.value("X-Forwarded-Host") == "front.example:8080"


def test_forwarded_fields_replace_the_clients(proxy, backend):
    proxy.get("/services/s/", [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https"),
                               ("X-Forwarded-Host", "evil"), ("X-Forwarded-Prefix", "/evil")])
    request = backend.last
    assert request.value("X-Forwarded-For") == "127.0.0.1"
    assert request.value("X-Forwarded-Proto") == "http"
    assert request.value("X-Forwarded-Host") == "test"
    assert request.value("X-Forwarded-Prefix") == "/services/s"


def test_trusted_proxy_is_appended_to(hestia, backend):
    gateway = hestia({"server": {"trusted_proxies": ["127.0.0.0/8"]}, "services": {"s": {"base_url": backend.url}}})
    gateway.get("/services/s/", [("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Proto", "https")])
    addresses = ", ".join(backend.last.values("X-Forwarded-For")).replace(" ", "")
    assert addresses == "1.2.3.4,127.0.0.1"
    assert ", ".join(backend.last.values("X-Forwarded-Proto")).startswith("https")


def test_via_is_added_both_ways(proxy, backend):
    backend.handler = lambda peer, request: peer.respond(200, b"", [("Via", "1.1 inner")])
    response = proxy.get("/services/s/", [("Via", "1.0 outer")])
    assert ", ".join(backend.last.values("Via")) == "1.0 outer, 1.1 hestia"
    assert ", ".join(response.values("Via")) == "1.1 inner, 1.1 hestia"


def test_via_loop(proxy, backend):
    seen = len(backend.requests)
    assert proxy.get("/services/s/", [("Via", "1.1 hestia")]).status == 200
    response = proxy.get("/services/s/", [("Via", "1.1 hestia, 1.1 other, 1.1 hestia")])
    assert response.status == 508
    assert len(backend.requests) == seen + 1


@pytest.mark.parametrize("name, value", [
    ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic eDp5"),
    ("TE", "gzip"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQ"), ("Trailer", "X-Sum"),
    ("X-Hestia-Secret", "1"), ("X-Hestia-Provider", "x"),
])
def test_request_fields_that_stop_here(proxy, backend, name, value):
    assert proxy.get("/services/s/", [(name, value), ("X-Other", "passes")]).status == 200
    assert backend.last.values(name) == []
    assert backend.last.value("X-Other") == "passes"


@pytest.mark.parametrize("named", ["X-Foo", "x-foo", "Cookie", "Content-Type", "Cache-Control", "X-Forwarded-Custom",
                                   "traceparent"])
def test_fields_named_by_connection_stop_here(proxy, backend, named):
    proxy.get("/services/s/", [("Connection", f"keep-alive , {named}"), (named, "value"), ("X-Bar", "2")])
    assert backend.last.values(named) == []
    assert backend.last.value("X-Bar") == "2"
    assert named.lower() not in ",".join(backend.last.values("Connection")).lower()


def test_client_cannot_strip_what_we_add(proxy, backend):
    proxy.get("/services/s/", [("Connection", "X-Forwarded-For, Via, X-Request-ID, X-Forwarded-Prefix")])
    assert backend.last.value("X-Forwarded-For") == "127.0.0.1"
    assert backend.last.value("X-Forwarded-Prefix") == "/services/s"
    assert backend.last.value("Via") == "1.1 hestia"
    assert backend.last.value("X-Request-ID")


def test_other_fields_pass_untouched_and_in_order(proxy, backend):
    fields = [("X-A", "1"), ("x-b", "two words"), ("X-A", "2"), ("Cookie", "a=b"), ("Cookie", "c=d"), ("X-Empty", ""),
              ("X-High", "caf\xe9"), ("X-Tab", "a\tb"), ("Authorization", "Bearer upstream"), ("X_Under", "u"),
              ("Accept-Encoding", "gzip, br"), ("Range", "bytes=0-1")]
    proxy.get("/services/s/", fields)
    names = {name for name, _ in fields}
    assert [(name, value) for name, value in backend.last.fields if name in names] == fields


# ---- request ids


def test_request_id_is_made(proxy, backend):
    response = proxy.get("/services/s/")
    made = response.value("X-Request-ID")
    assert len(made) == 16 and made.startswith("req_")
    assert set(made[4:]) <= set("0123456789abcdef")
    assert backend.last.value("X-Request-ID") == made
    assert proxy.get("/services/s/").value("X-Request-ID") != made


@pytest.mark.parametrize("sent", ["a", "A.b_c-9", "x" * 64])
def test_good_request_id_is_kept(proxy, backend, sent):
    assert proxy.get("/services/s/", [("x-request-id", sent)]).value("X-Request-ID") == sent
    assert backend.last.value("X-Request-ID") == sent


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a/b", "a\"b", "caf\xe9"])
def test_bad_request_id_is_replaced(proxy, backend, sent):
    response = proxy.get("/services/s/", [("X-Request-ID", sent)])
    assert response.value("X-Request-ID").startswith("req_")
    assert backend.last.value("X-Request-ID") == response.value("X-Request-ID")


def test_upstreams_request_id_has_another_name(proxy, backend):
    backend.handler = lambda peer, request: peer.respond(200, b"", [("X-Request-ID", "theirs")])
    response = proxy.get("/services/s/", [("X-Request-ID", "ours")])
    assert response.value("X-Request-ID") == "ours"
    assert response.value("X-Upstream-Request-ID") == "theirs"


@pytest.mark.parametrize("target", ["/nowhere", "/health", "/metrics", "/v1/services", "/services/nobody/"])
def test_every_answer_has_a_request_id(proxy, target):
    assert proxy.get(target, [("X-Request-ID", "mine")]).value("X-Request-ID") == "mine"


# ---- fields of the response


def test_response_fields_pass_in_order(proxy, backend):
    fields = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"), ("X-A", "1"), ("Content-Encoding", "gzip"),
              ("Server", "theirs"), ("Date", "Mon, 01 Jan 2024 00:00:00 GMT"), ("X-High", "caf\xe9"), ("ETag", '"x"')]

    def answer(peer, request):
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
        peer.send(f"HTTP/1.1 203 Odd Reason\r\n{lines}Content-Length: 3\r\n\r\nabc".encode("latin-1"))

    backend.handler = answer
    response = proxy.get("/services/s/")
    names = {name for name, _ in fields}
    assert [(name, value) for name, value in response.fields if name in names] == fields
    assert (response.status, response.reason, response.body) == (203, "Odd Reason", b"abc")


@pytest.mark.parametrize("name, value", [
    ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"), ("Proxy-Authenticate", "Basic"),
    ("Proxy-Authentication-Info", "x"), ("Upgrade", "h2c"), ("Trailer", "X-Sum"), ("TE", "trailers"),
])
def test_response_fields_that_stop_here(proxy, backend, name, value):
    backend.handler = lambda peer, request: peer.respond(200, b"x", [(name, value), ("X-Other", "passes")])
    response = proxy.get("/services/s/")
    assert response.values(name) == [] and response.value("X-Other") == "passes"


def test_response_fields_named_by_connection_stop_here(proxy, backend):
    backend.handler = lambda peer, request: peer.respond(
        200, b"x", [("Connection", "X-Private, keep-alive"), ("X-Private", "1"), ("X-Public", "2")])
    response = proxy.get("/services/s/")
    assert response.values("X-Private") == [] and response.value("X-Public") == "2"


@pytest.mark.parametrize("status", [201, 301, 400, 401, 404, 429, 500, 503, 599])
def test_upstreams_status_and_body_are_kept(proxy, backend, status):
    backend.handler = lambda peer, request: peer.respond(status, b'{"their":"error"}', [("Retry-After", "7")])
    response = proxy.get("/services/s/")
    assert (response.status, response.body) == (status, b'{"their":"error"}')
    assert response.value("Retry-After") == "7"


# ---- Location and names


@pytest.mark.parametrize("base, sent, rewritten", [
    ("", "/login", "/services/s/login"),
    ("", "/", "/services/s/"),
    ("", "{origin}/login?x=1#f", "/services/s/login?x=1#f"),
    ("", "{origin}", "/services/s/"),
    ("", "relative/path", "relative/path"),
    ("", "?q=1", "?q=1"),
    ("", "https://elsewhere.example/x", "https://elsewhere.example/x"),
    ("", "//elsewhere.example/x", "//elsewhere.example/x"),
    ("/base", "/base/login", "/services/s/login"),
    ("/base", "{origin}/base/login", "/services/s/login"),
    ("/base", "/base", "/services/s/"),
])
def test_location(hestia, backend, base, sent, rewritten):
    gateway = hestia({"services": {"s": {"base_url": backend.url + base}}})
    backend.handler = lambda peer, request: peer.respond(
        302, b"", [("Location", sent.format(origin=backend.url))], reason="Found")
    response = gateway.get("/services/s/start")
    location = response.value("Location")
    for origin in (f"{gateway.url}", "http://test"):
        location = location.removeprefix(origin)
    assert location == rewritten


def test_hosts_route_by_name(hestia, backend, backends):
    other = backends()
    gateway = hestia({"services": {
        "comfyui": {"base_url": backend.url, "hosts": ["comfyui.lan", "Comfy.example"]},
        "other": {"base_url": other.url, "hosts": ["other.lan"]},
    }})
    for host in ("comfyui.lan", "COMFYUI.LAN", "comfyui.lan:8080", "comfy.example"):
        assert gateway.get("/queue?x=1", host=host).status == 200
        assert backend.last.target == "/queue?x=1"
        assert backend.last.value("X-Forwarded-Host") == host
        assert backend.last.values("X-Forwarded-Prefix") == []
    assert gateway.get("/", host="other.lan").status == 200
    assert other.last.target == "/"


@pytest.mark.parametrize("path", ["/v1/services", "/health", "/services/other/x", "/metrics"])
def test_hosts_own_every_path(hestia, backend, path):
    gateway = hestia({"services": {"c": {"base_url": backend.url, "hosts": ["c.lan"]}}})
    assert gateway.get(path, host="c.lan").body == b"ok"
    assert backend.last.target == path


def test_location_under_a_host_stays(hestia, backend):
    gateway = hestia({"services": {"c": {"base_url": backend.url, "hosts": ["c.lan"]}}})
    backend.handler = lambda peer, request: peer.respond(302, b"", [("Location", "/login")])
    assert gateway.get("/", host="c.lan").value("Location") == "/login"


def test_default_service_takes_the_rest(hestia, backend):
    gateway = hestia({"server": {"default_service": "d"}, "services": {"d": {"base_url": backend.url}}})
    assert gateway.get("/anything/at?all").body == b"ok"
    assert backend.last.target == "/anything/at?all"
    assert gateway.get("/health").json == {"status": "ok"}
    assert gateway.get("/services/nobody/").status == 404


# ---- bodies


@pytest.mark.threads
def test_big_upload_is_identical(proxy, backend):
    backend.handler = answer_sha256
    part = os.urandom(1 << 20)
    digest = hashlib.sha256()
    with proxy.connect() as connection:
        connection.send(f"PUT /services/s/big HTTP/1.1\r\nHost: test\r\nContent-Length: {BIG}\r\n\r\n".encode())
        for _ in range(BIG // len(part)):
            connection.send(part)
            digest.update(part)
        response = connection.read_response()
    assert response.json == {"size": BIG, "sha256": digest.hexdigest()}


@pytest.mark.threads
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_big_download_is_identical(proxy, backend, framing):
    part = os.urandom(1 << 20)
    wanted = hashlib.sha256(part * (BIG // len(part))).hexdigest()

    def answer(peer, request):
        if framing == "chunked":
            peer.begin_chunked()
        else:
            length = f"Content-Length: {BIG}\r\n" if framing == "length" else ""
            peer.send(f"HTTP/1.1 200 OK\r\n{length}\r\n".encode())
        for _ in range(BIG // len(part)):
            peer.chunk(part) if framing == "chunked" else peer.send(part)
        if framing == "chunked":
            peer.send(b"0\r\n\r\n")
        if framing == "close":
            peer.close()

    backend.handler = answer
    digest = hashlib.sha256()
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/big")
        response = connection.read_response(sink=digest.update)
    assert response.complete and digest.hexdigest() == wanted
    assert bool(response.values("Content-Length")) == (framing == "length")


def test_slow_reader_stops_the_upstream(proxy, backend):
    """Back-pressure: an upstream that could send 64 MiB gets rid of a small part while the client does not read."""
    sent, stuck = [0], threading.Event()
    part = b"x" * (1 << 18)

    def answer(peer, request):
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n".encode())
        peer.sock.settimeout(1)
        try:
            while sent[0] < BIG:
                peer.sock.sendall(part)
                sent[0] += len(part)
        except TimeoutError:
            stuck.set()
        peer.reset()

    backend.handler = answer
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/big")
        opened(stuck, "the upstream was stopped")
        assert sent[0] < 32 << 20
        response = connection.read_response()
    assert not response.complete


@pytest.mark.parametrize("chunks", [[b"hello"], [b"a", b"b" * 5000, b"c"], [b"z" * 200000], []])
def test_chunked_request(proxy, backend, chunks):
    body = b"".join(b"%X\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    with proxy.connect() as connection:
        connection.send(b"POST /services/s/ HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: Chunked\r\n\r\n" + body)
        assert connection.read_response().status == 200
        connection.request("GET", "/services/s/next")
        assert connection.read_response().status == 200
    assert backend.requests[-2].body == b"".join(chunks)
    assert backend.requests[-2].complete


def test_chunked_request_byte_by_byte_with_extensions(proxy, backend):
    with proxy.connect() as connection:
        for byte in b"POST /services/s/ HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" \
                    b"3;name=\"va;lue\"\r\nabc\r\n002;x\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n":
            connection.send(bytes([byte]))
        assert connection.read_response().status == 200
    assert backend.last.body == b"abcde"
    assert backend.last.trailers == []


def test_chunked_response_and_its_trailers(proxy, backend):
    def answer(peer, request):
        peer.begin_chunked([("Trailer", "X-Sum")])
        for part in (b"a", b"bc" * 4000, b"d"):
            peer.chunk(part)
        peer.send(b"0\r\nX-Sum: 42\r\n\r\n")

    backend.handler = answer
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/")
        response = connection.read_response()
        assert response.complete and response.body == b"a" + b"bc" * 4000 + b"d"
        assert response.trailers == [] and response.values("Trailer") == []
        connection.request("GET", "/services/s/", [("TE", "trailers"), ("Connection", "TE")])
        response = connection.read_response()
        assert response.complete and response.trailers == [("X-Sum", "42")]


def test_http_1_0_client_gets_no_chunks(proxy, backend):
    def answer(peer, request):
        peer.begin_chunked()
        peer.chunk(b"hello ")
        peer.chunk(b"world")
        peer.send(b"0\r\n\r\n")

    backend.handler = answer
    response = proxy.request("GET", "/services/s/", version="HTTP/1.0", host=None)
    assert response.values("Transfer-Encoding") == [] and response.until_close
    assert response.body == b"hello world"


def test_http_1_0_keep_alive(proxy):
    with proxy.connect() as connection:
        for _ in range(2):
            connection.request("GET", "/services/s/", [("Connection", "keep-alive")], version="HTTP/1.0")
            response = connection.read_response()
            assert response.body == b"ok" and response.value("Connection").lower() == "keep-alive"
        connection.request("GET", "/services/s/", version="HTTP/1.0")
        assert connection.read_response().body == b"ok"
        assert connection.is_closed()


# ---- connections


def test_upstream_connection_is_kept(proxy, backend):
    with proxy.connect() as connection:
        for number in range(5):
            connection.request("POST", f"/services/s/{number}", body=b"x")
            assert connection.read_response().status == 200
    numbers = {request.connection for request in backend.requests if request.method == "POST"}
    assert len(numbers) == 1


def test_client_connection_close(proxy):
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/", [("Connection", "close")])
        response = connection.read_response()
        assert response.value("Connection").lower() == "close" and response.body == b"ok"
        assert connection.is_closed()


def test_pipelined_requests_are_answered_in_order(proxy, backend):
    backend.handler = lambda peer, request: peer.respond(200, request.target.encode())
    with proxy.connect() as connection:
        connection.send(b"".join(b"GET /services/s/%d HTTP/1.1\r\nHost: test\r\n\r\n" % n for n in range(20)))
        assert [connection.read_response().body for _ in range(20)] == [b"/%d" % n for n in range(20)]


def test_keepalive_requests_limit(hestia, backend):
    gateway = hestia({"server": {"limits": {"keepalive_requests": 3}}, "services": {"s": {"base_url": backend.url}}})
    with gateway.connect() as connection:
        for number in range(3):
            connection.request("GET", "/services/s/")
            response = connection.read_response()
            assert ((response.value("Connection") or "").lower() == "close") == (number == 2)
        assert connection.is_closed()


def answer_once_then_close(replies):
    """Answers that many requests on each connection, then closes at the next one without a byte."""
    counts = {}

    def answer(peer, request):
        counts[peer.number] = counts.get(peer.number, 0) + 1
        if counts[peer.number] > replies:
            peer.close()
        else:
            peer.respond(200, b"fresh")

    return answer


def test_dead_kept_connection_is_replaced_once(proxy, backend):
    """http.md 3.4: EOF on a reused connection before a byte came, and an idempotent method."""
    backend.handler = answer_once_then_close(1)
    with proxy.connect() as connection:
        for _ in range(4):
            connection.request("GET", "/services/s/")
            assert connection.read_response().body == b"fresh"


def test_post_is_not_repeated_on_a_dead_connection(proxy, backend):
    backend.handler = answer_once_then_close(1)
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/first")
        connection.read_response()
        connection.request("POST", "/services/s/pay", body=b"once")
        response = connection.read_response()
    assert response.status in (502, 503), response
    assert backend.paths().count("/pay") == 1


def test_fresh_connection_closed_without_a_byte(proxy, backend):
    backend.handler = answer_once_then_close(0)
    response = proxy.get("/services/s/")
    assert response.status == 502 and response.code == "upstream_protocol_error"
    assert response.value("X-Hestia-Error-Source") == "upstream"


def test_unreachable_upstream(proxy, backend):
    backend.close()
    response = proxy.get("/services/s/")
    assert response.status == 503 and response.code == "upstream_unreachable"
    assert int(response.value("Retry-After")) >= 1


def test_first_byte_timeout(hestia, backend):
    gateway = hestia({"services": {"s": {"base_url": backend.url, "first_byte_timeout_seconds": 1}}})
    gateway.start("s")
    over = threading.Event()
    backend.handler = lambda peer, request: opened(over)
    response = gateway.get("/services/s/")
    over.set()
    assert response.status == 504 and response.code == "upstream_timeout"


# ---- streams


@pytest.mark.threads
def test_sse_passes_as_it_comes(proxy, backend):
    seen = threading.Event()

    def answer(peer, request):
        peer.begin_chunked([("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")])
        peer.chunk(b"data: one\n\n")
        opened(seen, "the client saw the first event")
        peer.chunk(b"data: two\n\n")
        peer.send(b"0\r\n\r\n")

    backend.handler = answer
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/events")
        response = connection.read_head()
        assert response.value("Content-Type") == "text/event-stream"
        assert b"data: one\n\n" in connection.read_until(b"one\n\n") + b"one\n\n"
        seen.set()
        connection.read_until(b"data: two\n\n")
        connection.read_until(b"0\r\n\r\n")


def test_response_may_begin_before_the_request_ends(proxy, backend):
    """Both directions at once: an echo, part by part."""

    @header_reader
    def answer(peer, request):
        peer.begin_chunked()
        for part in peer.body_parts(request):
            peer.chunk(part)
        peer.send(b"0\r\n\r\n")

    backend.handler = answer
    with proxy.connect() as connection:
        connection.send(b"POST /services/s/ HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.send(b"4\r\nping\r\n")
        connection.read_until(b"ping")
        connection.send(b"4\r\npong\r\n0\r\n\r\n")
        connection.read_until(b"pong")
        connection.read_until(b"0\r\n\r\n")


@pytest.mark.threads
def test_client_that_leaves_a_stream_ends_the_upstreams(proxy, backend):
    noticed = threading.Event()

    def answer(peer, request):
        peer.begin_chunked()
        peer.chunk(b"first")
        peer.is_closed()
        noticed.set()

    backend.handler = answer
    connection = proxy.connect()
    connection.request("GET", "/services/s/")
    connection.read_until(b"first")
    connection.close()
    opened(noticed, "the upstream saw the end")


def test_client_that_leaves_before_the_answer_ends_the_upstreams(proxy, backend):
    came, noticed = threading.Event(), threading.Event()

    def answer(peer, request):
        came.set()
        peer.is_closed()
        noticed.set()

    backend.handler = answer
    connection = proxy.connect()
    connection.request("POST", "/services/s/", body=b"x")
    opened(came)
    connection.reset()
    opened(noticed, "the upstream saw the end")


def test_half_close_cancels(proxy, backend):
    came, noticed = threading.Event(), threading.Event()

    def answer(peer, request):
        came.set()
        peer.is_closed()
        noticed.set()

    backend.handler = answer
    with proxy.connect() as connection:
        connection.request("GET", "/services/s/")
        opened(came)
        connection.half_close()
        opened(noticed, "the upstream saw the end")


def test_half_close_delivers_when_asked_to(hestia, backend):
    gateway = hestia({"server": {"abort_on_half_close": False}, "services": {"s": {"base_url": backend.url}}})
    gateway.start("s")
    came, go = threading.Event(), threading.Event()

    def answer(peer, request):
        came.set()
        opened(go)
        peer.respond(200, b"in full")

    backend.handler = answer
    with gateway.connect() as connection:
        connection.request("GET", "/services/s/")
        opened(came)
        connection.half_close()
        go.set()
        assert connection.read_response().body == b"in full"


# ---- Expect, interim and early responses


@pytest.mark.parametrize("expectation", ["100-continue", "100-Continue"])
def test_expect_continue(proxy, backend, expectation):
    with proxy.connect() as connection:
        connection.send(f"POST /services/s/ HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: {expectation}\r\n\r\n".encode())
        assert connection.read_head().status == 100
        connection.send(b"hello")
        response = connection.read_response()
        assert response.status == 200 and response.interim == []
    assert backend.last.body == b"hello"
    assert backend.last.values("Expect") == []


def test_expect_is_answered_finally_when_refused(proxy):
    with proxy.connect() as connection:
        connection.send(b"POST /services/nobody/ HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        response = connection.read_response()
        assert response.status == 404 and response.interim == []


def test_expect_of_1_0_is_ignored(proxy, backend):
    with proxy.connect() as connection:
        connection.send(b"POST /services/s/ HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
        response = connection.read_response()
        assert response.status == 200 and response.interim == []
    assert backend.last.body == b"hi"


def test_body_without_waiting_for_100(proxy, backend):
    with proxy.connect() as connection:
        connection.send(b"POST /services/s/ HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi")
        assert connection.read_response().status == 200
    assert backend.last.body == b"hi"


def test_other_expectation(proxy, backend):
    seen = len(backend.requests)
    assert proxy.post("/services/s/", b"x", [("Expect", "the-unexpected")]).status == 417
    assert len(backend.requests) == seen


@pytest.mark.parametrize("interim, relayed", [
    (b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n", [103]),
    (b"HTTP/1.1 100 Continue\r\n\r\n", []),
    (b"HTTP/1.1 102 Processing\r\n\r\n", []),
    (b"HTTP/1.1 199 Odd\r\n\r\n", []),
    (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 16, [103] * 16),
])
def test_interim_responses(proxy, backend, interim, relayed):
    backend.handler = raw(interim + b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", close=False)
    response = proxy.get("/services/s/")
    assert response.status == 200 and response.body == b"ok"
    assert [one.status for one in response.interim] == relayed
    if relayed:
        assert response.interim[0].values("Link")


def test_interim_is_not_relayed_to_1_0(proxy, backend):
    backend.handler = raw(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    response = proxy.request("GET", "/services/s/", version="HTTP/1.0")
    assert response.status == 200 and response.interim == []


def test_early_response_reaches_the_client(proxy, backend):
    """The upstream refuses at the head; the client still sends."""

    @header_reader
    def answer(peer, request):
        peer.respond(413, b"too much", reason="Too Large")
        peer.close()

    backend.handler = answer
    with proxy.connect() as connection:
        connection.send(b"POST /services/s/ HTTP/1.1\r\nHost: test\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 1000)
        response = connection.read_response()
        assert (response.status, response.body) == (413, b"too much")


def test_early_response_to_a_small_body_keeps_the_connection_usable(proxy, backend):
    @header_reader
    def answer(peer, request):
        peer.respond(401, b"no")
        peer.is_closed()

    backend.on("/early", answer)
    with proxy.connect() as connection:
        connection.send(b"POST /services/s/early HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n")
        response = connection.read_response()
        assert response.status == 401
        connection.send(b"rest")
        if (response.value("Connection") or "").lower() == "close":
            assert connection.is_closed()
        else:
            connection.request("GET", "/services/s/next")
            assert connection.read_response().body == b"ok"


# ---- WebSocket and other upgrades


@pytest.mark.threads
@pytest.mark.parametrize("size", [0, 5, 125, 126, 65535, 65536, 1 << 20])
def test_websocket_echo(proxy, backend, size):
    backend.handler = answer_websocket_echo
    payload = os.urandom(size)
    with proxy.connect() as connection:
        assert connection.upgrade("/services/s/ws?x=1", fields=[("Sec-WebSocket-Protocol", "chat")]).status == 101
        for opcode in (2, 9):
            connection.send_frame(opcode, payload[:125] if opcode == 9 else payload)
            assert connection.read_frame() == (opcode, payload[:125] if opcode == 9 else payload)
        connection.send_frame(8, b"\x03\xe8bye")
        assert connection.read_frame() == (8, b"\x03\xe8bye")
        assert connection.is_closed()
    request = backend.last
    assert request.target == "/ws?x=1" and request.value("Sec-WebSocket-Protocol") == "chat"
    assert request.value("Upgrade").lower() == "websocket" and "upgrade" in request.value("Connection").lower()


def test_websocket_by_host(hestia, backend):
    gateway = hestia({"services": {"c": {"base_url": backend.url, "hosts": ["c.lan"]}}})
    backend.handler = answer_websocket_echo
    with gateway.connect() as connection:
        assert connection.upgrade("/ws", host="c.lan").status == 101
        connection.send_frame(1, b"hi")
        assert connection.read_frame() == (1, b"hi")


def test_websocket_bytes_before_101_are_kept_back(proxy, backend):
    """Frames that a client sends too early reach the upstream, after its 101."""
    early = threading.Event()

    def answer(peer, request):
        opened(early)
        peer.sock.settimeout(0.3)
        assert peer.pending == b""
        try:
            assert not peer.sock.recv(1), "bytes before 101"
        except TimeoutError:
            pass
        peer.sock.settimeout(20)
        answer_websocket_echo(peer, request)

    backend.handler = answer
    with proxy.connect() as connection:
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        connection.request("GET", "/services/s/ws", [("Connection", "Upgrade"), ("Upgrade", "websocket"),
                                                     ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)])
        connection.send_frame(1, b"early")
        early.set()
        response = connection.read_head()
        assert response.status == 101 and response.value("Sec-WebSocket-Accept") == websocket_accept(key)
        assert connection.read_frame() == (1, b"early")


@pytest.mark.threads
def test_websocket_end_of_either_side_ends_the_other(proxy, backend):
    ended = threading.Event()

    def answer(peer, request):
        try:
            answer_websocket_echo(peer, request)
        finally:
            ended.set()

    backend.handler = answer
    connection = proxy.connect()
    assert connection.upgrade("/services/s/ws").status == 101
    connection.close()
    opened(ended, "the upstream saw the end")


def test_websocket_refused_by_the_upstream(proxy, backend):
    backend.handler = lambda peer, request: peer.respond(403, b"no sockets")
    with proxy.connect() as connection:
        response = connection.upgrade("/services/s/ws")
        assert (response.status, response.body) == (403, b"no sockets")


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: bm90IHRoZSBrZXk=\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
])
def test_websocket_wrong_acceptance(proxy, backend, answer):
    backend.handler = raw(answer)
    with proxy.connect() as connection:
        response = connection.upgrade("/services/s/ws")
        assert response.status == 502 and response.code == "upstream_protocol_error"


def websocket_fields(**changes):
    fields = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
              "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", **changes}
    return [(name, value) for name, value in fields.items() if value is not None]


def test_websocket_of_another_version(proxy):
    response = proxy.get("/services/s/ws", websocket_fields(**{"Sec-WebSocket-Version": "8"}))
    assert response.status == 426 and response.value("Sec-WebSocket-Version") == "13"


@pytest.mark.parametrize("key", [None, "", "short", "dGhlIHNhbXBsZSBub25jZQ=", "!!!!!!!!!!!!!!!!!!!!!!=="])
def test_websocket_without_a_proper_key(proxy, backend, key):
    seen = len(backend.requests)
    assert proxy.get("/services/s/ws", websocket_fields(**{"Sec-WebSocket-Key": key})).status == 400
    assert len(backend.requests) == seen


def test_websocket_with_a_body(proxy):
    assert proxy.request("GET", "/services/s/ws", websocket_fields(), b"body").status == 400


@pytest.mark.parametrize("fields", [
    [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAAQ")],
    [("Connection", "Upgrade"), ("Upgrade", "TLS/1.0")],
    [("Upgrade", "websocket")],
])
def test_other_upgrades_are_served_as_http(proxy, backend, fields):
    assert proxy.get("/services/s/", fields).body == b"ok"
    assert backend.last.values("Upgrade") == [] and backend.last.values("HTTP2-Settings") == []


def test_101_without_asking(proxy, backend):
    backend.handler = raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    assert proxy.get("/services/s/").status == 502


# ---- other upstreams and listeners


def test_unix_socket_upstream(hestia, backends, tmp_path):
    backend = backends(unix=tmp_path / "up.sock")
    gateway = hestia({"services": {"s": {"base_url": f"unix:{tmp_path}/up.sock:/prefix"},
                                   "bare": {"base_url": f"unix:{tmp_path}/up.sock"}}})
    assert gateway.get("/services/s/x?y").body == b"ok"
    assert backend.last.target == "/prefix/x?y"
    assert gateway.get("/services/bare/x").body == b"ok"
    assert backend.last.target == "/x"


def test_unix_socket_beside_tls_is_plain(hestia, backend, authority, tmp_path):
    """`server.tls` is for the TCP listeners; who may open the socket is on this machine."""
    certificate, key = authority.issue("localhost")
    gateway = hestia({"server": {"listen": ["127.0.0.1:0", f"unix:{tmp_path}/front.sock"], "tls": {"cert": str(certificate), "key": str(key)}},
                      "services": {"s": {"base_url": backend.url}}}, arguments=())
    assert len(gateway.listen) == 2
    with gateway.connect_unix(tmp_path / "front.sock") as connection:
        connection.request("GET", "/services/s/")
        assert connection.read_response().body == b"ok"
    assert backend.last.value("X-Forwarded-Proto") == "http"


def test_unix_socket_that_is_not_there(hestia, backends, tmp_path):
    gateway = hestia({"services": {"s": {"base_url": f"unix:{tmp_path}/up.sock", "warmup_ms": 1}}})
    response = gateway.get("/services/s/x")
    assert (response.status, response.code) == (503, "upstream_unreachable")
    assert f"unix:{tmp_path}/up.sock: the socket file does not exist" in response.json["error"]["message"]
    backends(unix=tmp_path / "up.sock")
    assert gateway.get("/services/s/x").body == b"ok"


def test_unix_socket_listener(hestia, backend, tmp_path):
    gateway = hestia({"server": {"listen": [f"unix:{tmp_path}/front.sock"]}, "services": {"s": {"base_url": backend.url}}},
                     arguments=(), wait=False)
    gateway.wait_event("gateway_start")
    with gateway.connect_unix(tmp_path / "front.sock") as connection:
        connection.request("GET", "/services/s/")
        assert connection.read_response().body == b"ok"


@pytest.mark.threads
def test_tls_upstream_verified(hestia, backends, authority):
    backend = backends(answer_sha256, tls=authority.server_context())
    gateway = hestia({"services": {"s": {"base_url": backend.url, "tls": {"ca": str(authority.ca)}}}})
    body = os.urandom(3 << 20)
    response = gateway.post("/services/s/", body)
    assert response.json == {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def test_tls_upstream_by_name(hestia, backends, authority):
    backend = backends(tls=authority.server_context("named", names="DNS:localhost"))
    gateway = hestia({"services": {"s": {"base_url": f"https://localhost:{backend.port}", "tls": {"ca": str(authority.ca)}}}})
    assert gateway.get("/services/s/").body == b"ok"


@pytest.mark.parametrize("trusted, names", [(False, "IP:127.0.0.1"), (True, "DNS:elsewhere.example")])
def test_tls_upstream_that_cannot_be_verified(hestia, backends, authority, trusted, names):
    backend = backends(tls=authority.server_context("wrong", names=names))
    options = {"tls": {"ca": str(authority.ca)}} if trusted else {}
    gateway = hestia({"services": {"s": {"base_url": backend.url, **options}}})
    response = gateway.get("/services/s/")
    assert response.status in (502, 503) and "error" in response.json
    assert backend.requests == []


def test_tls_upstream_unverified_on_demand(hestia, backends, authority):
    backend = backends(tls=authority.server_context("wrong", names="DNS:elsewhere.example"))
    gateway = hestia({"services": {"s": {"base_url": backend.url, "tls": {"insecure_skip_verify": True}}}})
    assert gateway.get("/services/s/").body == b"ok"


def test_tls_close_delimited_body_needs_close_notify(hestia, backends, authority):
    def clean(peer, request):
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nwhole")
        peer.sock = peer.sock.unwrap()
        peer.close()

    def torn(peer, request):
        peer.send(b"HTTP/1.1 200 OK\r\n\r\ntorn")
        peer.close()

    backend = backends(tls=authority.server_context())
    backend.on("/clean", clean).on("/torn", torn)
    gateway = hestia({"services": {"s": {"base_url": backend.url, "tls": {"ca": str(authority.ca)}}}})
    whole = gateway.get("/services/s/clean")
    assert whole.complete and whole.body == b"whole"
    assert not gateway.get("/services/s/torn").complete
    lenient = {"ca": str(authority.ca), "allow_unclean_close": True}
    gateway = hestia({"services": {"s": {"base_url": backend.url, "tls": lenient}}})
    torn = gateway.get("/services/s/torn")
    assert torn.complete and torn.body == b"torn"


@pytest.mark.threads
def test_tls_listener(hestia, backend, authority):
    certificate, key = authority.issue("front")
    gateway = hestia({"server": {"tls": {"cert": str(certificate), "key": str(key)}}, "services": {"s": {"base_url": backend.url}}})
    context = authority.client_context()
    with gateway.connect(tls=context) as connection:
        assert connection.sock.version() in ("TLSv1.2", "TLSv1.3")
        for _ in range(2):
            connection.request("POST", "/services/s/", body=b"x" * 100000)
            assert connection.read_response().body == b"ok"
    assert backend.last.value("X-Forwarded-Proto") == "https"
    assert backend.last.body == b"x" * 100000
    with gateway.connect(tls=context) as connection:
        backend.handler = answer_websocket_echo
        assert connection.upgrade("/services/s/ws").status == 101
        connection.send_frame(1, b"secret")
        assert connection.read_frame() == (1, b"secret")


def test_tls_listener_refuses_old_versions_and_plain_text(hestia, backend, authority):
    certificate, key = authority.issue("front")
    gateway = hestia({"server": {"tls": {"cert": str(certificate), "key": str(key)}}, "services": {"s": {"base_url": backend.url}}})
    old = authority.client_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        gateway.connect(tls=old)
    with gateway.connect() as connection:
        connection.request("GET", "/health")
        with pytest.raises(Closed):
            while True:
                connection.read_until(b"HTTP/1.1 200")


@pytest.mark.threads
def test_many_clients_at_once(hestia, backend):
    """Answers never end up with another client."""
    backend.handler = lambda peer, request: peer.respond(200, request.target.encode() + b" " + request.body)
    gateway = hestia({"server": {"workers": 4}, "services": {"s": {"base_url": backend.url}}})

    def client(number):
        with gateway.connect() as connection:
            for turn in range(20):
                body = f"{number}-{turn}".encode() * 50
                connection.request("POST", f"/services/s/{number}/{turn}", body=body)
                assert connection.read_response().body == f"/{number}/{turn} ".encode() + body
        return True

    together = Together()
    for number in range(24):
        together.call(client, number)
    assert together.join() == [True] * 24
    eventually(lambda: gateway.status("s")["inFlight"] == 0, "nothing in flight")
