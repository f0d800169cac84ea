"""Which provider serves: strategies, weights, eligibility (issue "The pool" 2; contract of the proxy 2.1)."""

import json
from collections import Counter

import pytest

from pool import (COMPLETIONS, EMBEDDINGS, Hold, answer, ask, chat, fail, many, pool_config, providers, refusing, served, wait_models,
                  wait_provider)
from waiting import eventually


def shares(gateway, count, threads=16, **body):
    """How often each provider served."""
    return Counter(many(count, lambda _: served(ask(gateway, chat(**body))), threads))


# ---- strategies


def test_round_robin_is_the_default_and_exact(pool):
    a, b, c = pool.upstreams("a", "b", "c")
    gateway = pool.start(a, b, c)
    assert [served(ask(gateway)) for _ in range(9)] == ["a", "b", "c"] * 3
    assert [len(one.calls) for one in (a, b, c)] == [3, 3, 3]


@pytest.mark.threads
def test_round_robin_is_exact_under_concurrency(pool):
    gateway = pool.start(*pool.upstreams("a", "b", "c"))
    assert shares(gateway, 300) == {"a": 100, "b": 100, "c": 100}


def test_round_robin_ignores_weights(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a.provider(weight=9), b)
    assert shares(gateway, 20) == {"a": 10, "b": 10}


@pytest.mark.threads
@pytest.mark.parametrize("weights", [(3, 1), (5, 3, 1), (1, 1, 1), (97, 3)])
def test_weights_hold_exactly(pool, weights):
    """Smooth, not drawn by lot: after every full round the shares are exact."""
    upstreams = pool.upstreams(*"abc"[:len(weights)])
    gateway = pool.start(*(one.provider(weight=weight) for one, weight in zip(upstreams, weights)),
                         routing={"strategy": "weighted"})
    rounds = max(1, 300 // sum(weights))
    counted = shares(gateway, rounds * sum(weights))
    assert counted == {one.name: rounds * weight for one, weight in zip(upstreams, weights)}


def test_weighted_is_smooth(pool):
    """5:1:1 spreads the heavy one's turns (the sequence known from nginx)."""
    a, b, c = pool.upstreams("a", "b", "c")
    gateway = pool.start(a.provider(weight=5), b, c, routing={"strategy": "weighted"})
    turns = [served(ask(gateway)) for _ in range(14)]
    assert turns[:7] == turns[7:]
    assert Counter(turns[:7]) == {"a": 5, "b": 1, "c": 1}
    light = [i for i, name in enumerate(turns[:7]) if name != "a"]
    assert light[1] - light[0] > 1


def test_weights_hold_among_the_healthy(pool):
    a, b, c = pool.upstreams("a", "b", "c")
    a.handler = fail(500)
    gateway = pool.start(a.provider(weight=4), b.provider(weight=3), c.provider(weight=1),
                         routing={"strategy": "weighted", "circuit_breaker": {"failures": 1, "open": 600}})
    eventually(lambda: served(ask(gateway)) and not providers(gateway)["a"]["healthy"], "a is out")
    seen, counted = len(a.calls), shares(gateway, 400)
    assert len(a.calls) == seen
    assert abs(counted["b"] - 300) <= 8 and abs(counted["c"] - 100) <= 8


def test_failover_always_takes_the_first(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, b, routing={"strategy": "failover"})
    assert shares(gateway, 20) == {"a": 20}
    a.handler = fail(500)
    assert served(ask(gateway)) == "b"


@pytest.mark.threads
def test_least_busy(pool):
    holds = [Hold(), Hold(), Hold()]
    gateway = pool.start(*(pool.upstream(name, hold) for name, hold in zip("abc", holds)), routing={"strategy": "least_busy"})
    sent = []

    def send():
        """One more that stays open, once it has arrived somewhere."""
        before = sum(hold.arrived for hold in holds)
        sent.append(gateway.connect())
        sent[-1].request("POST", "/v1/chat/completions", body=b'{"model":"m","messages":[]}')
        eventually(lambda: sum(hold.arrived for hold in holds) > before, "it has arrived")

    for _ in range(9):
        send()
    assert [hold.inside for hold in holds] == [3, 3, 3]
    holds[1].let_go(2)
    wait_provider(gateway, "b", "has one left", lambda status: status["in_flight"] == 1)
    send()
    send()
    assert [hold.arrived for hold in holds] == [3, 5, 3]
    for hold in holds:
        hold.open()
    for connection in sent:
        assert connection.read_response().status == 200
        connection.close()


def test_latency_prefers_the_fast(pool):
    slow, fast = pool.upstreams("slow", "fast")
    delay = Hold().changed  # a condition nobody notifies: its wait is the model's thinking

    def think(peer, request):
        with delay:
            delay.wait(0.3)  # far more than a busy machine adds to the fast one
        answer(peer, request)

    slow.handler = think
    gateway = pool.start(slow, fast, routing={"strategy": "latency"})
    counted = shares(gateway, 40, threads=1)
    assert counted["fast"] >= 30, counted


# ---- eligibility


def test_only_who_serves_the_model_is_asked(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a.provider(models=["x", "both"]), b.provider(models=["y", "both"]))
    assert [served(ask(gateway, chat("x"))) for _ in range(3)] == ["a"] * 3
    assert [served(ask(gateway, chat("y"))) for _ in range(3)] == ["b"] * 3
    assert shares(gateway, 10, model="both") == {"a": 5, "b": 5}


def test_unknown_model(pool):
    a = pool.upstream("a")
    gateway = pool.start(a.provider(models=["x"]))
    response = ask(gateway, chat("nobody/has-this"))
    assert response.status == 404 and response.code == "model_not_found"
    assert response.json["error"]["param"] == "model"
    assert response.value("X-Hestia-Error-Source") == "gateway"
    assert a.calls == []


@pytest.mark.parametrize("path, body", [
    (COMPLETIONS, {"prompt": "Hi"}), (EMBEDDINGS, {"input": "Hi"}),
])
def test_unknown_model_on_the_other_routes(pool, path, body):
    a = pool.upstream("a")
    gateway = pool.start(a.provider(models=["x"]))
    assert ask(gateway, {"model": "z", **body}, path=path).code == "model_not_found"
    assert ask(gateway, {"model": "x", **body}, path=path).status == 200


def test_fetched_lists_decide(pool):
    a, b = pool.upstream("a", models=["only-a"]), pool.upstream("b", models=["only-b"])
    gateway = pool.start(a, b)
    wait_models(gateway, "only-a", "only-b")
    assert [served(ask(gateway, chat("only-b"))) for _ in range(3)] == ["b"] * 3
    assert ask(gateway, chat("nobody")).code == "model_not_found"


def test_who_has_no_list_serves_everything(pool):
    a, b = pool.upstream("a", models=["only-a"]), pool.upstream("b", models=None)
    gateway = pool.start(a, b)
    wait_models(gateway, "only-a")
    b.wait_path("/v1/models")
    assert [served(ask(gateway, chat("anything"))) for _ in range(3)] == ["b"] * 3


def test_model_map_is_sent_and_counts_as_served(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a.provider(models=["x"], model_map={"gpt-4": "gpt-4-deployment"}), b.provider(models=["y"]))
    response = ask(gateway, chat("gpt-4"))
    assert served(response) == "a" and response.value("X-Hestia-Model") == "gpt-4-deployment"
    assert b'"gpt-4-deployment"' in a.last.body and b'"gpt-4"' not in a.last.body
    assert response.json["model"] == "gpt-4-deployment"  # the upstream's answer is not touched


def test_model_map_is_exact(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a.provider(model_map={"gpt-4": "mapped"}))
    for model in ("GPT-4", "gpt-4o", "gpt-", "gpt-4 "):
        assert served(ask(gateway, chat(model))) == "a"
        assert json.loads(a.last.body)["model"] == model


def test_each_provider_has_its_own_map(pool):
    """The seed's example: a name mapped here, passed as it is there."""
    azure, openai = pool.upstreams("azure", "openai")
    azure.models = openai.models = None
    gateway = pool.start(azure.provider(model_map={"gpt-4": "gpt-4-deployment-001"}), openai)
    for _ in range(2):
        ask(gateway, chat("proxy-gpt-4"))
    assert b'"gpt-4-deployment-001"' in azure.last.body and b'"gpt-4"' in openai.last.body


def test_a_provider_can_be_named(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, b)
    for _ in range(3):
        assert served(ask(gateway, chat("b/m"))) == "b"
    assert b'"model": "m"' in b.last.body


def test_a_model_with_a_slash_is_no_provider(pool):
    a, b = pool.upstreams("a", "b")
    a.models = b.models = None
    gateway = pool.start(a.provider(models=["org/model"]), b.provider(models=["y"]))
    assert served(ask(gateway, chat("org/model"))) == "a"
    assert b'"org/model"' in a.last.body


def test_a_named_provider_is_not_failed_over(pool):
    a, b = pool.upstreams("a", "b")
    b.handler = fail(500, "broken")
    gateway = pool.start(a, b)
    response = ask(gateway, chat("b/m"))
    assert response.status == 500 and response.json["error"]["message"] == "broken"
    assert a.calls == []


def test_who_is_ejected_gets_no_turn(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, refusing("down"), b, routing={"circuit_breaker": {"failures": 1}})
    for _ in range(6):
        ask(gateway)
    wait_provider(gateway, "down", "is out", lambda status: not status["healthy"])
    assert [ask(gateway).value("X-Hestia-Attempts") for _ in range(6)] == ["1"] * 6


def test_without_name_a_provider_is_numbered(pool):
    a = pool.upstream("a")
    entry = a.provider()
    del entry["name"]
    gateway = pool.start(entry)
    assert served(ask(gateway)) == "provider_0"


def test_disabled_providers_are_not_asked(pool):
    a, b = pool.upstreams("a", "b")
    entry = b.provider()
    entry["api_key"] = "${NOT_SET_ANYWHERE}"
    gateway = pool.start(a, entry)
    assert shares(gateway, 6) == {"a": 6}
    assert providers(gateway)["b"]["disabled"] is True and b.requests == []


def test_a_reload_changes_the_pool(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a)
    assert served(ask(gateway)) == "a"
    gateway.reload(pool_config(b))
    assert served(ask(gateway)) == "b"
    gateway.reload(pool_config(a.provider(weight=3), b, routing={"strategy": "weighted"}))
    assert shares(gateway, 40) == {"a": 30, "b": 10}


def test_state_survives_a_reload(pool):
    """Whoever was ejected stays so, when its entry did not change."""
    a, b = pool.upstreams("a", "b")
    a.handler = fail(500)
    breaker = {"circuit_breaker": {"failures": 1, "open": 60}}
    gateway = pool.start(a, b, routing=breaker)
    ask(gateway)
    ask(gateway)
    assert len(a.calls) == 1
    gateway.reload(pool_config(a, b, routing=breaker, queue={"max_concurrent": 50}))
    assert not providers(gateway)["a"]["healthy"]
    for _ in range(4):
        assert served(ask(gateway)) == "b"
    assert len(a.calls) == 1
