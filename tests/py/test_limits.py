"""What one client address may do (http.md 3.7, 6, 7). Loopback is exempt, so the gateway runs with a library that makes
127.A.B.C (A not 0) look like 10.A.B.C, or for A = 6 like 2001:db8:0:B::C."""

import hashlib
import time

import pytest

import preload
from waiting import eventually
from wire import Closed

pytestmark = pytest.mark.threads

CLIENT, SEEN = "127.9.0.1", "10.9.0.1"
OTHER = "127.9.0.2"
KEY = "operator-key-0123456789"
OFF = {"connections_per_ip": 0, "connection_rate_per_ip": 0, "errors_per_minute_per_ip": 0, "auth_failures_per_minute_per_ip": 0}


@pytest.fixture(scope="session")
def disguise(tmp_path_factory):
    """The library, built."""
    return preload.build("peer_address", tmp_path_factory.mktemp("preload"))


@pytest.fixture
def limited(hestia, backend, disguise):
    """limited(limits, server={}) → Gateway with those limits alone, before a service `s`."""

    def config(limits, keys=(), **server):
        return {"server": {"limits": {**OFF, **limits}, "workers": 2, **server},
                "auth": {"api_keys": ["sha256:" + hashlib.sha256(key.encode()).hexdigest() for key in keys]},
                "services": {"s": {"base_url": backend.url}}}

    def start(limits, **options):
        return hestia(config(limits, **options), env={"LD_PRELOAD": disguise})

    start.config = config
    return start


def ask(connection, fields=(), target="/services/s/"):
    connection.request("GET", target, fields)
    return connection.read_response()


def is_welcome(gateway, source=CLIENT):
    """Whether a connection from there is served; otherwise it is closed without a byte."""
    try:
        with gateway.connect(source=source) as connection:
            assert ask(connection, target="/health").status == 200
            return True
    except (Closed, ConnectionError):
        return False


def break_rules(gateway, source=CLIENT, data=b"no HTTP at all\r\n\r\n"):
    with gateway.connect(source=source) as connection:
        connection.send(data)
        assert connection.read_response().status == 400
        assert connection.is_closed()


def try_key(gateway, key, source=CLIENT):
    with gateway.connect(source=source) as connection:
        return ask(connection, [("X-API-Key", key)])


def refusals(gateway, reason):
    """Counted by the workers; loopback may always ask."""
    counters = gateway.get("/v1/metrics", [("X-API-Key", KEY)]).json["counters"]
    return counters.get(f"clients_limited_total[reason={reason}]", {"count": 0})["count"]


def penalties(gateway, reason, seen=SEEN):
    return gateway.find_events("client_limited", reason=reason, client_ip=seen)


# ---- connections at once


def open_connections(gateway, source, count):
    opened = []
    for _ in range(count):
        opened.append(gateway.connect(source=source))
        assert ask(opened[-1]).status == 200
    return opened


@pytest.mark.parametrize("limit", [1, 5, 64])
def test_connections_at_once(limited, limit):
    gateway = limited({"connections_per_ip": limit})
    opened = open_connections(gateway, CLIENT, limit)
    assert not is_welcome(gateway) and not is_welcome(gateway)
    assert is_welcome(gateway, OTHER)
    assert all(ask(connection).status == 200 for connection in opened)
    opened.pop().close()
    eventually(lambda: is_welcome(gateway), "the place of a closed connection is free")
    assert refusals(gateway, "connections") >= 2
    gateway.wait_event("client_limited", reason="connections", client_ip=SEEN)
    assert len(penalties(gateway, "connections")) == 1
    for connection in opened:
        connection.close()


def test_limits_change_with_a_reload(limited):
    gateway = limited({"connections_per_ip": 1})
    held = open_connections(gateway, CLIENT, 1)
    assert not is_welcome(gateway)
    gateway.reload(limited.config({"connections_per_ip": 2}))
    eventually(lambda: is_welcome(gateway), "the higher limit is in force on every worker")
    gateway.reload(limited.config({"connections_per_ip": 1}, trusted_proxies=["10.9.0.0/16"]))
    eventually(lambda: all(is_welcome(gateway) for _ in range(8)), "a trusted proxy has no limit")
    held[0].close()
    gateway.reload(limited.config({"connections_per_ip": 1}))
    eventually(lambda: is_welcome(gateway), "what was counted is given back")


def test_ipv6_counts_by_64(limited):
    gateway = limited({"connections_per_ip": 2})
    held = open_connections(gateway, "127.6.1.1", 1) + open_connections(gateway, "127.6.1.2", 1)
    assert not is_welcome(gateway, "127.6.1.3")
    assert is_welcome(gateway, "127.6.2.1")
    gateway.wait_event("client_limited", reason="connections", client_ip="2001:db8:0:1::3")
    for connection in held:
        connection.close()


# ---- new connections


def test_new_connections(limited):
    gateway = limited({"connection_rate_per_ip": 1, "connection_burst_per_ip": 5})
    begun = time.monotonic()
    welcome = 0
    while is_welcome(gateway):
        welcome += 1
    assert 5 <= welcome <= 5 + (time.monotonic() - begun) + 1
    assert is_welcome(gateway, OTHER)
    eventually(lambda: is_welcome(gateway), "one more comes with time")
    assert refusals(gateway, "connection_rate") >= 1
    assert len(penalties(gateway, "connection_rate")) == 1


# ---- malformed requests


@pytest.mark.parametrize("data", [
    b"no HTTP at all\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"POST /services/s/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
])
def test_malformed_requests(limited, data):
    gateway = limited({"errors_per_minute_per_ip": 3})
    with gateway.connect(source=CLIENT) as older:
        assert ask(older).status == 200
        for _ in range(3):
            break_rules(gateway, data=data)
        assert is_welcome(gateway)
        break_rules(gateway, data=data)
        gateway.wait_event("client_limited", reason="errors", client_ip=SEEN)
        assert not is_welcome(gateway) and not is_welcome(gateway)
        assert is_welcome(gateway, OTHER)
        assert ask(older).status == 200
    assert refusals(gateway, "errors") >= 2
    assert len(penalties(gateway, "errors")) == 1


def test_other_refusals_are_no_syntax_errors(limited):
    gateway = limited({"errors_per_minute_per_ip": 1})
    for _ in range(5):
        with gateway.connect(source=CLIENT) as connection:
            assert ask(connection, target="/nowhere").status == 404
            assert ask(connection, target="/" + "x" * 9000).status == 414
        with gateway.connect(source=CLIENT) as connection:
            assert ask(connection, [("Expect", "miracles")]).status == 417
    break_rules(gateway)
    assert is_welcome(gateway)


# ---- wrong keys


def test_wrong_keys(limited, backend):
    gateway = limited({"auth_failures_per_minute_per_ip": 3}, keys=[KEY])
    with gateway.connect(source=CLIENT) as proven:
        assert ask(proven, [("X-API-Key", KEY)]).status == 200
        for n in range(3):
            assert try_key(gateway, f"wrong-{n}").status == 401
        assert try_key(gateway, KEY).status == 200
        served = len(backend.requests)
        for key in ("wrong-4", "wrong-5", KEY):
            response = try_key(gateway, key)
            assert response.status == 429 and response.code == "rate_limit_exceeded"
            assert 1 <= int(response.value("Retry-After")) <= 60
        with gateway.connect(source=CLIENT) as connection:
            assert ask(connection, [("Authorization", f"Bearer {KEY}")]).status == 429
            assert ask(connection, target="/health").status == 200
        assert len(backend.requests) == served
        assert ask(proven, [("X-API-Key", KEY)]).status == 200
        assert ask(proven, [("X-API-Key", "wrong-6")]).status == 429
        assert try_key(gateway, KEY, OTHER).status == 200
        assert try_key(gateway, "wrong", OTHER).status == 401
    gateway.wait_event("client_limited", reason="auth_failures", client_ip=SEEN)
    assert len(penalties(gateway, "auth_failures")) == 1
    assert refusals(gateway, "auth_failures") == 5
    eventually(lambda: len(gateway.find_events("auth_failure")) == 5, "the log says so five times")


def test_no_key_is_no_guess(limited):
    gateway = limited({"auth_failures_per_minute_per_ip": 1}, keys=[KEY])
    with gateway.connect(source=CLIENT) as connection:
        for _ in range(5):
            assert ask(connection).status == 401
    assert try_key(gateway, KEY).status == 200


# ---- who is exempt


STRICT = {"connections_per_ip": 1, "connection_rate_per_ip": 1, "connection_burst_per_ip": 1, "errors_per_minute_per_ip": 1,
          "auth_failures_per_minute_per_ip": 1}


@pytest.mark.parametrize("source, trusted", [("127.0.0.1", []), ("127.0.0.9", []), (CLIENT, ["10.9.0.0/16"]), ("127.6.1.1", ["2001:db8::/32"])])
def test_exempt(limited, source, trusted):
    gateway = limited(STRICT, keys=[KEY], trusted_proxies=trusted)
    held = [gateway.connect(source=source) for _ in range(5)]
    for connection in held:
        assert ask(connection, [("X-API-Key", KEY)]).status == 200
    for _ in range(5):
        break_rules(gateway, source)
        assert try_key(gateway, "wrong", source).status == 401
    assert try_key(gateway, KEY, source).status == 200
    assert gateway.find_events("client_limited") == []
    for connection in held:
        connection.close()


def test_unix_sockets_are_exempt(hestia, tmp_path):
    gateway = hestia({"server": {"limits": STRICT}}, arguments=("--listen", f"unix:{tmp_path}/s"), wait=False)
    gateway.wait_event("gateway_start")
    held = [gateway.connect_unix(tmp_path / "s") for _ in range(5)]
    for connection in held:
        assert ask(connection, target="/health").status == 200
        connection.close()


def test_defaults_do_not_bind_a_usual_client(hestia, disguise):
    gateway = hestia({}, env={"LD_PRELOAD": disguise})
    held = [gateway.connect(source=CLIENT) for _ in range(100)]
    for connection in held:
        assert ask(connection, target="/health").status == 200
        connection.close()
    assert gateway.find_events("client_limited") == []


# ---- age of a connection


def test_old_connections_end(limited):
    gateway = limited({"connection_age_seconds": 0.2})
    with gateway.connect() as connection:
        begun = time.monotonic()
        while True:
            response = ask(connection)
            assert response.status == 200
            if response.value("Connection") == "close":
                break
            assert time.monotonic() - begun < 20
        assert time.monotonic() - begun > 0.15
        assert connection.is_closed()


@pytest.mark.parametrize("age", [0, 3600])
def test_young_connections_go_on(limited, age):
    gateway = limited({"connection_age_seconds": age})
    with gateway.connect() as connection:
        for _ in range(50):
            assert ask(connection).value("Connection") is None
