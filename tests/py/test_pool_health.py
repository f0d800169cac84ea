"""Health of providers: passive, the circuit breaker, active checks, recovery (issue "The pool" 3; contract 0.10, 0.11)."""

import threading

import pytest

from gateway import metric
from pool import (Hold, Stream, Upstream, answer, ask, closed_url, drop, fail, hang, in_turn, many, pool_config, providers, refusing, served, streams,
                  wait_provider, FIRST)
from waiting import eventually, opened

ON = {"enabled": True, "interval": 0.1, "timeout": 5}


def breaker(failures=3, window=60, open=60, **more):
    return {"strategy": "failover", "circuit_breaker": {"failures": failures, "window": window, "open": open}, **more}


# ---- the breaker


@pytest.mark.parametrize("failures", [1, 3, 7])
def test_breaker_opens_after_so_many_failures(pool, failures):
    a, b = pool.upstream("a", fail(500)), pool.upstream("b")
    gateway = pool.start(a, b, routing=breaker(failures))
    # Passive health may rest the provider sooner; the breaker is open at the latest after so many failures.
    for _ in range(failures * 2 + 3):
        assert served(ask(gateway)) == "b"
    assert 1 <= len(a.calls) <= failures
    status = providers(gateway)["a"]
    assert status["healthy"] is False and status["last_error"]
    if failures == 1:
        assert status["breaker"] == "open"


def test_breaker_counts_only_what_is_the_providers_fault(pool):
    a, b = pool.upstream("a", fail(400)), pool.upstream("b")
    gateway = pool.start(a, b, routing=breaker(1))
    for _ in range(5):
        assert ask(gateway).status == 400
    assert providers(gateway)["a"]["breaker"] == "closed"


def test_a_client_that_leaves_is_not_the_providers_fault(pool):
    closed = threading.Event()

    def handler(peer, request):
        peer.is_closed()
        closed.set()
        peer.close()

    a = pool.upstream("a", handler)
    gateway = pool.start(a, routing=breaker(1))
    connection = gateway.connect()
    connection.request("POST", "/v1/chat/completions", body=b'{"model":"m","messages":[]}')
    a.wait_calls(1)
    connection.close()
    opened(closed, "the upstream sees it")
    status = wait_provider(gateway, "a", "is free", lambda status: status["in_flight"] == 0)
    assert status["breaker"] == "closed" and status["healthy"] and status["failures"] == 0


def test_half_open_lets_one_through(pool):
    a, b = pool.upstream("a", fail(500)), pool.upstream("b")
    gateway = pool.start(a, b, routing=breaker(1, open=0.2))
    assert served(ask(gateway)) == "b"
    trial = Hold()
    a.handler = trial

    def sends_a_trial():
        if trial.arrived == 0:
            connection = gateway.connect()
            connection.request("POST", "/v1/chat/completions", body=b'{"model":"m","messages":[]}')
            waiting.append(connection)
        return trial.arrived

    waiting = []
    eventually(sends_a_trial, "a trial is sent")
    assert providers(gateway)["a"]["breaker"] == "half_open"
    assert set(many(30, lambda _: served(ask(gateway)))) == {"b"}
    assert trial.arrived == 1
    trial.open()
    for connection in waiting:
        assert connection.read_response().status == 200
        connection.close()
    wait_provider(gateway, "a", "is closed again", lambda status: status["breaker"] == "closed" and status["healthy"])
    assert served(ask(gateway)) == "a"


def test_a_failed_trial_opens_it_again(pool):
    a, b = pool.upstream("a", fail(500)), pool.upstream("b")
    gateway = pool.start(a, b, routing=breaker(1, open=1))
    assert served(ask(gateway)) == "b"
    eventually(lambda: served(ask(gateway)) and len(a.calls) == 2, "a trial was sent")
    wait_provider(gateway, "a", "is open again", lambda status: status["breaker"] == "open")
    seen = len(a.calls)
    a.handler = answer
    eventually(lambda: served(ask(gateway)) == "a", "the next trial closes it")
    assert len(a.calls) >= seen + 1
    assert providers(gateway)["a"]["breaker"] == "closed"


def test_a_trial_whose_client_leaves_is_given_back(pool):
    a, b = pool.upstream("a", fail(500)), pool.upstream("b")
    gateway = pool.start(a, b, routing=breaker(1, open=0.2))
    assert served(ask(gateway)) == "b"
    a.handler = hang
    waiting = []

    def sends_a_trial():
        if len(a.calls) < 2:
            connection = gateway.connect()
            connection.request("POST", "/v1/chat/completions", body=b'{"model":"m","messages":[]}')
            waiting.append(connection)
        return len(a.calls) >= 2

    eventually(sends_a_trial, "a trial is sent")
    for connection in waiting:
        connection.close()
    wait_provider(gateway, "a", "is free", lambda status: status["in_flight"] == 0)
    a.handler = answer
    eventually(lambda: served(ask(gateway)) == "a", "another trial")


def test_recovery_without_checks(pool):
    """One failure does not remove a provider for ever."""
    a, b = pool.upstream("a", in_turn(drop, answer)), pool.upstream("b")
    gateway = pool.start(a, b, routing=breaker(1, open=0.2))
    assert served(ask(gateway)) == "b"
    eventually(lambda: served(ask(gateway)) == "a", "a is back")
    assert a.lists == [] or all(request.target == "/v1/models" for request in a.lists)


def test_a_single_provider_gets_another_chance(pool):
    """There is nobody else: an unhealthy provider is better than none."""
    a = pool.upstream("a", in_turn(fail(500), fail(500), answer))
    gateway = pool.start(a, routing=breaker(1, open=0.2))
    eventually(lambda: ask(gateway).status == 200, "a is back")


def test_a_stream_that_breaks_counts(pool):
    a, b = pool.upstream("a", streams(FIRST, end=False)), pool.upstream("b")
    gateway = pool.start(a, b, routing=breaker(1))
    with Stream(gateway) as stream:
        stream.rest()
    assert wait_provider(gateway, "a", "is out", lambda status: not status["healthy"])["failures"] == 1


# ---- active checks


def test_checks_ask_for_the_models(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, b.provider(fallback_only=True), routing={"health_check": ON})
    for one in (a, b):
        eventually(lambda upstream=one: len(upstream.lists) >= 3, "it is checked")
        assert {request.line for request in one.requests} == {"GET /v1/models HTTP/1.1"}
        assert all(request.value("Authorization") == f"Bearer {one.key}" for request in one.requests)
        assert one.calls == []  # free of charge: never a completion
    assert all(status["healthy"] for status in providers(gateway).values())


def test_no_checks_when_off(pool):
    a = pool.upstream("a")
    gateway = pool.start(a.provider(models=["m"]), routing={"health_check": {**ON, "enabled": False}})
    for _ in range(20):
        assert served(ask(gateway)) == "a"
    assert a.lists == []


def test_path_of_the_checks(pool):
    a = pool.upstream("a")
    a.on("/v1/alive", lambda peer, request: peer.respond(200, b"yes"))
    pool.start(a.provider(models=["m"]), routing={"health_check": {**ON, "path": "/alive"}})
    eventually(lambda: a.paths().count("/v1/alive") >= 3, "it is checked there")


@pytest.mark.parametrize("sick", [fail(500), fail(503), drop, hang])
def test_a_sick_provider_is_found_and_comes_back(pool, sick):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a.provider(models=["m"]), b.provider(models=["m"]),
                         routing={"strategy": "failover", "health_check": {**ON, "timeout": 1 if sick is hang else 5}})
    healthy = a.handlers["/v1/models"]
    assert served(ask(gateway)) == "a"
    a.on("/v1/models", sick)
    wait_provider(gateway, "a", "is found sick", lambda status: not status["healthy"])
    seen = len(a.calls)
    for _ in range(5):
        assert served(ask(gateway)) == "b"
    assert len(a.calls) == seen
    a.on("/v1/models", healthy)
    wait_provider(gateway, "a", "is back", lambda status: status["healthy"])
    assert served(ask(gateway)) == "a"


@pytest.mark.parametrize("status", [404, 405])
def test_without_a_list_a_provider_is_not_sick(pool, status):
    a = pool.upstream("a")
    a.on("/v1/models", fail(status))
    gateway = pool.start(a.provider(models=["m"]), routing={"health_check": ON})
    eventually(lambda: len(a.lists) >= 4, "it is checked")
    assert providers(gateway)["a"]["healthy"]
    assert served(ask(gateway)) == "a"


def test_a_hung_provider_does_not_stall_the_others(pool):
    a, b = pool.upstreams("a", "b")
    a.on("/v1/models", hang)
    gateway = pool.start(a, b, routing={"health_check": {**ON, "timeout": 60}})
    eventually(lambda: len(b.lists) >= 5, "b is checked on")
    assert providers(gateway)["b"]["healthy"]


def test_checks_bring_an_ejected_provider_back(pool):
    """Traffic has opened the breaker for long; a check that succeeds does not wait for that."""
    a, b = pool.upstreams("a", "b")
    a.close()
    gateway = pool.start(a.provider(models=["m"]), b, routing=breaker(1, open=0.5, health_check=ON))
    wait_provider(gateway, "a", "is found dead", lambda status: not status["healthy"])
    assert served(ask(gateway)) == "b"
    pool.opened.append(Upstream("a", port=a.port))
    wait_provider(gateway, "a", "is found alive", lambda status: status["healthy"])
    eventually(lambda: served(ask(gateway)) == "a", "it serves")


def test_unreachable_from_the_start(pool):
    b = pool.upstream("b")
    gateway = pool.start({"name": "a", "base_url": closed_url(), "api_key": "k", "models": ["m"]}, b,
                         routing={"health_check": ON})
    wait_provider(gateway, "a", "is found dead", lambda status: not status["healthy"])
    assert [ask(gateway).value("X-Hestia-Attempts") for _ in range(6)] == ["1"] * 6


def test_checks_end_with_their_provider(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, b, routing={"health_check": ON})
    eventually(lambda: a.lists and b.lists, "both are checked")
    gateway.reload(pool_config(b, routing={"health_check": ON}))
    before = len(b.lists)
    eventually(lambda: len(b.lists) >= before + 2, "b is checked on")
    seen, before = len(a.lists), len(b.lists)
    eventually(lambda: len(b.lists) >= before + 3, "b is checked on")
    assert len(a.lists) == seen


def test_no_marks_when_errors_are_not_tracked(pool):
    """monitoring.track_errors: false is the seed's switch for never ejecting anybody."""
    a, b = pool.upstream("a", fail(500)), pool.upstream("b")
    gateway = pool.start(a, b, routing=breaker(1), monitoring={"track_errors": False})
    for number in range(1, 6):
        assert served(ask(gateway)) == "b"
        assert len(a.calls) == number
    assert providers(gateway)["a"]["healthy"]


# ---- GET /v1/providers and the metrics


def test_providers_are_shown(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, b.provider(fallback_only=True))
    for _ in range(3):
        ask(gateway)
    wait_provider(gateway, "a", "has served", lambda status: status["requests"] == 3 and status["in_flight"] == 0)
    status = providers(gateway)
    assert list(status) == ["a", "b"]
    assert status["a"]["failures"] == 0 and status["a"]["in_flight"] == 0
    assert status["a"]["avg_latency_ms"] > 0 and status["b"]["requests"] == 0
    assert status["b"]["fallback_only"] is True and status["a"]["breaker"] == "closed"


def test_in_flight_is_shown(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a)
    with Stream(gateway) as stream:
        hold.wait(1)
        assert providers(gateway)["a"]["in_flight"] == 1
        hold.open()
        stream.rest()
    wait_provider(gateway, "a", "is free", lambda status: status["in_flight"] == 0)


def test_metrics(pool):
    a, b, c = pool.upstream("a", fail(500)), pool.upstream("b", fail(429, fields=[("Retry-After", "60")])), pool.upstream("c")
    gateway = pool.start(a, b, c, routing=breaker(1))
    for _ in range(4):
        assert served(ask(gateway)) == "c"
    eventually(lambda: metric(gateway, "hestia_llm_attempts_total", provider="c", result="ok") == 4, "answers are counted")
    assert metric(gateway, "hestia_llm_attempts_total", provider="a", result="server_error") == 1
    assert metric(gateway, "hestia_llm_attempts_total", provider="b", result="rate_limited") == 1
    assert metric(gateway, "hestia_llm_attempts_total") == 6
    tokens = {way: metric(gateway, "hestia_tokens_total", provider="c", direction=way) for way in ("input", "output")}
    assert tokens == {"input": 28, "output": 20}
    assert metric(gateway, "hestia_llm_duration_seconds_count", provider="c") == 4
    assert metric(gateway, "hestia_ttft_seconds_count", provider="c") == 4


@pytest.mark.parametrize("first, result", [
    pytest.param(refusing("x"), "connect", id="refused"),
    pytest.param(hang, "timeout", id="hangs"),
    pytest.param(drop, "protocol", id="closes"),
    pytest.param(fail(503), "server_error", id="503"),
    pytest.param(fail(429), "rate_limited", id="429"),
    pytest.param(fail(401), "auth", id="401"),
    pytest.param(fail(402), "quota", id="402"),
    pytest.param(fail(409), "client_error", id="409"),
])
def test_errors_are_counted_by_class(pool, first, result):
    """And the provider that took its place."""
    x = pool.upstream("x", first) if callable(first) else first
    gateway = pool.start(x, pool.upstream("b"), routing={"strategy": "failover"}, timeouts={"request": 1})
    assert served(ask(gateway)) == "b"
    eventually(lambda: metric(gateway, "hestia_llm_attempts_total", provider="b", result="ok") == 1, "the answer is counted")
    assert metric(gateway, "hestia_llm_attempts_total", provider="x", result=result) == 1
    assert metric(gateway, "hestia_fallbacks_total") == 1
    assert metric(gateway, "hestia_fallbacks_total", **{"from": "x", "to": "b", "reason": result}) == 1


@pytest.mark.parametrize("status", [400, 404, 422])
def test_an_error_that_is_the_clients_is_no_answer(pool, status):
    gateway = pool.start(pool.upstream("a", fail(status)), pool.upstream("b"), routing={"strategy": "failover"})
    assert ask(gateway).status == status
    eventually(lambda: metric(gateway, "hestia_llm_attempts_total", provider="a", result="client_error") == 1, "it is counted")
    assert metric(gateway, "hestia_llm_attempts_total") == 1 and metric(gateway, "hestia_fallbacks_total") == 0


def test_tokens_of_streams_are_counted(pool):
    a = pool.upstream("a")
    gateway = pool.start(a)
    with Stream(gateway) as stream:
        assert b"usage" not in b"".join(stream.rest())
    eventually(lambda: metric(gateway, "hestia_tokens_total", provider="a", direction="output") == 5, "they are counted")
    assert metric(gateway, "hestia_tokens_total", provider="a", direction="input") == 7
