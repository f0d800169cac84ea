"""Header fields in both directions, and that keys and URLs stay inside (issue "The pool" 4; details.md 7, 9, 14)."""

import hashlib
import json
import time

import pytest

from gateway import metric, run_cli
from pool import CHAT, SSE, Stream, ask, chat, closed_url, drop, event, fail, in_turn, answer, is_error_event, served, streams, FIRST, DONE
from waiting import eventually

CANARY = "sk-canary-5b1e0c77d2a94f"
OPERATOR = "operator-key-0123456789"
SLOW = 1.0  # seconds that an upstream or a client takes, and no gateway


def hashed(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def one(pool):
    """One upstream `a` with the canary as its key, and the gateway over it."""
    a = pool.upstream("a", models=None)
    return pool.start(a.provider(api_key=CANARY)), a


# ---- to the client


@pytest.mark.parametrize("stream", [False, True])
def test_fields_of_an_answer(one, stream):
    gateway, a = one
    response = ask(gateway, chat(stream=stream))
    assert response.value("X-Hestia-Provider") == "a"
    assert response.value("X-Hestia-Model") == "m"
    assert response.value("X-Hestia-Attempts") == "1"
    assert 0 <= int(response.value("X-Hestia-Queue-Ms")) < 1000
    assert 0 < float(response.value("X-Hestia-Overhead-Ms")) < 1000
    assert response.value("X-Request-ID")


def slowly(then):
    def handler(peer, request):
        time.sleep(SLOW)
        then(peer, request)

    return handler


def slow_error_event(peer, request):
    peer.begin_chunked(SSE)
    time.sleep(SLOW)
    peer.chunk(event({"error": {"message": "no"}}))
    peer.send(b"0\r\n\r\n")


@pytest.mark.parametrize("first, stream", [
    pytest.param(slowly(fail(500)), False, id="error"),
    pytest.param(slowly(drop), False, id="closes"),
    pytest.param(slowly(fail(500)), True, id="stream's error"),
    pytest.param(slow_error_event, True, id="error event"),
])
def test_overhead_is_without_the_upstreams(pool, first, stream):
    """The time of a provider that failed is no more ours than that of the one that answered."""
    gateway = pool.start(pool.upstream("a", first), pool.upstream("b"), routing={"strategy": "failover"})
    response = ask(gateway, chat(stream=stream))
    assert served(response) == "b" and response.value("X-Hestia-Attempts") == "2"
    assert 0 < float(response.value("X-Hestia-Overhead-Ms")) < SLOW * 1000
    assert eventually(lambda: metric(gateway, "hestia_overhead_seconds_count"), "it is counted") == 1
    assert 0 < metric(gateway, "hestia_overhead_seconds_sum") < SLOW


def test_overhead_is_without_the_client(one):
    """A body that comes slowly is not our work."""
    gateway, _ = one
    body = json.dumps(chat()).encode()
    with gateway.connect() as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        time.sleep(SLOW)
        client.send(body)
        assert 0 < float(client.read_response().value("X-Hestia-Overhead-Ms")) < SLOW * 1000


def test_an_upstream_cannot_forge_them(pool):
    forged = [("X-Hestia-Provider", "forged"), ("X-Hestia-Attempts", "99"), ("X-Hestia-Model", "forged"),
              ("X-Hestia-Error-Source", "gateway")]
    a = pool.upstream("a", in_turn(lambda peer, request: peer.respond(200, {"choices": []}, forged),
                                   lambda peer, request: peer.respond(400, {"error": {}}, forged)), models=None)
    gateway = pool.start(a)
    for status in (200, 400):
        response = ask(gateway)
        assert response.status == status
        assert response.value("X-Hestia-Provider") == "a" and response.value("X-Hestia-Attempts") == "1"
        assert "forged" not in repr(response.fields)
    assert response.value("X-Hestia-Error-Source") == "upstream"


def test_request_ids(one):
    gateway, a = one
    a.handler = lambda peer, request: peer.respond(200, {}, [("X-Request-ID", "theirs")])
    response = ask(gateway, fields=[("X-Request-ID", "mine-1")])
    assert response.value("X-Request-ID") == "mine-1" and a.last.value("X-Request-ID") == "mine-1"
    assert response.value("X-Upstream-Request-ID") == "theirs"


# ---- to the provider


CREDENTIALS = [("Authorization", "Bearer client-secret"), ("X-API-Key", "client-secret"), ("api-key", "client-secret"),
               ("Cookie", "session=client-secret"), ("x-goog-api-key", "client-secret"), ("Proxy-Authorization", "Basic client-secret")]


@pytest.mark.parametrize("field", CREDENTIALS, ids=[name for name, _ in CREDENTIALS])
def test_the_clients_credentials_are_not_forwarded(one, field):
    gateway, a = one
    assert ask(gateway, fields=[field]).status == 200
    assert a.last.value("Authorization") == f"Bearer {CANARY}"
    assert b"client-secret" not in a.last.head


def test_repeated_credentials_are_all_dropped(one):
    gateway, a = one
    assert ask(gateway, fields=[("api-key", "client-secret-1"), ("API-Key", "client-secret-2"), ("Cookie", "a=client-secret"),
               ("cookie", "b=client-secret")]).status == 200
    assert b"client-secret" not in a.last.head


def test_the_gateways_key_is_not_forwarded(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a, auth={"api_keys": [hashed(OPERATOR)]})
    for fields in ([("Authorization", f"Bearer {OPERATOR}")], [("X-API-Key", OPERATOR)]):
        assert ask(gateway, fields=fields).status == 200
        assert OPERATOR.encode() not in a.last.head and a.last.value("Authorization") == f"Bearer {a.key}"


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/embeddings", "/chat/completions"])
def test_a_key_is_needed_where_keys_are_configured(pool, path):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a, auth={"api_keys": [hashed(OPERATOR)]})
    for fields in ([], [("Authorization", "Bearer dummy")], [("X-API-Key", "dummy")]):
        response = ask(gateway, fields=fields, path=path)
        assert response.status == 401 and response.code == "invalid_api_key"
        assert response.json["error"]["type"] == "authentication_error"
    for other in ("/v1/models", "/v1/models/m", "/v1/providers"):
        assert gateway.get(other).status == 401
    assert a.calls == []


def test_any_key_will_do_where_none_is_configured(one):
    gateway, a = one
    assert ask(gateway, fields=[("Authorization", "Bearer dummy")]).status == 200


def test_other_fields_pass(one):
    gateway, a = one
    others = [("OpenAI-Organization", "org-1"), ("OpenAI-Beta", "assistants=v2"), ("X-Custom", "a b"), ("User-Agent", "client/1.0")]
    ask(gateway, fields=others)
    for name, value in others:
        assert a.last.value(name) == value
    assert a.last.value("Content-Type") == "application/json"


def test_identity_is_asked_for(one):
    gateway, a = one
    for fields in ([], [("Accept-Encoding", "gzip, br")]):
        ask(gateway, fields=fields)
        assert a.last.value("Accept-Encoding") == "identity"


def test_head_of_the_request(one):
    gateway, a = one
    ask(gateway)
    assert a.last.line == "POST /v1/chat/completions HTTP/1.1"
    assert a.last.value("Host") == f"127.0.0.1:{a.port}"
    assert len(a.last.values("Content-Length")) == 1


def test_where_the_client_is_stays_inside(one):
    """A provider outside learns nothing of who asks."""
    gateway, a = one
    told = ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Origin", "X-Forwarded-Host"]
    ask(gateway, fields=[(name, "10.1.2.3") for name in told])
    assert all(a.last.values(name) == [] for name in told)
    assert b"10.1.2.3" not in a.last.head


def test_configured_headers_are_sent(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a.provider(headers={"HTTP-Referer": "https://example.org", "X-Title": "ünï"}))
    ask(gateway, fields=[("X-Title", "the client's")])
    assert a.last.value("HTTP-Referer") == "https://example.org"
    assert a.last.values("X-Title") == ["ünï".encode().decode("latin-1")]


@pytest.mark.parametrize("base", ["/v1", "/v1/", "", "/", "/deep/er/v1beta/openai"])
def test_base_urls(pool, base):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a.provider(base_url=a.url + base))
    assert ask(gateway).status == 200
    assert a.last.target == base.rstrip("/") + "/chat/completions"


def test_base_url_with_a_query(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a.provider(base_url=f"{a.url}/v1"))
    response = gateway.post(CHAT + "?api-version=evil&x=1", chat())
    assert response.status in (200, 400)
    assert all("evil" not in request.target for request in a.calls)


def test_bodies_of_get_and_wrong_methods(one):
    gateway, a = one
    for path in (CHAT, "/v1/completions", "/v1/embeddings", "/chat/completions"):
        response = gateway.get(path)
        assert response.status == 405 and "POST" in response.value("Allow")
    assert gateway.request("POST", "/v1/models", body=b"{}").status == 405
    assert a.calls == []


@pytest.mark.parametrize("path, target", [
    ("/chat/completions", "/v1/chat/completions"), ("/completions", "/v1/completions"), ("/embeddings", "/v1/embeddings"),
    ("/v1/chat/completions", "/v1/chat/completions"), ("/v1/completions", "/v1/completions"), ("/v1/embeddings", "/v1/embeddings"),
])
def test_routes_with_and_without_v1(one, path, target):
    gateway, a = one
    body = {"model": "m", "input": "x"} if "embeddings" in path else {"model": "m", "prompt": "x"} if "chat" not in path else chat()
    assert served(ask(gateway, body, path=path)) == "a"
    assert a.last.target == target


# ---- azure


def test_azure(pool):
    a = pool.upstream("a", models=None)
    entry = {**a.provider(), "type": "azure", "base_url": a.url, "api_version": "2024-10-21", "model_map": {"gpt-4": "gpt-4-deployment"}}
    gateway = pool.start(entry)
    for path, end in ((CHAT, "chat/completions"), ("/v1/completions", "completions"), ("/v1/embeddings", "embeddings")):
        body = {"model": "gpt-4", "input": "x"} if "embeddings" in path else chat("gpt-4")
        assert ask(gateway, body, path=path).status == 200
        assert a.last.target == f"/openai/deployments/gpt-4-deployment/{end}?api-version=2024-10-21"
        assert a.last.value("api-key") == a.key and a.last.values("Authorization") == []


def test_azure_version_and_prefix(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start({**a.provider(), "type": "azure", "base_url": a.url + "/some/prefix/"})
    assert ask(gateway).status == 200
    assert a.last.target == "/some/prefix/openai/deployments/m/chat/completions?api-version=2024-02-01"


def test_azure_v1(pool):
    """Its newer form knows neither deployments in paths nor versions: not for completions and not for checks."""
    a = pool.upstream("a", models=None)
    gateway = pool.start({**a.provider(), "type": "azure", "base_url": a.url + "/openai/v1"},
                         routing={"health_check": {"enabled": True, "interval": 0.1}})
    assert ask(gateway).status == 200
    assert a.last.target == "/openai/v1/chat/completions" and a.last.value("api-key") == a.key
    eventually(lambda: a.lists, "it is checked")
    assert a.lists[0].target == "/openai/v1/models"


@pytest.mark.parametrize("model", ["../../evil", "x?api-version=1", "x#y", "a b", "a/b", "ü", "x%2f..", "x\r\nX-Evil: 1", "..", "."])
def test_a_deployment_name_stays_one_segment(pool, model):
    a = pool.upstream("a", models=None)
    gateway = pool.start({**a.provider(), "type": "azure", "base_url": a.url})
    response = ask(gateway, chat(model))
    if response.status == 200:
        path, _, query = a.last.target.partition("?")
        segments = path.split("/")
        assert len(segments) == 6 and segments[1:3] == ["openai", "deployments"] and segments[4:] == ["chat", "completions"], a.last.target
        assert segments[3] not in ("", ".", "..") and query == "api-version=2024-02-01"
        assert path.isascii() and " " not in path
        assert a.last.values("X-Evil") == []
    else:
        assert response.status in (400, 404) and a.calls == []


# ---- secrets


def texts_of(gateway):
    """Everything that the gateway says of itself."""
    said = [gateway.get(path).text for path in ("/v1/providers", "/v1/models", "/metrics", "/v1/metrics", "/v1/services",
            "/openapi.json", "/health", "/ready")]
    return said + [line for line in gateway.lines if line] + [gateway.stderr]


def test_keys_and_urls_are_said_nowhere(pool):
    echo = fail(401, f"Incorrect API key provided: {CANARY}")
    a, folder = pool.upstream("a", in_turn(answer, echo, fail(500, CANARY), drop, answer), models=None), "secret-path-9f3a"
    b = {"name": "b", "base_url": f"{closed_url()}/{folder}", "api_key": CANARY + "b", "headers": {"X-Secret": CANARY + "h"}}
    gateway = pool.start({**a.provider(api_key=CANARY), "base_url": f"{a.url}/{folder}/v1"}, b,
                         routing={"circuit_breaker": {"failures": 100}})
    for number in range(6):
        response = ask(gateway, chat(stream=bool(number % 2)))
        said = response.text + repr(response.fields)
        assert CANARY not in said and folder not in said and str(a.port) not in said
    assert any(CANARY.encode() in request.head for request in a.calls)
    for text in texts_of(gateway):
        assert CANARY not in text and folder not in text


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 500, 503])
@pytest.mark.parametrize("framing", ["length", "chunked", "chunks cut", "until close"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_echoed_key_is_masked(one, status, framing, stream):
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {CANARY}. And again {CANARY}{CANARY}!", "code": "x"}}).encode()

    def handler(peer, request):
        if framing == "length":
            peer.respond(status, body, [("Content-Type", "application/json")])
        elif framing == "until close":
            peer.send(b"HTTP/1.1 %d No\r\nContent-Type: application/json\r\n\r\n" % status + body)
            peer.close()
        else:
            peer.begin_chunked([("Content-Type", "application/json")], status)
            size = 7 if framing == "chunks cut" else len(body)
            for at in range(0, len(body), size):
                peer.chunk(body[at:at + size])
            peer.send(b"0\r\n\r\n")

    gateway, a = one
    a.handler = handler
    response = ask(gateway, chat(stream=stream))
    assert response.status == status and response.complete
    assert CANARY not in response.text and "Incorrect API key provided" in response.json["error"]["message"]


def test_an_echoed_key_in_a_field(one):
    gateway, a = one
    a.handler = fail(401, fields=[("WWW-Authenticate", f'Bearer error="{CANARY}"'), ("X-Echo", CANARY)])
    response = ask(gateway)
    assert response.status == 401 and CANARY not in repr(response.fields)


def test_an_echoed_key_with_escapes(pool):
    """As JSON may write it: sk\\/canary."""
    key = "sk/canary+5b1e=="
    a = pool.upstream("a", lambda peer, request: peer.respond(401, b'{"error":{"message":"Wrong: sk\\/canary+5b1e=="}}',
                      [("Content-Type", "application/json")]), models=None)
    response = ask(pool.start(a.provider(api_key=key)))
    assert response.status == 401 and "canary+5b1e" not in response.text


def test_an_echoed_key_when_all_fail(pool):
    a = pool.upstream("a", fail(401, f"Incorrect API key provided: {CANARY}"))
    b = pool.upstream("b", fail(500, f"{CANARY}b"))
    gateway = pool.start(a.provider(api_key=CANARY), b.provider(api_key=CANARY + "b"))
    response = ask(gateway)
    assert response.status == 503 and CANARY not in response.text
    assert all(CANARY not in text for text in texts_of(gateway))


def test_an_echoed_key_in_an_error_event(pool):
    a = pool.upstream("a", streams(event({"error": {"message": f"Incorrect API key provided: {CANARY}"}}), DONE), models=None)
    response = ask(pool.start(a.provider(api_key=CANARY)), chat(stream=True))
    assert CANARY not in response.text
    assert FIRST not in response.body


def test_the_configuration_is_printed_without_them(tmp_path):
    (tmp_path / "c.yml").write_text(json.dumps({"providers": [
        {"name": "a", "base_url": "http://127.0.0.1:1/v1", "api_key": CANARY, "headers": {"X-Secret": CANARY}}]}))
    for command in (("config", "show"), ("config", "print"), ("print-config",), ("validate-config",)):
        done = run_cli(*command, "c.yml", cwd=tmp_path)
        assert CANARY not in done.stdout + done.stderr


def test_a_key_with_a_line_break_is_refused(tmp_path):
    (tmp_path / "c.yml").write_text(json.dumps({"providers": [
        {"name": "a", "base_url": "http://127.0.0.1:1/v1", "api_key": "x\r\nX-Evil: 1"}]}))
    done = run_cli("validate-config", "c.yml", cwd=tmp_path)
    assert done.returncode == 1 and "api_key" in done.stdout + done.stderr


def test_a_redirect_does_not_take_the_key_along(pool):
    """Providers do not redirect; wherever it points, nothing is sent there."""
    elsewhere = pool.upstream("elsewhere")
    a = pool.upstream("a", lambda peer, request: peer.respond(307, b"", [("Location", f"{elsewhere.url}/v1/chat/completions")]),
                      models=None)
    response = ask(pool.start(a))
    assert response.status != 200 and elsewhere.requests == []


def test_the_mask_leaves_a_stream_of_errors_whole(pool):
    a = pool.upstream("a", streams(FIRST, event({"error": {"message": f"key {CANARY} expired"}})), models=None)
    gateway = pool.start(a.provider(api_key=CANARY))
    with Stream(gateway) as stream:
        assert stream.next() + b"\n\n" == FIRST
        left = stream.rest()
    assert "expired" in is_error_event(left[-1])["message"]
