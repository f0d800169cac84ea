"""Who may do what (details.md 7)."""

import hashlib
import json

import pytest

from gateway import run_cli

KEY = "operator-key-0123456789"
ADMIN = "admin-key-0123456789"


def hashed(key):
    return "sha256:" + hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def locked(hestia, backend):
    return hestia({"auth": {"api_keys": ["${OPERATOR_KEY}", {"name": "second", "hash": hashed("second-key")}],
                            "admin_keys": [hashed(ADMIN)]},
                   "services": {"s": {"base_url": backend.url}}}, env={"OPERATOR_KEY": KEY})


PATHS = [("GET", "/services/s/x"), ("GET", "/v1/services"), ("GET", "/v1/services/s/status"), ("POST", "/v1/services/s/start"),
         ("POST", "/v1/services/s/stop"), ("GET", "/v1/services/s/logs"), ("GET", "/v1/metrics"), ("GET", "/metrics"),
         ("POST", "/v1/requests"), ("GET", "/v1/services/s/metrics")]


@pytest.mark.parametrize("method, path", PATHS)
@pytest.mark.parametrize("fields", [[], [("X-API-Key", "wrong")], [("Authorization", "Bearer wrong")], [("X-API-Key", "")],
                                    [("Authorization", f"Basic {KEY}")], [("X-API-Key", KEY[:-1])], [("X-API-Key", KEY + "x")]])
def test_refused_without_a_key(locked, backend, method, path, fields):
    response = locked.request(method, path, fields)
    assert response.status == 401 and response.code == "invalid_api_key"
    assert response.value("WWW-Authenticate") is None or "Bearer" in response.value("WWW-Authenticate")
    assert KEY not in response.text
    assert backend.requests == []


@pytest.mark.parametrize("fields", [
    [("X-API-Key", KEY)], [("x-api-key", KEY)], [("Authorization", f"Bearer {KEY}")], [("Authorization", f"bearer {KEY}")],
    [("X-API-Key", "second-key")],
])
def test_either_header_will_do(locked, fields):
    assert locked.get("/services/s/x", fields).body == b"ok"
    assert locked.get("/v1/services/s/status", fields).status == 200


@pytest.mark.parametrize("path", ["/health", "/ready", "/livez", "/healthz", "/readyz"])
def test_health_needs_no_key(locked, path):
    assert locked.get(path).status == 200


def test_public_metrics(hestia):
    gateway = hestia({"auth": {"api_keys": [hashed(KEY)], "public_metrics": True}})
    assert gateway.get("/metrics").status == 200
    assert gateway.get("/v1/services").status == 401


def test_the_gateways_key_stops_here(locked, backend):
    locked.get("/services/s/x", [("X-API-Key", KEY), ("Authorization", "Bearer theirs")])
    assert backend.last.values("X-API-Key") == [] and backend.last.value("Authorization") == "Bearer theirs"
    locked.get("/services/s/x", [("Authorization", f"Bearer {KEY}"), ("X-API-Key", "theirs")])
    assert backend.last.values("Authorization") == [] and backend.last.value("X-API-Key") == "theirs"
    assert KEY.encode() not in b"".join(request.head for request in backend.requests)


def test_without_auth_credentials_pass(hestia, backend):
    gateway = hestia({"services": {"s": {"base_url": backend.url}}})
    gateway.get("/services/s/x", [("X-API-Key", "theirs"), ("Authorization", "Bearer also theirs")])
    assert backend.last.value("X-API-Key") == "theirs" and backend.last.value("Authorization") == "Bearer also theirs"


def test_dispatcher_does_not_leak_the_key(locked, backend):
    response = locked.post("/v1/requests", {"serviceId": "s", "method": "GET", "path": "/x", "headers": {"Authorization": "Bearer theirs"}},
                           [("X-API-Key", KEY)])
    assert response.status == 200
    assert backend.last.values("X-API-Key") == [] and backend.last.value("Authorization") == "Bearer theirs"


def test_websocket_needs_the_key(locked):
    with locked.connect() as connection:
        assert connection.upgrade("/services/s/ws").status == 401


def test_refusal_comes_before_the_body(locked):
    with locked.connect() as connection:
        connection.send(b"POST /services/s/ HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
        response = connection.read_response()
        assert response.status == 401 and response.interim == []


def test_keys_are_in_no_log_and_no_answer(locked):
    for fields in ([("X-API-Key", KEY)], [("Authorization", f"Bearer {KEY}")]):
        for path in ("/services/s/x?api_key=" + KEY, "/v1/metrics", "/metrics", "/openapi.json", "/v1/services"):
            assert KEY not in locked.get(path, fields).text
    locked.wait_event("auth_success")
    locked.get("/v1/services")
    locked.wait_event("auth_failure")
    assert KEY not in "\n".join(line for line in locked.lines if line)
    assert hashlib.sha256(KEY.encode()).hexdigest() not in "\n".join(line for line in locked.lines if line)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_public_listener_without_keys_is_refused(hestia, listen):
    gateway = hestia({}, arguments=("--listen", listen), wait=False)
    gateway.expected_exit = 1
    assert gateway.wait_exit() == 1
    said = gateway.stderr + "\n".join(line for line in gateway.lines if line)
    assert "allow_open" in said


@pytest.mark.parametrize("auth", [{"allow_open": True}, {"api_keys": [hashed(KEY)]}, {"admin_keys": [hashed(ADMIN)]}])
def test_public_listener_when_said(hestia, auth):
    gateway = hestia({"auth": auth}, arguments=("--listen", "0.0.0.0:0"))
    assert gateway.get("/health").status == 200


def test_unix_listener_needs_no_keys(hestia, tmp_path):
    gateway = hestia({}, arguments=("--listen", f"unix:{tmp_path}/s"), wait=False)
    gateway.wait_event("gateway_start")
    with gateway.connect_unix(tmp_path / "s") as connection:
        connection.request("GET", "/health")
        assert connection.read_response().status == 200


@pytest.mark.parametrize("key", ["plain-text-key", "sha256:abc", "sha256:" + "g" * 64, "md5:" + "0" * 32])
def test_plain_text_keys_are_refused(tmp_path, key):
    (tmp_path / "c.yml").write_text(json.dumps({"auth": {"api_keys": [key]}}))
    done = run_cli("validate-config", "c.yml", cwd=tmp_path)
    assert done.returncode == 1
    assert "auth.api_keys" in done.stdout + done.stderr
    assert "plain-text-key" not in done.stdout + done.stderr


def test_hash_key(hestia, tmp_path):
    done = run_cli("hash-key", cwd=tmp_path, input=KEY + "\n")
    assert done.returncode == 0 and done.stdout.strip() == hashed(KEY)
    gateway = hestia({"auth": {"api_keys": [done.stdout.strip()]}})
    assert gateway.get("/v1/services", [("X-API-Key", KEY)]).status == 200


def test_keys_change_with_a_reload(hestia, backend):
    gateway = hestia({"auth": {"api_keys": [hashed("old")]}, "services": {"s": {"base_url": backend.url}}})
    with gateway.connect() as connection:
        connection.request("GET", "/services/s/", [("X-API-Key", "old")])
        assert connection.read_response().status == 200
        gateway.reload({"auth": {"api_keys": [hashed("new")]}, "services": {"s": {"base_url": backend.url}}})
        connection.request("GET", "/services/s/", [("X-API-Key", "old")])
        assert connection.read_response().status == 401
    assert gateway.get("/services/s/", [("X-API-Key", "new")]).status == 200
