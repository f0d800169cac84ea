"""Slots of providers and the pool's queue (details.md 2, 9, 14; the seed's "Timeout and Queue Management")."""

import hashlib
import json
import socket
import threading
import time
from collections import Counter

import pytest

from fakes import Together
from pool import CHAT, Hold, Stream, answer, ask, chat, fail, hang, is_error_event, many, providers, served, wait_provider
from waiting import DEADLINE, eventually, opened


def send(gateway, body=None, connection=None, fields=()):
    """Sends a completion and does not wait for its answer."""
    connection = connection or gateway.connect()
    connection.request("POST", CHAT, [("Content-Type", "application/json"), *fields], json.dumps(body or chat()).encode())
    return connection


def queued_stream(gateway, content, connection=None, fields=()):
    """A stream that stands in the queue: its first comment has come."""
    stream = Stream(gateway, chat(content=content, stream=True), connection=connection, fields=fields)
    assert stream.next() == b": waiting"
    return stream


def question(request):
    return json.loads(request.body)["messages"][0]["content"]


# ---- slots of a provider


@pytest.mark.threads
@pytest.mark.parametrize("clients", [200, pytest.param(1000, marks=[pytest.mark.long, pytest.mark.timeout(400)])])
def test_max_concurrent_1_is_never_exceeded(pool, clients):
    counting = threading.Lock()
    inside, most = [0], [0]

    def handler(peer, request):
        with counting:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        thinking.wait(0.001)
        with counting:
            inside[0] -= 1
        answer(peer, request)

    thinking = threading.Event()
    a = pool.upstream("a", handler)
    gateway = pool.start(a.provider(max_concurrent=1), queue={"slot_wait": 300, "max_concurrent": 10000, "timeout": 300})
    together = Together()
    for _ in range(clients):
        together.call(ask, gateway)
    assert {served(response) for response in together.join()} == {"a"}
    assert most[0] == 1 and len(a.calls) == clients
    wait_provider(gateway, "a", "is free", lambda status: status["in_flight"] == 0)


@pytest.mark.threads
@pytest.mark.parametrize("limit", [2, 5])
def test_a_limit_is_used_in_full_and_never_exceeded(pool, limit):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a.provider(max_concurrent=limit), queue={"slot_wait": 60})
    together = Together()
    for _ in range(limit * 4):
        together.call(ask, gateway)
    for number in range(limit, limit * 4 + 1, limit):
        hold.wait(number)
        wait_provider(gateway, "a", "is full", lambda status: status["in_flight"] == limit)
        assert hold.arrived == number
        hold.let_go(limit)
    assert all(served(response) == "a" for response in together.join())
    assert hold.most == limit


def test_a_full_provider_is_passed_over_at_once(pool):
    """Another one has a slot: nobody waits (slot_wait is longer than this test may take)."""
    hold = Hold()
    a, b = pool.upstream("a", hold), pool.upstream("b")
    gateway = pool.start(a.provider(max_concurrent=1), b, routing={"strategy": "failover"}, queue={"slot_wait": 600})
    with send(gateway) as first:
        hold.wait(1)
        for _ in range(3):
            assert served(ask(gateway)) == "b"
        hold.open()
        assert served(first.read_response()) == "a"
    assert len(a.calls) == 1


@pytest.mark.parametrize("strategy", ["round_robin", "weighted", "failover", "least_busy", "latency"])
def test_slots_work_with_every_strategy(pool, strategy):
    hold = Hold()
    a, b = pool.upstream("a", hold), pool.upstream("b", hold)
    gateway = pool.start(a.provider(max_concurrent=1), b.provider(max_concurrent=1), routing={"strategy": strategy},
                         queue={"slot_wait": 600})
    first, second = send(gateway), send(gateway)
    hold.wait(2)
    assert len(a.calls) == len(b.calls) == 1
    third = send(gateway)
    eventually(lambda: sum(status["waiting"] for status in providers(gateway).values()) == 1, "the third waits")
    hold.open()
    for connection in (first, second, third):
        assert connection.read_response().status == 200
        connection.close()
    assert len(a.calls) + len(b.calls) == 3


def test_a_slot_that_becomes_free_is_taken(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a.provider(max_concurrent=1), queue={"slot_wait": 600})
    with send(gateway) as first:
        hold.wait(1)
        second = send(gateway)
        wait_provider(gateway, "a", "has one waiting", lambda status: status["waiting"] == 1)
        hold.let_go()
        assert served(first.read_response()) == "a"
        hold.wait(2)
        hold.let_go()
        response = second.read_response()
        second.close()
        assert served(response) == "a" and response.value("X-Hestia-Attempts") == "1"


def test_slot_wait_is_half_a_second(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a.provider(max_concurrent=1))
    with send(gateway) as first:
        hold.wait(1)
        before = time.monotonic()
        response = ask(gateway)
        waited = time.monotonic() - before
        assert response.status == 503 and int(response.value("Retry-After")) >= 1
        assert "No healthy providers" in response.json["error"]["message"] or "max_concurrent" in response.json["error"]["message"]
        assert 0.45 <= waited < 10
        assert providers(gateway)["a"]["healthy"]
        hold.open()
        assert served(first.read_response()) == "a"
    assert served(ask(gateway)) == "a"


def test_a_full_provider_and_a_failing_one(pool):
    """The only one that has a slot fails; then the full one is waited for."""
    hold = Hold()
    a, b = pool.upstream("a", hold), pool.upstream("b", fail(500))
    gateway = pool.start(a.provider(max_concurrent=1), b, routing={"strategy": "failover"}, queue={"slot_wait": 600})
    with send(gateway) as first, send(gateway) as second:
        hold.wait(1)
        b.wait_calls(1)
        wait_provider(gateway, "a", "has one waiting", lambda status: status["waiting"] == 1)
        hold.open()
        assert first.read_response().status == 200 and served(second.read_response()) == "a"


def test_a_fallback_takes_what_primaries_have_no_slot_for(pool):
    hold = Hold()
    a, backup = pool.upstream("a", hold), pool.upstream("backup")
    gateway = pool.start(a.provider(max_concurrent=1), backup.provider(fallback_only=True), queue={"slot_wait": 0.2})
    with send(gateway) as first:
        hold.wait(1)
        assert served(ask(gateway)) == "backup"
        hold.open()
        assert first.read_response().status == 200


@pytest.mark.threads
def test_slots_of_clients_that_leave_come_back(pool):
    """Random disconnects in every phase: no slot is lost."""
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a.provider(max_concurrent=2), queue={"slot_wait": 600, "max_concurrent": 4, "timeout": 600})
    for round_number in range(6):
        connections = [send(gateway, chat(stream=bool(i % 2))) for i in range(10)]
        hold.wait(2)
        for i, connection in enumerate(connections):
            (connection.reset if (i + round_number) % 2 else connection.close)()
        wait_provider(gateway, "a", "is free", lambda status: status["in_flight"] == status["waiting"] == 0)
    hold.open()
    assert Counter(many(40, lambda _: served(ask(gateway)), threads=20)) == {"a": 40}
    wait_provider(gateway, "a", "is free", lambda status: status["in_flight"] == 0)


@pytest.mark.long
@pytest.mark.timeout(400)
def test_no_slot_leaks_after_a_thousand_disconnects(pool):
    import random
    rng = random.Random(11)
    thinking = threading.Event()

    def handler(peer, request):
        thinking.wait(rng.random() * 0.02)
        answer(peer, request)

    a = pool.upstream("a", handler)
    gateway = pool.start(a.provider(max_concurrent=3), queue={"slot_wait": 5, "max_concurrent": 6, "timeout": 60})

    def one(number):
        connection = send(gateway, chat(stream=rng.random() < 0.5))
        if rng.random() < 0.7:
            thinking.wait(rng.random() * 0.03)
        (connection.reset if rng.random() < 0.5 else connection.close)()

    many(1000, one, threads=20)
    wait_provider(gateway, "a", "is free", lambda status: status["in_flight"] == status["waiting"] == 0)
    assert Counter(many(60, lambda _: served(ask(gateway)), threads=6)) == {"a": 60}


# ---- the pool's queue


def test_queue_holds_what_is_too_much(pool):
    hold = Hold()
    a, b = pool.upstream("a", hold), pool.upstream("b", hold)
    gateway = pool.start(a, b, queue={"max_concurrent": 3, "keepalive_seconds": 0.05})
    streams = [Stream(gateway) for _ in range(3)]
    hold.wait(3)
    late = [queued_stream(gateway, f"late {i}") for i in range(3)]
    assert hold.arrived == 3
    hold.open()
    for stream in streams + late:
        assert stream.rest()[-1] == b"data: [DONE]"
        stream.leave()
    assert hold.most == 3 and hold.arrived == 6


def test_queue_time_out(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "timeout": 0.3})
    with send(gateway) as first:
        hold.wait(1)
        before = time.monotonic()
        response = ask(gateway)
        assert time.monotonic() - before >= 0.25
        assert response.status == 503 and response.code == "queue_timeout"
        assert int(response.value("Retry-After")) >= 1 and response.value("X-Hestia-Error-Source") == "gateway"
        hold.open()
        assert served(first.read_response()) == "a"
    assert len(a.calls) == 1
    assert served(ask(gateway)) == "a"


def test_queue_time_out_of_a_stream_keeps_its_status(pool):
    """No comment had gone out yet."""
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "timeout": 0.2, "keepalive_seconds": 60})
    with send(gateway) as first:
        hold.wait(1)
        response = ask(gateway, chat(stream=True))
        assert response.status == 503 and response.code == "queue_timeout"
        hold.open()
        first.read_response()


def test_queue_time_out_after_a_comment_is_an_event(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "timeout": 0.5, "keepalive_seconds": 0.05})
    with send(gateway) as first:
        hold.wait(1)
        with queued_stream(gateway, "late") as stream:
            *comments, last = stream.rest()
            assert set(comments) <= {b": waiting"} and is_error_event(last)["code"] == "queue_timeout"
            assert stream.response.status == 200 and stream.response.complete
        hold.open()
        first.read_response()


def connect_from(gateway, address):
    """A connection whose client end has that address."""
    connection = gateway.connect()
    connection.sock.close()
    connection.sock = socket.create_connection(("127.0.0.1", gateway.port), DEADLINE, (address, 0))
    return connection


@pytest.mark.threads
@pytest.mark.parametrize("by", ["address", "key"])
def test_queue_is_fair_between_clients(pool, by):
    """One that asks for much does not keep another waiting: they take turns."""
    keys = {"greedy": "greedy-key-0123456789", "modest": "modest-key-0123456789"}
    auth = {"api_keys": ["sha256:" + hashlib.sha256(key.encode()).hexdigest() for key in keys.values()]} if by == "key" else {}
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "keepalive_seconds": 0.02, "timeout": 300}, auth=auth)

    def fields(name):
        return [("X-API-Key", keys[name])] if by == "key" else []

    def queue(name, number):
        address = "127.0.0.1" if by == "key" else {"greedy": "127.0.0.2", "modest": "127.0.0.3"}[name]
        return queued_stream(gateway, f"{name} {number}", connect_from(gateway, address), fields(name))

    first = send(gateway, fields=fields("greedy"))
    hold.wait(1)
    streams = [queue("greedy", i) for i in range(6)] + [queue("modest", i) for i in range(2)]
    hold.open()
    for stream in streams:
        assert stream.rest()[-1] == b"data: [DONE]"
        stream.leave()
    first.read_response()
    first.close()
    order = [question(request) for request in a.calls[1:]]
    assert [name for name in order if name.startswith("greedy")] == [f"greedy {i}" for i in range(6)]
    assert [name for name in order if name.startswith("modest")] == ["modest 0", "modest 1"]
    assert order.index("modest 1") <= 4, order


@pytest.mark.threads
def test_queue_keeps_the_order_of_a_client(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "keepalive_seconds": 0.02, "timeout": 300})
    first = send(gateway)
    hold.wait(1)
    streams = [queued_stream(gateway, str(i)) for i in range(8)]
    hold.open()
    for stream in streams:
        stream.rest()
        stream.leave()
    first.read_response()
    first.close()
    assert [question(request) for request in a.calls[1:]] == [str(i) for i in range(8)]


def test_who_leaves_the_queue_is_never_asked_for(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "keepalive_seconds": 0.02, "timeout": 300})
    first = send(gateway)
    hold.wait(1)
    leaving, staying = queued_stream(gateway, "leaving"), queued_stream(gateway, "staying")
    leaving.leave()
    gateway.wait_event("request_end", error=lambda error: error)
    hold.open()
    staying.rest()
    first.read_response()
    first.close()
    assert [question(request) for request in a.calls] == ["Hello", "staying"]


def test_a_plain_request_that_leaves_the_queue(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "timeout": 300})
    first = send(gateway)
    hold.wait(1)
    leaving = send(gateway, chat(content="leaving"))
    gateway.wait_event("request_start", count=2, path=CHAT)
    leaving.close()
    gateway.wait_event("request_end", status_code=499)
    hold.open()
    first.read_response()
    first.close()
    assert served(ask(gateway)) == "a" and len(a.calls) == 2


def test_queue_time_is_told(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "timeout": 300})
    first = send(gateway)
    hold.wait(1)
    second = send(gateway)
    gateway.wait_event("request_start", count=2, path=CHAT)
    begun = time.monotonic()
    eventually(lambda: time.monotonic() - begun > 0.2, "a while has passed")
    hold.open()
    waits = [int(one.read_response().value("X-Hestia-Queue-Ms")) for one in (first, second)]
    assert waits[0] < waits[1] and waits[1] >= 100


def test_a_plain_answer_has_no_comments(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "keepalive_seconds": 0.02, "timeout": 300})
    first, second = send(gateway), send(gateway)
    hold.wait(1)
    with queued_stream(gateway, "shows that comments go out") as third:
        hold.open()
        for connection in (first, second):
            response = connection.read_response()
            assert served(response) == "a" and b"waiting" not in response.body
            connection.close()
        third.rest()


def test_no_comments_when_zero(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "keepalive_seconds": 0, "timeout": 300})
    first = send(gateway)
    hold.wait(1)
    with Stream(gateway) as second:
        gateway.wait_event("request_start", count=2, path=CHAT)
        hold.open()
        assert not any(one.startswith(b":") for one in second.rest())
    first.read_response()
    first.close()


def test_comments_while_waiting_for_a_slot(pool):
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a.provider(max_concurrent=1), queue={"slot_wait": 600, "keepalive_seconds": 0.05})
    first = send(gateway)
    hold.wait(1)
    with queued_stream(gateway, "late") as stream:
        hold.open()
        assert stream.rest()[-1] == b"data: [DONE]"
    first.read_response()
    first.close()


def test_an_error_after_a_comment_is_an_event(pool):
    hold = Hold(fail(400, "not like this", code="their_code"))
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "keepalive_seconds": 0.05, "timeout": 300})
    first = send(gateway)
    hold.wait(1)
    with queued_stream(gateway, "late") as stream:
        hold.open()
        left = [one for one in stream.rest() if one != b": waiting"]
        assert len(left) == 1 and "not like this" in is_error_event(left[0])["message"]
        assert stream.response.status == 200 and stream.response.complete
    assert first.read_response().status == 400
    first.close()


def test_failover_after_a_comment(pool):
    hold = Hold(fail(500))
    a, b = pool.upstream("a", hold), pool.upstream("b")
    gateway = pool.start(a, b, routing={"strategy": "failover"}, queue={"max_concurrent": 1, "keepalive_seconds": 0.05, "timeout": 300})
    first = send(gateway)
    hold.wait(1)
    with queued_stream(gateway, "late") as stream:
        hold.open()
        events = stream.rest()
        assert events[-1] == b"data: [DONE]" and not any(is_error_event(one) for one in events)
    assert served(first.read_response()) == "b"
    first.close()


def test_queue_limit_is_the_pools(pool):
    """Services and management do not stand in it."""
    hold = Hold()
    a = pool.upstream("a", hold)
    gateway = pool.start(a, queue={"max_concurrent": 1, "timeout": 300}, services={"s": {"base_url": a.url}})
    a.on("/plain", lambda peer, request: peer.respond(200, b"ok"))
    a.on("/", lambda peer, request: peer.respond(200, b"ok"))
    with send(gateway) as first:
        hold.wait(1)
        assert gateway.get("/v1/models").status == 200
        assert gateway.get("/services/s/plain").body == b"ok"
        hold.open()
        first.read_response()


def test_a_client_that_waits_for_an_upstream_and_leaves(pool):
    gone = threading.Event()

    def handler(peer, request):
        hang(peer, request)
        gone.set()

    a = pool.upstream("a", handler)
    gateway = pool.start(a, queue={"max_concurrent": 1, "timeout": 300})
    connection = send(gateway)
    a.wait_calls(1)
    connection.close()
    opened(gone, "the upstream sees that the client left")
    a.handler = answer
    assert served(ask(gateway)) == "a"
