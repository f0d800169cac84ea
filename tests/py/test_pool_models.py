"""GET /v1/models: lists of all providers, merged (issue "The pool" 1 and 4)."""

import json

import pytest

from pool import Upstream, ask, chat, drop, fail, hang, models, served, wait_models
from waiting import eventually


def entries(gateway):
    response = gateway.get("/v1/models")
    assert response.status == 200 and response.value("Content-Type").startswith("application/json")
    assert response.json["object"] == "list"
    for model in response.json["data"]:
        assert model["object"] == "model" and isinstance(model["created"], int) and model["owned_by"] and model["id"]
    return {model["id"]: model for model in response.json["data"]}


def test_merged_and_without_duplicates(pool):
    a, b = pool.upstream("a", models=["x", "both"]), pool.upstream("b", models=["both", "org/y", "z:7b"])
    gateway = pool.start(a, b)
    wait_models(gateway, "x", "both", "org/y", "z:7b")
    found = entries(gateway)
    assert found["x"]["owned_by"] in ("a", "hestia") and found["x"]["created"] == 1700000001
    assert len(models(gateway)) == 4


def test_configured_lists_and_maps_count(pool):
    a, b = pool.upstreams("a", "b")
    gateway = pool.start(a.provider(models=["x", "y"]), b.provider(models=["z"], model_map={"gpt-4": "z"}))
    assert sorted(models(gateway)) == ["gpt-4", "x", "y", "z"]
    assert entries(gateway)["gpt-4"]["owned_by"] == "b" and entries(gateway)["x"]["owned_by"] == "a"
    assert a.lists == []


SHAPES = {
    "OpenAI": {"object": "list", "data": [{"id": "x", "object": "model"}, {"id": "y"}]},
    "bare array": [{"id": "x", "type": "chat"}, {"id": "y"}],
    "array of names": ["x", "y"],
    "models with names": {"models": [{"name": "x", "endpoints": []}, {"name": "y"}]},
    "models with ids": {"models": [{"id": "x"}, {"id": "y"}]},
    "Ollama": {"models": [{"name": "x", "model": "x", "size": 1}, {"name": "y", "model": "y"}]},
    "Gemini": {"object": "list", "data": [{"id": "models/x"}, {"id": "models/y"}]},
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_all_shapes_of_lists(pool, shape):
    a = pool.upstream("a")
    a.on("/v1/models", lambda peer, request: peer.respond(200, shape))
    gateway = pool.start(a)
    eventually(lambda: len(models(gateway)) == 2, "both are listed")
    assert {name.removeprefix("models/") for name in models(gateway)} == {"x", "y"}
    assert served(ask(gateway, chat(models(gateway)[0]))) == "a"


@pytest.mark.parametrize("handler", [
    fail(500), fail(401), drop, hang,
    lambda peer, request: peer.respond(200, b"<html>", [("Content-Type", "text/html")]),
    lambda peer, request: peer.respond(200, b'{"data":[{"id":5},{"id":""},{},[],null,"\xff"]}', [("Content-Type", "application/json")]),
    lambda peer, request: peer.respond(200, b'{"data":' + b"[" * 50_000 + b"]" * 50_000 + b"}", [("Content-Type", "application/json")]),
    lambda peer, request: peer.respond(200,
                                       b'{"data":[' + b",".join(b'{"id":"%s"}' % (b"x" * 1000) for _ in range(20_000)) + b"]}",
                                       [("Content-Type", "application/json")]),
], ids=["500", "401", "closes", "hangs", "HTML", "nonsense", "deep", "huge"])
def test_a_list_that_is_none(pool, handler):
    """Whatever comes, the others' are shown, and the provider still serves."""
    a, b = pool.upstream("a"), pool.upstream("b", models=["y"])
    a.on("/v1/models", handler)
    gateway = pool.start(a.provider(weight=1), b)
    eventually(lambda: "y" in models(gateway), "the other's list is there")
    eventually(lambda: a.lists, "it was asked")
    assert gateway.get("/health").status == 200
    assert ask(gateway, chat("y")).status == 200


def test_one_model(pool):
    a = pool.upstream("a")
    gateway = pool.start(a.provider(models=["x", "org/model", "a b", "ü", "deep/er/model:7b"]))
    for name, path in (("x", "x"), ("org/model", "org/model"), ("org/model", "org%2Fmodel"), ("a b", "a%20b"), ("ü", "%C3%BC"),
                       ("deep/er/model:7b", "deep/er/model:7b")):
        response = gateway.get(f"/v1/models/{path}")
        assert response.status == 200, response
        assert response.json == {"id": name, "object": "model", "created": response.json["created"], "owned_by": "a", "provider": "a",
                                 "context_window": 0, "supports_streaming": True, "capabilities": ["chat", "completion"]}


@pytest.mark.parametrize("path", ["nothing", "org/nothing", "x/", "X", "x%00", "%2e%2e"])
def test_no_such_model(pool, path):
    a = pool.upstream("a")
    gateway = pool.start(a.provider(models=["x"]))
    response = gateway.get(f"/v1/models/{path}")
    assert response.status in (404, 400)
    if response.status == 404 and path not in ("x/", "%2e%2e"):
        assert response.code == "model_not_found"


def test_nothing_is_listed_without_providers(hestia):
    assert hestia({}).get("/v1/models").json == {"object": "list", "data": []}


def test_disabled_providers_list_nothing(pool):
    a = pool.upstream("a")
    gateway = pool.start(a.provider(api_key="${NOT_SET_ANYWHERE}", models=["x"]))
    assert models(gateway) == []


def test_lists_are_kept_when_a_provider_is_away(pool):
    a, b = pool.upstream("a", models=["x"]), pool.upstream("b", models=["y"])
    gateway = pool.start(a, b, routing={"health_check": {"enabled": True, "interval": 0.1}})
    wait_models(gateway, "x", "y")
    a.on("/v1/models", fail(500))
    seen = len(a.lists)
    eventually(lambda: len(a.lists) >= seen + 3, "it is asked on")
    assert "x" in models(gateway)


def test_lists_are_refreshed(pool):
    a = pool.upstream("a", models=["x"])
    gateway = pool.start(a, routing={"health_check": {"enabled": True, "interval": 0.1}})
    wait_models(gateway, "x")
    a.models = ["x", "new"]
    wait_models(gateway, "x", "new")
    assert served(ask(gateway, chat("new"))) == "a"


def test_a_configured_authorization_stands_alone(pool):
    a = pool.upstream("a")
    pool.start(a.provider(headers={"Authorization": "Custom t"}))
    assert a.wait_path("/v1/models").values("Authorization") == ["Custom t"]


def test_lists_are_asked_with_the_key(pool):
    a = pool.upstream("a")
    pool.start(a.provider(headers={"X-Title": "t"}))
    request = a.wait_path("/v1/models")
    assert request.value("Authorization") == f"Bearer {a.key}" and request.value("X-Title") == "t"


def test_azure_is_not_asked_for_a_list(pool):
    """What Azure lists are base models, not deployments: any deployment can be named. Checks go there in its way."""
    a = pool.upstream("a")
    gateway = pool.start({**a.provider(), "type": "azure", "base_url": a.url, "api_version": "2024-10-21"},
                         routing={"health_check": {"enabled": True, "interval": 0.1}})
    eventually(lambda: len(a.lists) >= 3, "it is checked")
    assert {request.target for request in a.lists} == {"/openai/models?api-version=2024-10-21"}
    assert all(request.value("api-key") == a.key and request.values("Authorization") == [] for request in a.lists)
    assert served(ask(gateway, chat("my-deployment"))) == "a" and "my-deployment" not in models(gateway)


def test_a_provider_that_comes_late_is_listed(pool):
    a = pool.upstream("a")
    a.close()
    gateway = pool.start(a, routing={"health_check": {"enabled": True, "interval": 0.1}})
    assert models(gateway) == []
    pool.opened.append(Upstream("a", port=a.port, models=["x"]))
    wait_models(gateway, "x")


def test_names_are_escaped(pool):
    a = pool.upstream("a")
    name = 'quote " back \\ <b> ü \x7f'
    gateway = pool.start(a.provider(models=[name]))
    assert list(entries(gateway)) == [name]
    assert json.loads(gateway.get("/v1/models").body)
