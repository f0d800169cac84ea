"""Who may call the LLM routes, and with which models: clients, their keys and strategies (issue "The books" 2 to 4, 9)."""

import json

import pytest

from books import Admin, ask_as, ask_model, bearer, client, hashed, limit
from pool import Stream, ask, chat, fail, refusing, served, wait_models
from waiting import eventually


# ---- keys


def test_without_clients_everything_is_open(pool):
    gateway = pool.start(pool.upstream())
    assert served(ask(gateway)) == "a"
    assert served(ask(gateway, fields=bearer("dummy"))) == "a"


def test_with_clients_a_key_is_needed(pool):
    a = pool.upstream()
    gateway = pool.start(a, clients=[client("ann"), client("bob", enabled=False)])
    assert served(ask_as(gateway, "ann")) == "a"
    assert served(ask(gateway, fields=[("X-API-Key", "key-of-ann")])) == "a"
    for fields in ([], bearer("wrong"), bearer("hk_abcdefgh_" + "x" * 43), bearer("key-of-bob"), bearer(hashed("key-of-ann"))):
        response = ask(gateway, fields=fields)
        assert response.status == 401 and response.json["error"]["code"] == "invalid_api_key", fields
    assert gateway.get("/v1/models").status == 401
    assert len(a.calls) == 2


def test_client_key_is_not_forwarded(pool):
    a = pool.upstream()
    gateway = pool.start(a, clients=[client("ann")])
    ask_as(gateway, "ann")
    ask(gateway, fields=[("X-API-Key", "key-of-ann")])
    for call in a.calls:
        assert call.value("Authorization") == f"Bearer {a.key}" and not call.values("X-API-Key")


def test_client_key_is_for_the_llm_routes_only(pool):
    a = pool.upstream()
    gateway = pool.start(a, clients=[client("ann")], auth={"api_keys": [hashed("operator")], "admin_keys": [hashed("admin")]},
                         services={"s": {"base_url": a.url}})
    for path in ("/services/s/", "/v1/services", "/admin/v1/clients", "/v1/providers"):
        response = gateway.get(path, bearer("key-of-ann"))
        assert response.status == 403 and response.json["error"]["code"] == "permission_denied", path
        assert gateway.get(path).status == 401
    assert gateway.get("/v1/services", bearer("operator")).status == 200
    assert gateway.get("/admin/v1/clients", bearer("operator")).status == 403
    assert gateway.get("/admin/v1/clients", bearer("admin")).status == 200
    assert served(ask(gateway, fields=bearer("operator"))) == "a"


def test_anonymous_strategy(pool):
    a = pool.upstream("a", models=("m", "n"))
    strategy = {"id": "guests", "allowed_models": {"selected_models": [["a", "n"]]}}
    gateway = pool.start(a, clients=[client("ann")], strategies=[strategy], auth={"anonymous": "guests"})
    wait_models(gateway, "n")
    for fields in ([], bearer("dummy")):
        assert served(ask_model(gateway, "n", fields)) == "a"
        assert ask_model(gateway, "m", fields).status == 403
    assert ask_model(gateway, "n", bearer("hk_abcdefgh_" + "x" * 43)).status == 401
    assert served(ask_model(gateway, "m", bearer("key-of-ann"))) == "a"


def test_revoked_key_is_refused_at_once_on_every_worker(pool):
    gateway = pool.start(pool.upstream(), server={"workers": 4})
    admin = Admin(gateway)
    ann = admin.create_client("ann")
    admin.create_client("another")
    connections = [gateway.connect() for _ in range(12)]

    def statuses():
        found = []
        for connection in connections:
            connection.request("POST", "/v1/chat/completions", [*bearer(ann["key"]), ("Content-Type", "application/json")],
                               b'{"model": "m", "messages": []}')
            found.append(connection.read_response().status)
        return found

    assert statuses() == [200] * 12
    assert admin.call("PATCH", f"/clients/{ann['id']}", {"enabled": False}).status == 200
    assert statuses() == [401] * 12
    assert admin.call("PATCH", f"/clients/{ann['id']}", {"enabled": True}).status == 200
    assert statuses() == [200] * 12
    rotated = admin.call("POST", f"/clients/{ann['id']}/rotate")
    assert rotated.status == 200 and rotated.json["key"].startswith("hk_") and rotated.json["key"] != ann["key"]
    assert statuses() == [401] * 12
    ann = rotated.json
    assert statuses() == [200] * 12
    assert admin.call("DELETE", f"/clients/{ann['id']}").status in (200, 204)
    assert statuses() == [401] * 12
    for connection in connections:
        connection.close()


def test_client_made_by_the_api_survives_a_restart(pool, tmp_path):
    a = pool.upstream()
    path = str(tmp_path / "books.db")
    gateway = pool.start(a, storage={"path": path})
    ann = Admin(gateway).create_client("ann")
    assert ann["key"].startswith("hk_") and len(ann["key"]) == 2 + 1 + 8 + 1 + 43
    assert served(ask(gateway, fields=bearer(ann["key"]))) == "a"
    gateway.stop()
    gateway = pool.start(a, storage={"path": path})
    assert served(ask(gateway, fields=bearer(ann["key"]))) == "a"
    assert ask(gateway).status == 401
    shown = Admin(gateway).get(f"/clients/{ann['id']}")
    assert shown["name"] == "ann" and "key" not in shown
    strategies = {one["id"]: one for one in Admin(gateway).get("/strategies")["data"]}
    assert strategies[ann["strategy_id"]]["name"] == "ann's strategy"
    assert strategies[ann["strategy_id"]]["parent"] == ann["id"]
    assert strategies["default"]["name"] == "Default Strategy"


def test_second_gateway_on_the_same_books_is_refused(pool, hestia, tmp_path):
    path = str(tmp_path / "books.db")
    pool.start(pool.upstream(), storage={"path": path})
    second = hestia({"storage": {"path": path}}, wait=False)
    second.expected_exit = 1
    assert second.process.wait(20) == 1
    assert "storage.path" in second.stderr_path.read_text() or path in second.stderr_path.read_text()


@pytest.mark.parametrize("others", [False, True])
def test_a_second_gateway_beside_the_default_books_lets_nobody_in_without_a_key(pool, hestia, tmp_path, others):
    """It keeps no accounts. Where the books have clients, it cannot know their keys; where they have none, all is open."""
    a = pool.upstream()
    home = {"HOME": tmp_path / "home"}
    first = pool.start(a, env=home)
    key = Admin(first).create_client("ann")["key"] if others else None
    second = pool.start(a, env=home)
    assert second.wait_event("store_unavailable")
    assert ask(second).status == (401 if others else 200)
    if others:
        assert ask(second, fields=bearer(key)).status == 401
        assert second.wait_event("clients_unknown")["level"] == "WARNING"


def test_damaged_books_let_nobody_in_without_a_key(pool, tmp_path):
    """Until the file that nobody can read is gone."""
    a, path = pool.upstream(), tmp_path / "books.db"
    gateway = pool.start(a, storage={"path": str(path)})
    Admin(gateway).create_client("ann")
    gateway.stop()
    path.write_bytes(b"x" * 100 + path.read_bytes()[100:])
    gateway = pool.start(a, storage={"path": str(path)})
    assert gateway.wait_event("store_damaged") and gateway.wait_event("clients_unknown")
    assert ask(gateway).status == 401
    assert served(ask(gateway, fields=bearer(Admin(gateway).create_client("bob")["key"]))) == "a"
    gateway.stop()
    for file in tmp_path.glob("books.db*"):
        file.unlink() if file.is_file() else None
    gateway = pool.start(a, storage={"path": str(path)})
    assert served(ask(gateway)) == "a"


# ---- selection


@pytest.fixture
def two(pool):
    """Providers a (m, n) and b (m, o), and a gateway with strategies by name for clients of the same name."""

    def start(**strategies):
        a, b = pool.upstream("a", models=("m", "n")), pool.upstream("b", models=("m", "o"))
        gateway = pool.start(a, b, clients=[client(name, strategy_id=name) for name in strategies] + [client("everybody")],
                             strategies=[{"id": name, **strategy} for name, strategy in strategies.items()])
        eventually(lambda: sorted(listed(gateway, "everybody")) == ["m", "n", "o"], "the models are known")
        return gateway, a, b

    return start


def listed(gateway, name):
    response = gateway.get("/v1/models", bearer(f"key-of-{name}"))
    assert response.status == 200, response
    return [model["id"] for model in response.json["data"]]


def test_selection_by_provider(two):
    gateway, a, b = two(one={"allowed_models": {"selected_providers": ["B"]}})
    assert sorted(listed(gateway, "one")) == ["m", "o"]
    for _ in range(4):
        assert served(ask_as(gateway, "one", chat("m"))) == "b"
    assert served(ask_as(gateway, "one", chat("b/m"))) == "b"
    assert served(ask_as(gateway, "one", chat("o"))) == "b"
    for model in ("n", "a/m", "a/n"):
        response = ask_as(gateway, "one", chat(model))
        assert response.status == 403 and response.json["error"]["param"] == "model", model
    assert ask_as(gateway, "one", chat("unknown")).status == 404
    assert a.calls == []


def test_selection_by_model(two):
    gateway, a, b = two(one={"allowed_models": {"individual_models": [["A", "M"], ["B", "o"]]}})
    assert sorted(listed(gateway, "one")) == ["m", "o"]
    assert served(ask_as(gateway, "one", chat("m"))) == "a"
    assert served(ask_as(gateway, "one", chat("O:latest"))) == "b" and json.loads(b.last.body)["model"] == "o"
    assert ask_as(gateway, "one", chat("b/m")).status == 403
    assert ask_as(gateway, "one", chat("n")).status == 403


def test_empty_selection_allows_nothing(two):
    gateway, a, b = two(none={"allowed_models": {"selected_models": []}}, all={"allowed_models": {"selected_all": True}})
    assert listed(gateway, "none") == []
    assert ask_as(gateway, "none", chat("m")).status == 403
    assert gateway.get("/v1/models/m", bearer("key-of-none")).status == 403
    assert gateway.get("/v1/models/x", bearer("key-of-none")).status == 404


def test_providers_of_a_client(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a, b, clients=[client("ann", allowed_llm_providers=["b"])])
    for _ in range(3):
        assert served(ask_as(gateway, "ann")) == "b"
    assert ask_as(gateway, "ann", chat("a/m")).status == 403


# ---- models and prices


def test_model_details(two):
    gateway, a, b = two(one={"allowed_models": {"selected_providers": ["b"]}})
    shown = gateway.get("/v1/models/o", bearer("key-of-one"))
    assert shown.status == 200 and shown.json["id"] == "o" and shown.json["owned_by"] == "b"
    assert gateway.get("/v1/models/n", bearer("key-of-one")).status == 403
    assert gateway.get("/models/o", bearer("key-of-one")).status == 200


def test_pricing(pool):
    a = pool.upstream("a", models=("gpt-4o", "local"))
    gateway = pool.start(a, pricing={"overrides": [{"model": "local", "input_per_million": 1.5, "output_per_million": 3}]})
    wait_models(gateway, "gpt-4o", "local")
    known = gateway.get("/v1/models/gpt-4o/pricing")
    assert known.status == 200 and known.json["input_cost_per_1k"] == 0.0025 and not known.json["overridden"]
    override = gateway.get("/v1/models/local/pricing").json
    assert (override["input_cost_per_1k"], override["output_cost_per_1k"], override["overridden"]) == (0.0015, 0.003, True)
    assert gateway.get("/v1/models/nope/pricing").status == 404


# ---- auto-routing


AUTO = {"enabled": True, "prioritized_models": [["a", "m"], ["B", "m"]]}


@pytest.fixture
def auto(pool):
    """auto(handler of a, **strategy) → gateway, a, b, with `auto` for everybody: a/m first, then b/m."""

    def start(handler=None, **strategy):
        a, b = pool.upstreams("a", "b")
        if handler:
            a.handler = handler
        gateway = pool.start(a, b, strategies=[{"id": "default", "auto_config": AUTO, **strategy}])
        return gateway, a, b

    return start


@pytest.mark.parametrize("model", ["localrouter/auto", "hestia/auto"])
def test_auto_takes_the_first(auto, model):
    gateway, a, b = auto()
    response = ask_model(gateway, model)
    assert served(response) == "a" and response.value("X-Hestia-Model") == "m"
    assert json.loads(a.last.body)["model"] == "m" and b.calls == []


@pytest.mark.parametrize("handler, outcome", [
    pytest.param(fail(429), "rate_limited", id="rate"),
    pytest.param(fail(400, "This model's maximum context length is 10 tokens", code="context_length_exceeded"), "context_length_exceeded", id="context"),
    pytest.param(fail(400, "no", code="content_policy_violation"), "policy_violation", id="policy"),
    pytest.param(fail(503), "unreachable", id="unreachable"),
    pytest.param(fail(500), "other", id="other"),
    pytest.param(fail(404, "no such model", code="model_not_found"), "unsupported", id="unsupported"),
    pytest.param(fail(401), "upstream_auth", id="auth"),
])
@pytest.mark.parametrize("stream", [False, True])
def test_auto_falls_back(auto, handler, outcome, stream):
    gateway, a, b = auto(handler)
    response = ask_model(gateway, "localrouter/auto", stream=stream)
    assert served(response) == "b" and response.value("X-Hestia-Attempts") == "2"
    row = eventually(lambda: Admin(gateway).requests(), "the request is in the book")[0]
    assert [attempt["outcome"] for attempt in row["attempts"]] == [outcome, "ok"]
    assert (row["provider"], row["provider_model"], row["model"]) == ("b", "m", "localrouter/auto")


def test_auto_stops_at_what_is_the_clients_fault(auto):
    gateway, a, b = auto(fail(400, "messages: wrong"))
    response = ask_model(gateway, "localrouter/auto")
    assert response.status == 400 and response.json["error"]["message"] == "messages: wrong"
    assert b.calls == []


def test_auto_other_errors_can_be_final(auto):
    gateway, a, b = auto(fail(500, "boom"), fallback_on_other=False)
    response = ask_model(gateway, "localrouter/auto")
    assert response.status == 500 and b.calls == []


def test_auto_all_fail(auto):
    gateway, a, b = auto(fail(503))
    b.handler = fail(429)
    response = ask_model(gateway, "localrouter/auto")
    assert response.status == 429 and response.value("Retry-After")
    attempts = response.json["error"]["attempts"]
    assert [(one["provider"], one["model"], one["outcome"]) for one in attempts] == [("a", "m", "unreachable"), ("b", "m", "rate_limited")]
    assert "a/m" in response.json["error"]["message"] and "b/m" in response.json["error"]["message"]


def test_auto_attempts_have_their_own_models(pool):
    """Also one that never got as far as being sent."""
    a = pool.upstream("a", fail(503))
    gateway = pool.start(a, refusing("b", models=["other"]), strategies=[
        {"id": "default", "auto_config": {"enabled": True, "prioritized_models": [["a", "m"], ["b", "other"]]}}])
    attempts = ask_model(gateway, "localrouter/auto").json["error"]["attempts"]
    assert [(one["provider"], one["model"]) for one in attempts] == [("a", "m"), ("b", "other")]


def test_auto_leaves_a_limited_model_alone(auto):
    gateway, a, b = auto(fail(429, fields=[("Retry-After", "30")]))
    for _ in range(3):
        assert served(ask_model(gateway, "localrouter/auto")) == "b"
    assert len(a.calls) == 1


def test_auto_only_what_is_allowed(auto):
    gateway, a, b = auto(allowed_models={"selected_providers": ["b"]})
    assert served(ask_model(gateway, "localrouter/auto")) == "b"
    assert a.calls == []


def test_auto_stream_fails_after_its_beginning(auto):
    from pool import FIRST, streams

    gateway, a, b = auto(streams(FIRST, end=False))
    stream = Stream(gateway, chat("localrouter/auto", stream=True))
    assert stream.head().status == 200 and stream.head().value("X-Hestia-Provider") == "a"
    assert b.calls == []


def test_auto_is_listed_only_when_enabled(pool):
    a = pool.upstream("a")
    gateway = pool.start(a, clients=[client("with", strategy_id="s"), client("without"), client("off", strategy_id="t")],
                         strategies=[{"id": "s", "auto_config": AUTO}, {"id": "t", "auto_config": {**AUTO, "enabled": False}}])
    eventually(lambda: "m" in listed(gateway, "without"), "the models are known")
    assert listed(gateway, "with") == ["localrouter/auto", "m"]
    assert listed(gateway, "without") == listed(gateway, "off") == ["m"]
    for path in ("/v1/models/localrouter/auto", "/v1/models/localrouter%2Fauto"):
        shown = gateway.get(path, bearer("key-of-with"))
        assert shown.status == 200 and shown.json["owned_by"] == "localrouter" and shown.json["capabilities"] == ["chat", "completion"]
        for name in ("without", "off"):
            assert gateway.get(path, bearer(f"key-of-{name}")).status == 404
    for name in ("without", "off"):
        assert ask_as(gateway, name, chat("localrouter/auto")).status == 404
    assert a.calls == []


def test_limit_of_a_shared_strategy_counts_all_its_clients(pool):
    a = pool.upstream("a")
    gateway = pool.start(a, clients=[client("ann", strategy_id="s"), client("bob", strategy_id="s"), client("eve")],
                         strategies=[{"id": "s", "rate_limits": [limit("requests", 3)]}])
    assert [ask_as(gateway, name).status for name in ("ann", "bob", "ann", "bob", "ann", "eve")] == [200, 200, 200, 429, 429, 200]
