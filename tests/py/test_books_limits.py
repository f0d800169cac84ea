"""Limits of strategies: reserved before, settled after, exact whatever runs at once (issue "The books" 6)."""

import threading

import pytest

from books import Admin, ask_as, at_once, client, limit
from gateway import metric
from pool import Hold, Stream, answer, ask, chat, fail, hang, served
from waiting import eventually


@pytest.fixture
def limited(pool):
    """limited(limits…, handler=, **config) → gateway, upstream; the limits are those of everybody."""

    def start(*limits, handler=answer, workers=2, **config):
        a = pool.upstream("a", handler)
        gateway = pool.start(a, strategies=[{"id": "default", "rate_limits": list(limits)}], server={"workers": workers},
                             storage={"path": "books.db"}, **config)
        return gateway, a

    return start


def test_the_last_one_passes_the_next_does_not(limited):
    gateway, a = limited(limit("requests", 10))
    assert [ask(gateway).status for _ in range(12)] == [200] * 10 + [429] * 2
    assert len(a.calls) == 10


def test_refusal_says_everything(limited):
    gateway, a = limited(limit("requests", 1))
    assert ask(gateway).value("X-RateLimit-Remaining-Requests") == "0"
    refused = ask(gateway)
    error = refused.json["error"]
    assert refused.status == 429 and error["code"] == "rate_limit_exceeded" and error["type"] == "rate_limit_error"
    for word in ("default", "1 requests per minute", "used 1"):
        assert word in error["message"] or word in error["message"].lower(), error
    assert 1 <= int(refused.value("Retry-After")) <= 61
    assert refused.value("X-RateLimit-Limit-Requests") == "1" and refused.value("X-RateLimit-Remaining-Requests") == "0"
    assert refused.value("X-Hestia-Error-Source") == "gateway"
    total = Admin(gateway).wait_total(1)
    assert total["requests"] == 1, "a refusal leaves no usage row"
    assert len(Admin(gateway).requests()) == 1


@pytest.mark.threads
@pytest.mark.parametrize("workers", [1, 4])
def test_fifty_at_once_for_a_budget_of_ten(limited, workers):
    hold = Hold()
    gateway, a = limited(limit("requests", 10, "day"), handler=hold, workers=workers)
    waiting = at_once(50, lambda: ask(gateway).status)
    hold.wait(10)
    hold.open()
    statuses = waiting()
    assert sorted(statuses) == [200] * 10 + [429] * 40
    assert len(a.calls) == 10


@pytest.mark.parametrize("kind, value", [("total_tokens", 12), ("input_tokens", 7), ("output_tokens", 5)])
def test_tokens_overshoot_once_then_nothing_passes(limited, kind, value):
    """An answer uses 7 and 5; the prompt looks smaller than that."""
    gateway, a = limited(limit(kind, value - 1, "hour"))
    assert ask(gateway).status == 200
    assert [ask(gateway).status for _ in range(3)] == [429] * 3
    assert len(a.calls) == 1


def test_tokens_up_to_the_limit(limited):
    gateway, a = limited(limit("total_tokens", 120, "day"))
    statuses = [ask(gateway).status for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2, "ten times twelve tokens"


def test_max_tokens_are_reserved(limited):
    hold = Hold()
    gateway, a = limited(limit("output_tokens", 100), handler=hold)
    waiting = at_once(1, lambda: ask(gateway, chat(max_tokens=60)).status)
    hold.wait(1)
    assert ask(gateway, chat(max_tokens=60)).status == 429
    hold.open()
    assert waiting() == [200]
    never = ask(gateway, chat(max_tokens=101))
    assert never.status == 429 and "alone" in never.json["error"]["message"]


def test_cost(limited):
    """7 tokens in and 5 out at 1 $ and 2 $ a million: 17 millionths of a dollar each."""
    prices = {"overrides": [{"model": "m", "input_per_million": 1, "output_per_million": 2}]}
    gateway, a = limited(limit("cost", 0.00005, "day"), pricing=prices)
    statuses = [ask(gateway).status for _ in range(4)]
    assert statuses[0] == 200 and statuses[-1] == 429 and statuses.count(200) in (2, 3)
    refused = ask(gateway)
    assert refused.json["error"]["code"] == "insufficient_quota"
    total = Admin(gateway).wait_total(statuses.count(200))
    assert total["cost"] == pytest.approx(0.000017 * statuses.count(200), abs=1e-12)


@pytest.mark.threads
def test_cost_and_what_is_left_are_metrics(limited):
    """Dollars, to the last digit."""
    prices = {"overrides": [{"model": "m", "input_per_million": 1, "output_per_million": 2}]}
    gateway, a = limited(limit("cost", 0.00005, "day"), limit("requests", 1000), pricing=prices)
    budget = {"strategy": "default", "window": "day"}
    assert metric(gateway, "hestia_budget_remaining_usd", **budget) == 0.00005
    assert ask(gateway).status == 200
    eventually(lambda: metric(gateway, "hestia_cost_usd_total", provider="a") == 0.000017, "it is counted")
    assert metric(gateway, "hestia_budget_remaining_usd", **budget) == 0.000033
    assert metric(gateway, "hestia_budget_remaining_usd") == 0.000033, "the limit of requests is no budget"
    shown = gateway.get("/v1/metrics").json
    assert shown["counters"]["cost_usd_total[provider=a]"]["count"] == 0.000017
    assert shown["gauges"]["budget_remaining_usd[strategy=default,window=day]"]["value"] == 0.000033


def test_refusals_are_counted_by_client(pool):
    gateway = pool.start(pool.upstream("a"), strategies=[{"id": "tight", "rate_limits": [limit("requests", 1)]}],
                         clients=[client("ada", strategy_id="tight")], storage={"path": "books.db"})
    assert [ask_as(gateway, "ada").status for _ in range(3)] == [200, 429, 429]
    assert metric(gateway, "hestia_limit_rejections_total", client="ada", strategy="tight", limit="requests") == 2


def test_cost_does_not_bind_free_models(limited):
    gateway, a = limited(limit("cost", 0.000001))
    assert [ask(gateway).status for _ in range(5)] == [200] * 5


def test_all_limits_hold_at_once(limited):
    gateway, a = limited(limit("requests", 100), limit("requests", 3, "hour"), limit("total_tokens", 1000, "day"))
    assert [ask(gateway).status for _ in range(5)] == [200] * 3 + [429] * 2
    assert "hour" in ask(gateway).json["error"]["message"]


def test_failed_requests_do_not_count(limited):
    gateway, a = limited(limit("requests", 2), handler=fail(500))
    assert [ask(gateway).status for _ in range(4)] == [500] * 4
    a.handler = answer
    assert [ask(gateway).status for _ in range(3)] == [200, 200, 429]


def test_client_that_leaves_gives_its_reservation_back(limited):
    gateway, a = limited(limit("output_tokens", 100, "day"), handler=hang)
    with gateway.connect() as connection:
        connection.request("POST", "/v1/chat/completions", [("Content-Type", "application/json")],
                           b'{"model": "m", "messages": [], "max_tokens": 80}')
        a.wait_calls(1)
    a.handler = answer
    eventually(lambda: ask(gateway, chat(max_tokens=80)).status == 200, "the reservation is back")


def test_stream_is_counted(limited):
    gateway, a = limited(limit("total_tokens", 12, "day"))
    stream = Stream(gateway)
    while stream.next():
        pass
    eventually(lambda: ask(gateway).status == 429, "its tokens are counted")
    assert Admin(gateway).wait_total(1)["output_tokens"] == 5


def test_counters_come_back_after_a_restart(pool, tmp_path):
    a = pool.upstream()
    config = {"strategies": [{"id": "default", "rate_limits": [limit("requests", 5, "hour"), limit("total_tokens", 1000, "day")]}],
              "storage": {"path": str(tmp_path / "books.db")}}
    gateway = pool.start(a, **config)
    assert [ask(gateway).status for _ in range(3)] == [200] * 3
    gateway.stop()
    gateway = pool.start(a, **config)
    limits = {one["limit_type"]: one for one in Admin(gateway).get("/limits")["data"]}
    assert (limits["requests"]["used"], limits["total_tokens"]["used"]) == (3, 36)
    assert [ask(gateway).status for _ in range(3)] == [200, 200, 429]


def test_limits_change_while_it_runs(limited, pool):
    gateway, a = limited()
    admin = Admin(gateway)
    strategy = admin.create_strategy("tight", rate_limits=[limit("requests", 2, "day")])
    one = admin.create_client("one", strategy_id=strategy["id"])
    key = [("Authorization", f"Bearer {one['key']}")]
    assert [ask(gateway, fields=key).status for _ in range(3)] == [200, 200, 429]
    changed = admin.call("PATCH", f"/strategies/{strategy['id']}", {"rate_limits": [limit("requests", 4, "day")]})
    assert changed.status == 200
    assert [ask(gateway, fields=key).status for _ in range(3)] == [200, 200, 429], "what was used still counts"


@pytest.mark.threads
def test_each_strategy_for_itself(pool):
    a = pool.upstream()
    names = ["x", "y", "z"]
    gateway = pool.start(a, clients=[client(name, strategy_id=name) for name in names], server={"workers": 3},
                         strategies=[{"id": name, "rate_limits": [limit("requests", 20)]} for name in names])
    found = {name: [] for name in names}
    threads = [threading.Thread(target=lambda name=name: found[name].extend(ask_as(gateway, name).status for _ in range(15)))
               for name in names * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: statuses.count(200) for name, statuses in found.items()} == dict.fromkeys(names, 20)


def test_headers_of_a_limited_strategy(limited):
    gateway, a = limited(limit("requests", 5), limit("requests", 50, "hour"), limit("total_tokens", 1000))
    response = ask(gateway)
    assert served(response) == "a"
    assert response.value("X-RateLimit-Limit-Requests") == "5" and response.value("X-RateLimit-Remaining-Requests") == "4"
    assert response.value("X-RateLimit-Limit-Tokens") == "1000" and response.value("X-RateLimit-Reset-Requests").endswith("s")
