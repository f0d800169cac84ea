"""When a provider fails: who is asked next, what the client sees (details.md 1, 9, 14; contract of the proxy 2.3)."""

import json
import random
import threading

import pytest

import preload
from backend import deaf_listener, raw
from pool import (CHAT, COMPLETIONS, EMBEDDINGS, Stream, Upstream, answer, ask, at_times, chat, drop, fail, hang, in_turn, is_error_event,
                  many, pool_config, providers, refusing, reset, served)
from waiting import eventually

FIRST_FAILS = {"routing": {"strategy": "failover"}}


@pytest.fixture
def two(pool):
    """two(handler of the first, **config) → gateway, a, b: failover from a to b."""

    def start(handler, **config):
        a, b = pool.upstreams("a", "b")
        a.handler = handler
        routing = {"strategy": "failover", **config.pop("routing", {})}
        return pool.start(a, b, routing=routing, **config), a, b

    return start


# ---- the next one


@pytest.mark.parametrize("handler", [
    *(pytest.param(fail(status), id=str(status)) for status in (401, 402, 403, 408, 409, 425, 429, 500, 502, 503, 504, 520, 529, 599)),
    pytest.param(drop, id="closes"),
    pytest.param(reset, id="resets"),
    pytest.param(raw(b"this is no HTTP\r\n\r\n"), id="garbage"),
    pytest.param(raw(b"HTTP/1.1 200 OK\r\nContent-Len"), id="half a head"),
    pytest.param(raw(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), id="bad length"),
    pytest.param(raw(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100000 + b"\r\n\r\n"), id="huge head"),
    pytest.param(raw(b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\n{"), id="truncated error"),
])
@pytest.mark.parametrize("path, body", [(CHAT, chat()), (COMPLETIONS, {"model": "m", "prompt": "Hi"}), (EMBEDDINGS,
                         {"model": "m", "input": "Hi"})],
                         ids=["chat", "completions", "embeddings"])
def test_another_provider_answers(two, handler, path, body):
    gateway, a, b = two(handler)
    response = ask(gateway, body, path=path)
    assert served(response) == "b" and response.complete
    assert response.value("X-Hestia-Attempts") == "2"
    assert len(a.calls) == 1 and len(b.calls) == 1
    assert a.last.body == b.last.body


def test_reasons_are_plain_sentences(pool):
    """Each provider's name, then why: its place is neither shown nor replaced by a word that says nothing."""
    gateway = pool.start(refusing("a"), refusing("b"), routing={"strategy": "failover"})
    response = ask(gateway)
    assert response.json["error"]["message"] == "All providers failed: a: connection refused; b: connection refused"
    assert providers(gateway)["a"]["last_error"] == "connection refused"


def test_refused_connection(pool):
    b = pool.upstream("b")
    gateway = pool.start(refusing("a"), b, routing={"strategy": "failover"})
    response = ask(gateway)
    assert served(response) == "b" and response.value("X-Hestia-Attempts") == "2"


def test_unknown_host(pool):
    b = pool.upstream("b")
    gateway = pool.start({"name": "a", "base_url": "http://no-such-host.invalid/v1", "api_key": "k"}, b, routing={"strategy": "failover"})
    assert served(ask(gateway)) == "b"


@pytest.mark.threads
def test_name_that_is_looked_up_for_ever(pool, tmp_path):
    """Not only at a name server: it holds neither the request nor the gateway's end."""
    b = pool.upstream("b")
    gateway = pool.start({"name": "a", "base_url": "http://slow.local/v1", "api_key": "k"}, b, routing={"strategy": "failover"},
                         timeouts={"connect": 1}, env={"LD_PRELOAD": preload.build("slow_names", tmp_path)})
    assert served(ask(gateway)) == "b"
    gateway.stop()


def test_wrong_certificate(pool, authority):
    """Nobody vouches for it: the key is not sent there."""
    a, b = pool.upstream("a", tls=authority.server_context()), pool.upstream("b")
    gateway = pool.start(a, b, routing={"strategy": "failover"})
    assert served(ask(gateway)) == "b"
    assert a.requests == []


def test_https_provider(pool, authority):
    a = pool.upstream("a", tls=authority.server_context())
    gateway = pool.start(a.provider(tls={"ca": str(authority.ca)}))
    assert served(ask(gateway)) == "a"


@pytest.mark.parametrize("timeouts", [{"request": 1}, {"request": 1, "first_byte": 30}])
def test_time_out_of_a_plain_answer(two, timeouts):
    gateway, a, b = two(hang, timeouts=timeouts)
    assert served(ask(gateway)) == "b"
    assert len(a.calls) == 1


def test_time_out_covers_the_whole_plain_answer(two):
    """A head that trickles in is in time byte by byte, and late as a whole."""
    ticking = threading.Event()

    def trickle(peer, request):
        for byte in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 400:
            peer.send(bytes([byte]))
            ticking.wait(0.02)

    gateway, a, b = two(trickle, timeouts={"request": 1})
    assert served(ask(gateway)) == "b"


def test_plain_body_that_trickles_is_cut(pool):
    a = pool.upstream("a")
    ticking, gone = threading.Event(), threading.Event()

    def trickle(peer, request):
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{")
        try:
            while True:
                peer.send(b" ")
                ticking.wait(0.02)
        finally:
            gone.set()

    a.handler = trickle
    gateway = pool.start(a, timeouts={"request": 0.4})
    response = ask(gateway)
    assert not (response.status == 200 and response.complete)
    assert gone.wait(20)


def test_connect_time_out(pool):
    """A listener that is full does not answer a SYN: the limit of the connect applies, not that of the request."""
    b = pool.upstream("b")
    with deaf_listener() as port:
        gateway = pool.start({"name": "deaf", "base_url": f"http://127.0.0.1:{port}/v1", "api_key": "k"}, b,
                             routing={"strategy": "failover"}, timeouts={"connect": 1, "request": 300})
        assert served(ask(gateway)) == "b"


def test_any_number_of_providers_each_once(pool):
    upstreams = [pool.upstream(f"p{i}", fail(500 + i)) for i in range(6)]
    last = pool.upstream("good")
    gateway = pool.start(*upstreams, last, routing={"strategy": "failover"})
    response = ask(gateway)
    assert served(response) == "good" and response.value("X-Hestia-Attempts") == "7"
    assert [len(one.calls) for one in upstreams] == [1] * 6


@pytest.mark.parametrize("strategy", ["round_robin", "weighted", "failover", "least_busy", "latency"])
def test_each_strategy_tries_each_provider_once(pool, strategy):
    upstreams = [pool.upstream(name, fail(500)) for name in "abcd"]
    gateway = pool.start(*upstreams, routing={"strategy": strategy, "circuit_breaker": {"failures": 100}})
    for number in range(1, 4):
        assert ask(gateway).status == 500
        assert [len(one.calls) for one in upstreams] == [number] * 4


# ---- what is the client's fault


@pytest.mark.parametrize("status", [400, 404, 413, 422])
@pytest.mark.parametrize("stream", [False, True])
def test_the_clients_fault_is_passed_on(two, status, stream):
    body = b'{ "error" : {"message":"no \xc3\xa4","type":"invalid_request_error","param":"x","code":"why"},\n "more":[1] }\n'

    def handler(peer, request):
        peer.respond(status, body, [("Content-Type", "application/json"), ("X-Their-Own", "kept")])

    gateway, a, b = two(handler)
    for _ in range(8):  # more than would open a breaker
        response = ask(gateway, chat(stream=stream))
        assert (response.status, response.body) == (status, body)
        assert response.value("Content-Type") == "application/json"
        assert response.value("X-Hestia-Provider") == "a" and response.value("X-Hestia-Attempts") == "1"
        assert response.value("X-Hestia-Error-Source") == "upstream"
    assert b.calls == [] and providers(gateway)["a"]["healthy"]


def test_an_upstreams_own_fields_of_an_error_are_kept(two):
    gateway, a, b = two(fail(400, fields=[("X-Ratelimit-Remaining-Requests", "7"), ("Openai-Processing-Ms", "12")]))
    response = ask(gateway)
    assert response.value("X-Ratelimit-Remaining-Requests") == "7"


# ---- 429


def test_retry_after_cools_that_provider_only(two):
    gateway, a, b = two(in_turn(fail(429, fields=[("Retry-After", "60")]), answer))
    for _ in range(5):
        assert served(ask(gateway)) == "b"
    assert len(a.calls) == 1
    status = providers(gateway)
    assert 50_000 < status["a"]["cooldown_ms"] <= 60_000 and status["b"]["cooldown_ms"] == 0


def test_retry_after_ends(two):
    gateway, a, b = two(in_turn(fail(429, fields=[("Retry-After", "1")]), answer))
    assert served(ask(gateway)) == "b"
    assert served(ask(gateway)) == "b"
    eventually(lambda: served(ask(gateway)) == "a", "a has cooled down")
    assert len(a.calls) == 2


def test_retry_after_ms(two):
    gateway, a, b = two(in_turn(fail(429, fields=[("retry-after-ms", "300")]), answer))
    assert served(ask(gateway)) == "b"
    eventually(lambda: served(ask(gateway)) == "a", "a has cooled down")


def test_retry_after_as_a_date(two):
    from email.utils import formatdate
    import time
    gateway, a, b = two(in_turn(fail(429, fields=[("Retry-After", formatdate(time.time() + 100, usegmt=True))]), answer))
    assert served(ask(gateway)) == "b"
    assert 60_000 < providers(gateway)["a"]["cooldown_ms"] <= 100_000


def test_429_without_retry_after_cools_too(two):
    gateway, a, b = two(in_turn(fail(429), answer))
    for _ in range(3):
        assert served(ask(gateway)) == "b"
    assert len(a.calls) == 1 and providers(gateway)["a"]["cooldown_ms"] > 0


@pytest.mark.parametrize("handler", [
    fail(429, fields=[("Retry-After", "1")], code="insufficient_quota"),
    fail(429, fields=[("Retry-After", "1")], type="insufficient_quota"),
    fail(402),
], ids=["code", "type", "402"])
def test_no_money_cools_for_long(two, handler):
    gateway, a, b = two(handler)
    assert served(ask(gateway)) == "b"
    assert providers(gateway)["a"]["cooldown_ms"] > 30_000


def test_a_429_does_not_open_the_breaker(two):
    gateway, a, b = two(in_turn(fail(429, fields=[("retry-after-ms", "1")]), answer), routing={"circuit_breaker": {"failures": 1}})
    ask(gateway)
    assert providers(gateway)["a"]["breaker"] == "closed"


# ---- keys


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_marked(two, status):
    gateway, a, b = two(fail(status))
    for _ in range(4):
        assert served(ask(gateway)) == "b"
    assert len(a.calls) == 1
    assert providers(gateway)["a"]["auth_failed"] is True and providers(gateway)["b"]["auth_failed"] is False


def test_a_new_key_is_tried_at_once(pool):
    a, b = pool.upstreams("a", "b")

    def handler(peer, request):
        (answer if request.value("Authorization") == "Bearer new" else fail(401))(peer, request)

    a.handler = handler
    routing = {"strategy": "failover"}
    gateway = pool.start(a, b, routing=routing)
    assert served(ask(gateway)) == "b"
    gateway.reload(pool_config(a.provider(api_key="new"), b, routing=routing))
    assert served(ask(gateway)) == "a"


# ---- fallback_only


def test_fallbacks_rest_while_a_primary_works(pool):
    a, backup = pool.upstreams("a", "backup")
    gateway = pool.start(backup.provider(fallback_only=True), a)
    for _ in range(5):
        assert served(ask(gateway)) == "a"
    assert backup.calls == []


def test_fallback_in_the_same_request(pool):
    a, b, backup = pool.upstreams("a", "b", "backup")
    a.handler = b.handler = fail(500)
    gateway = pool.start(a, b, backup.provider(fallback_only=True))
    response = ask(gateway)
    assert served(response) == "backup" and response.value("X-Hestia-Attempts") == "3"
    assert len(a.calls) == len(b.calls) == len(backup.calls) == 1


def test_fallback_when_the_primaries_are_out(pool):
    a, backup = pool.upstreams("a", "backup")
    a.handler = fail(500)
    gateway = pool.start(a, backup.provider(fallback_only=True), routing={"circuit_breaker": {"failures": 1, "open": 60}})
    ask(gateway)
    response = ask(gateway)
    assert served(response) == "backup" and response.value("X-Hestia-Attempts") == "1"
    assert len(a.calls) == 1


def test_only_fallbacks(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a.provider(fallback_only=True), b.provider(fallback_only=True))
    assert ask(gateway).status == 200


def test_primaries_are_used_again(pool):
    a, backup = pool.upstreams("a", "backup")
    a.handler = in_turn(fail(500), answer)
    gateway = pool.start(a, backup.provider(fallback_only=True), routing={"circuit_breaker": {"failures": 1, "open": 0.2}})
    assert served(ask(gateway)) == "backup"
    eventually(lambda: served(ask(gateway)) == "a", "the primary is back")


# ---- everybody fails


def test_all_fail_differently(pool):
    a, b, c = pool.upstream("anna", fail(500, "out of tea")), pool.upstream("bert", fail(429, "too fast")), pool.upstream("carl", drop)
    gateway = pool.start(a, b, c, refusing("dora"))
    response = ask(gateway)
    assert response.status == 503 and response.code == "all_providers_failed"
    assert int(response.value("Retry-After")) >= 1
    message = response.json["error"]["message"]
    for word in ("anna", "500", "bert", "429", "carl", "dora"):
        assert word in message
    assert response.value("X-Hestia-Attempts") == "4"
    assert [len(one.calls) for one in (a, b, c)] == [1, 1, 1]
    assert "127.0.0.1" not in response.text


@pytest.mark.parametrize("status", [500, 503, 429, 401])
def test_a_common_status_is_kept(pool, status):
    gateway = pool.start(*(pool.upstream(name, fail(status, "busy", code="theirs")) for name in "abc"))
    response = ask(gateway)
    assert response.status == status
    assert response.json["error"]["message"]
    assert response.value("X-Hestia-Attempts") == "3"
    if status in (429, 503):
        assert int(response.value("Retry-After")) >= 1


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503, 529])
@pytest.mark.parametrize("stream", [False, True])
def test_a_single_provider_speaks_for_itself(pool, status, stream):
    body = b'{"error":  {"message": "mine alone", "code": 17}}'

    def handler(peer, request):
        peer.respond(status, body, [("Content-Type", "application/json")])

    a = pool.upstream("a", handler)
    gateway = pool.start(a)
    response = ask(gateway, chat(stream=stream))
    assert (response.status, response.body) == (status, body)
    assert response.value("Content-Type") == "application/json"
    assert response.value("X-Hestia-Provider") == "a" and response.value("X-Hestia-Error-Source") == "upstream"


def test_a_single_providers_retry_after_is_kept(pool):
    a = pool.upstream("a", fail(429, fields=[("Retry-After", "17")]))
    assert ask(pool.start(a)).value("Retry-After") == "17"


def test_a_single_provider_that_refuses(pool):
    gateway = pool.start(refusing("lonely"))
    response = ask(gateway)
    assert response.status == 503 and response.code in ("all_providers_failed", "upstream_unreachable")
    assert "lonely" in response.json["error"]["message"] and int(response.value("Retry-After")) >= 1


def test_a_single_provider_that_times_out(pool):
    a = pool.upstream("lonely", hang)
    response = ask(pool.start(a, timeouts={"request": 0.3}))
    assert (response.status, response.code) in ((504, "upstream_timeout"), (503, "all_providers_failed"))
    assert "lonely" in response.json["error"]["message"]


def test_nobody_is_eligible(pool):
    a = pool.upstream("a")
    gateway = pool.start(a.provider(api_key="${NOT_SET_ANYWHERE}"))
    response = ask(gateway)
    assert response.status == 503 and response.code == "no_healthy_providers"
    assert "No healthy providers available" in response.json["error"]["message"]
    assert int(response.value("Retry-After")) >= 1 and a.requests == []


def test_everybody_cools_down(pool):
    a = pool.upstream("a", fail(429, fields=[("Retry-After", "60")]))
    gateway = pool.start(a)
    assert ask(gateway).status == 429
    response = ask(gateway)
    assert response.status in (429, 503) and int(response.value("Retry-After")) > 5


def test_without_providers(hestia):
    response = ask(hestia({}))
    assert response.status == 503 and response.code == "no_healthy_providers"


def test_an_error_answer_without_end(pool):
    """A provider that never finishes its error answer does not hold the client."""
    def handler(peer, request):
        peer.send(b"HTTP/1.1 500 No\r\nContent-Length: 1000\r\n\r\nhalf")
        hang(peer, request)

    a, b = pool.upstream("a", handler), pool.upstream("b")
    gateway = pool.start(a, b, routing={"strategy": "failover"}, timeouts={"request": 1})
    assert served(ask(gateway)) == "b"


def test_a_huge_error_answer(two):
    def handler(peer, request):
        peer.respond(500, b"x" * (8 << 20), [("Content-Type", "text/plain")])

    gateway, a, b = two(handler)
    assert served(ask(gateway)) == "b"


# ---- kept-alive connections


def test_a_stale_connection_is_no_failure(pool):
    """The upstream closed a kept connection just as it was used: the request is sent again, to the same provider."""
    a = pool.upstream("a", models=None)
    gateway = pool.start(a.provider(models=["m"]))
    with gateway.connect() as connection:  # one client connection: one worker, and its kept connections
        for handler in (answer, in_turn(drop, answer)):
            a.handler = handler
            connection.request("POST", CHAT, [("Content-Type", "application/json")], json.dumps(chat()).encode())
            response = connection.read_response()
            assert served(response) == "a" and response.value("X-Hestia-Attempts") == "1"
    assert [request.connection for request in a.calls] == [1, 1, 2]
    assert providers(gateway)["a"]["failures"] == 0


def test_connections_are_kept(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a.provider(models=["m"]))
    with gateway.connect() as connection:
        for _ in range(10):
            connection.request("POST", CHAT, [("Content-Type", "application/json")], json.dumps(chat()).encode())
            assert connection.read_response().status == 200
    assert len({request.connection for request in a.calls}) == 1


# ---- all of it together


@pytest.mark.threads
@pytest.mark.parametrize("requests", [600, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_no_client_sees_an_error_that_another_could_have_answered(pool, requests):
    """Three providers and a backup: one dies and comes back twice, one answers 5 % 500 and 5 % 429, one is slow."""
    mortal, moody, slow, backup = pool.upstreams("mortal", "moody", "slow", "backup")
    moody.handler = at_times(0.05, fail(500), at_times(0.05, fail(429, fields=[("retry-after-ms", "50")])))
    thinking = threading.Event()

    def think(peer, request):
        thinking.wait(0.02)
        answer(peer, request)

    slow.handler = think
    gateway = pool.start(mortal, moody, slow, backup.provider(fallback_only=True),
                         routing={"circuit_breaker": {"failures": 3, "window": 5, "open": 0.2}})
    rng, changes, alive = random.Random(3), threading.Lock(), [mortal]

    def maybe_kill(number):
        if number in (requests // 5, requests * 3 // 5):
            with changes:
                alive[0].close()
        elif number in (requests * 2 // 5, requests * 4 // 5):
            with changes:
                port = mortal.port
                alive[0] = Upstream("mortal", port=port)
                pool.opened.append(alive[0])

    def one(number):
        maybe_kill(number)
        if rng.random() < 0.3:
            with Stream(gateway) as stream:
                assert stream.head().status == 200
                events = stream.rest()
                assert not any(is_error_event(event) for event in events) and events[-1] == b"data: [DONE]"
        else:
            response = ask(gateway)
            assert response.status == 200 and response.complete, response

    many(requests, one, threads=8)
    eventually(lambda: all(status["in_flight"] == 0 for status in providers(gateway).values()), "all are free")
    assert sum(len(one.calls) for one in pool.opened) >= requests


def test_killed_while_idle(pool):
    """Kept connections to a provider that died do not become errors."""
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, b, routing={"strategy": "failover", "circuit_breaker": {"open": 0.2}})
    assert served(ask(gateway)) == "a"
    a.close()
    assert served(ask(gateway)) == "b"
    pool.opened.append(Upstream("a", port=a.port))
    eventually(lambda: served(ask(gateway)) == "a", "a is back")
