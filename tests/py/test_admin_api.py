"""The management API, /admin/v1: clients, strategies, limits, usage, requests, audit, events, and who may use it."""

import json
import re
import shlex
import string

import pytest

from gateway import ROOT
from pool import answer, ask, chat, fail, in_turn
from test_auth import hashed
from waiting import eventually

ADMIN = "admin-key-0123456789"
OPERATOR = "operator-key-0123456789"
CONFIG_CLIENT = "client-key-from-the-file"
PROVIDER_KEYS = ("key-of-a", "key-of-b")
DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


class Api:
    """The API of one gateway, as the holder of the admin key. Every JSON answer is held against /openapi.json."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.document = None

    def call(self, method, path, body=None, fields=(), key=ADMIN, host="127.0.0.1"):
        fields = list(fields) + ([("X-API-Key", key)] if key else [])
        if isinstance(body, (dict, list)):
            body, fields = json.dumps(body).encode(), [("Content-Type", "application/json"), *fields]
        response = self.gateway.request(method, "/admin/v1" + path, fields, body, host=host)
        assert not any(name.lower().startswith("access-control-") for name, _ in response.fields), response
        if response.status < 400 and response.status != 304:
            assert response.value("Cache-Control") == "no-store", response
            if response.value("Content-Type") == "application/json" and method != "HEAD":
                self.check(method, path, response)
        return response

    def check(self, method, path, response):
        if self.document is None:
            self.document = self.gateway.get("/openapi.json", [("X-API-Key", ADMIN)]).json
        path = "/admin/v1" + path.partition("?")[0]
        fits = [one for one in self.document["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", one), path)]
        template = min(fits, key=lambda one: one.count("{"))
        described = self.document["paths"][template][method.lower()]["responses"][str(response.status)]
        check_schema(self.document, described["content"]["application/json"]["schema"], response.json, template)

    def get(self, path, **options):
        response = self.call("GET", path, **options)
        assert response.status == 200, response
        return response.json

    def data(self, path):
        return self.get(path)["data"]

    def client(self, name="ann", **more):
        """A new client, with its key."""
        response = self.call("POST", "/clients", {"name": name, **more})
        assert response.status == 201, response
        return response.json

    def strategy(self, name="careful", **more):
        response = self.call("POST", "/strategies", {"name": name, **more})
        assert response.status == 201, response
        return response.json

    def patch(self, path, body, fields=()):
        response = self.call("PATCH", path, body, fields)
        assert response.status == 200, response
        return response.json


TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int, "number": (int, float)}


def check_schema(document, schema, value, where):
    """Enough of JSON Schema for what we write; members that no schema names are refused."""
    if "$ref" in schema:
        return check_schema(document, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], value, where)
    for part in schema.get("allOf", ()):
        check_schema(document, part, value, where)
    types = schema.get("type")
    if types:
        types = [types] if isinstance(types, str) else types
        assert any(isinstance(value, TYPES[one]) and not (isinstance(value, bool) and one in ("integer", "number"))
                   for one in types), f"{where} is {value!r}, not {types}"
    assert "enum" not in schema or value in schema["enum"], f"{where}: {value!r}"
    if schema.get("format") == "date-time" and value is not None:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value), f"{where}: {value}"
    if isinstance(value, dict):
        missing = set(schema.get("required", ())) - set(value)
        assert not missing, f"{where} lacks {missing}"
        for name, member in value.items():
            if name in schema.get("properties", {}):
                check_schema(document, schema["properties"][name], member, f"{where}.{name}")
    if isinstance(value, list) and "items" in schema:
        for one in value:
            check_schema(document, schema["items"], one, where + "[]")


def configured(**more):
    """Keys, a strategy and a client of the file."""
    return {"auth": {"admin_keys": [{"name": "boss", "hash": hashed(ADMIN)}], "api_keys": [hashed(OPERATOR)]},
            "strategies": [{"id": "fixed", "name": "Fixed", "allowed_models": {"selected_all": True}}],
            "clients": [{"id": "filed", "name": "Filed", "strategy_id": "fixed", "key": hashed(CONFIG_CLIENT)}],
            "pricing": {"overrides": [{"model": "m", "input_per_million": 0.1, "output_per_million": 2.5}]}, **more}


@pytest.fixture
def upstream(pool):
    return pool.upstream("a")


@pytest.fixture
def api(pool, upstream):
    return Api(pool.start(upstream.provider(models=["m"]), **configured()))


def complete(api, key, **options):
    return ask(api.gateway, fields=[("Authorization", f"Bearer {key}")], **options)


def refusal(response, status, code=None, param=None):
    """An error answer, in the shape of all others."""
    assert response.status == status, response
    error = response.json["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert response.value("X-Hestia-Error-Source") == "gateway"
    assert response.value("Cache-Control") == "no-store"
    if code:
        assert error["code"] == code, error
    if param:
        assert error["param"] and param in error["param"] and param in error["message"].lower() + error["message"], error
    return error


# ---- who may come


def test_the_admin_key_is_asked_for(api):
    client = api.client()
    assert api.call("GET", "/clients", key=None).status == 401
    assert api.call("GET", "/clients", key="wrong").status == 401
    for key in (OPERATOR, client["key"], CONFIG_CLIENT):
        refusal(api.call("GET", "/clients", key=key), 403, "permission_denied")
        refusal(api.call("POST", "/clients", {"name": "x"}, key=key), 403)
    assert api.get("/clients")


def test_without_admin_keys_operators_manage(hestia):
    api = Api(hestia({"auth": {"api_keys": [hashed(OPERATOR)]}}))
    assert api.call("GET", "/strategies", key=None).status == 401
    assert api.gateway.get("/admin/v1/strategies", [("X-API-Key", OPERATOR)]).status == 200


@pytest.fixture
def open_api(hestia):
    """Without any key, on loopback."""
    return Api(hestia({}))


@pytest.mark.parametrize("host", ["evil.example", "test", "localhost.evil.example", "127.0.0.1.evil.example:80"])
def test_rebinding_is_refused(open_api, host):
    refusal(open_api.call("GET", "/clients", key=None, host=host), 421, "misdirected_request")
    refusal(open_api.call("POST", "/clients", {"name": "x"}, key=None, host=host), 421)
    assert open_api.gateway.request("GET", "/health", host=host).status == 200
    assert [one["id"] for one in open_api.gateway.get("/admin/v1/clients", host="localhost").json["data"]] == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost", "localhost:1", "[::1]:80", "hestia.localhost"])
def test_own_hosts_are_served(open_api, host):
    assert open_api.gateway.get("/admin/v1/clients", host=host).status == 200


def test_a_key_is_no_rebinding(api):
    assert api.call("GET", "/clients", host="gateway.example").status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1.evil.example"])
def test_other_origins_change_nothing(api, origin):
    before = len(api.data("/clients"))
    refusal(api.call("POST", "/clients", {"name": "x"}, [("Origin", origin)]), 403, "permission_denied")
    refusal(api.call("DELETE", "/clients/filed", fields=[("Origin", origin)]), 403)
    assert api.call("GET", "/clients", fields=[("Origin", origin)]).status == 200
    assert len(api.data("/clients")) == before


def test_the_same_origin_may(api):
    host = f"127.0.0.1:{api.gateway.port}"
    response = api.call("POST", "/clients", {"name": "x"}, [("Origin", f"http://{host}")], host=host)
    assert response.status == 201, response


def test_no_preflight(api):
    response = api.call("OPTIONS", "/clients", fields=[("Origin", "http://evil.example"), ("Access-Control-Request-Method", "POST")])
    assert response.status == 405


@pytest.mark.parametrize("method, path, allowed", [
    ("PUT", "/clients", {"GET", "HEAD", "POST"}), ("POST", "/clients/x", {"GET", "HEAD", "PATCH", "DELETE"}),
    ("GET", "/clients/x/rotate", {"POST"}), ("DELETE", "/strategies", {"GET", "HEAD", "POST"}),
    ("POST", "/usage", {"GET", "HEAD"}), ("PUT", "/strategies/x", {"GET", "HEAD", "PATCH", "DELETE"}),
])
def test_405_says_what_the_path_takes(api, method, path, allowed):
    response = api.call(method, path)
    assert response.status == 405 and response.code == "method_not_allowed"
    assert {word.strip() for word in response.value("Allow").split(",")} == allowed


@pytest.mark.parametrize("path", ["/nothing", "/clients/x/y", "/clients/", "/clients/x/rotate/y", ""])
def test_unknown_paths(api, path):
    assert api.call("GET", path).status == 404


def test_head(api):
    response = api.call("HEAD", "/clients/filed")
    assert response.status == 200 and response.body == b"" and response.value("ETag")
    assert api.call("HEAD", "/events").status == 200


@pytest.mark.parametrize("path", ["/clients", "/clients/filed", "/strategies", "/strategies/fixed", "/strategies/fixed/clients",
                                  "/limits", "/providers", "/models", "/usage", "/usage/ids", "/requests", "/requests/x",
                                  "/config", "/audit", "/events"])
def test_unknown_parameters(api, path):
    refusal(api.call("GET", f"{path}?clinet=x"), 400, "bad_request", "clinet")


# ---- clients


def test_a_client_from_its_beginning_to_its_end(api, upstream):
    response = api.call("POST", "/clients", {"name": "ann"})
    assert response.status == 201 and response.value("ETag") == f'"{response.json["revision"]}"'
    client = response.json
    assert re.fullmatch(r"hk_[A-Za-z0-9]{8}_[A-Za-z0-9]{43}", client["key"])
    assert client["key_hint"] == client["key"][:12] + "…"
    assert client["enabled"] is True and client["managed_by_config"] is False and client["last_used"] is None
    assert re.fullmatch(DATE, client["created_at"])
    path = f"/clients/{client['id']}"

    shown = api.call("GET", path)
    assert shown.json == {name: value for name, value in client.items() if name != "key"}
    assert shown.value("ETag") == response.value("ETag")
    assert complete(api, client["key"]).status == 200
    used = eventually(lambda: api.get(path)["last_used"], "it was used")
    other = api.call("POST", "/clients", {"name": "bob", "strategy_id": client["strategy_id"]}).json
    for clients in "/clients", f"/strategies/{client['strategy_id']}/clients":
        assert {each["id"]: each["last_used"] for each in api.get(clients)["data"]
                if each["id"] in (client["id"], other["id"])} == {client["id"]: used, other["id"]: None}
    assert api.call("DELETE", f"/clients/{other['id']}").status == 200

    assert api.patch(path, {"name": "Ann"})["name"] == "Ann"
    assert api.get(path)["revision"] > client["revision"]
    assert api.patch(path, {"enabled": False})["enabled"] is False
    assert complete(api, client["key"]).status == 401
    assert api.patch(path, {"enabled": True})["enabled"] is True
    assert complete(api, client["key"]).status == 200

    fresh = api.call("POST", f"{path}/rotate")
    assert fresh.status == 200 and fresh.json["key"] != client["key"]
    assert complete(api, client["key"]).status == 401
    assert complete(api, fresh.json["key"]).status == 200
    assert "key" not in api.get(path)

    deleted = api.call("DELETE", path)
    assert deleted.status == 200 and deleted.json == {"id": client["id"], "deleted": True, "released_strategies": []}
    refusal(api.call("GET", path), 404, "client_not_found")
    refusal(api.call("DELETE", path), 404, "client_not_found")
    assert complete(api, fresh.json["key"]).status == 401
    assert len(upstream.calls) == 3


def test_clients_are_listed(api):
    made = [api.client(name)["id"] for name in ("ann", "bob", "cyd")]
    assert [one["id"] for one in api.data("/clients")] == ["filed", *made]
    assert [one["name"] for one in api.data("/clients?name=bob")] == ["bob"]
    assert api.data("/clients?name=nobody") == []
    assert api.get("/clients")["next"] is None

    pages, after = [], ""
    while after is not None:
        page = api.get(f"/clients?limit=3&after={after}")
        pages.append([one["id"] for one in page["data"]])
        after = page["next"]
    assert pages == [["filed", *made[:2]], made[2:]]
    refusal(api.call("GET", "/clients?after=nobody"), 400, param="after")
    for limit in ("0", "1001", "x", "-1"):
        refusal(api.call("GET", f"/clients?limit={limit}"), 400, param="limit")


def test_a_client_brings_its_strategy(api):
    client = api.client("ann")
    strategy = api.get(f"/strategies/{client['strategy_id']}")
    assert strategy["name"] == "ann's strategy" and strategy["parent"] == client["id"] and strategy["client_count"] == 1
    assert strategy["allowed_models"]["selected_all"] is True and strategy["auto_config"] is None and strategy["rate_limits"] == []
    assert [one["id"] for one in api.data(f"/strategies/{strategy['id']}/clients")] == [client["id"]]
    api.call("DELETE", f"/clients/{client['id']}")
    refusal(api.call("GET", f"/strategies/{strategy['id']}"), 404, "strategy_not_found")


def test_an_owned_strategy_that_others_use_is_released(api):
    ann = api.client("ann")
    bob = api.client("bob", strategy_id=ann["strategy_id"])
    deleted = api.call("DELETE", f"/clients/{ann['id']}").json
    assert deleted["released_strategies"] == [ann["strategy_id"]] or bob["strategy_id"] == ann["strategy_id"]
    strategy = api.get(f"/strategies/{ann['strategy_id']}")
    assert strategy["parent"] is None and strategy["client_count"] == 1


def test_ids_with_odd_characters(api):
    client = api.client("team ä/b", id="team.a_b-c")
    for quoted in ("team.a_b-c", "team%2Ea%5Fb-c", "%74eam.a_b-c"):
        assert api.get(f"/clients/{quoted}")["name"] == client["name"] == "team ä/b"
    for other in ("team.a_b-c%00", "team.a_b-c%2F", "%FF", "..%2Fclients"):
        assert api.call("GET", f"/clients/{other}").status in (400, 404)


@pytest.mark.parametrize("body, param", [
    ({}, "name"), ({"name": ""}, "name"), ({"name": 5}, "name"), ({"name": "x", "enabld": True}, "enabld"),
    ({"name": "x", "enabled": "perhaps"}, "enabled"), ({"name": "x", "strategy_id": "nobody"}, "strategy_id"),
    ({"name": "x", "allowed_llm_providers": {"a": 1}}, "allowed_llm_providers"),
])
def test_bad_clients_are_refused(api, body, param):
    before = api.get("/clients"), api.get("/strategies")
    response = api.call("POST", "/clients", body)
    assert response.status in (400, 404)
    refusal(response, response.status, param=param)
    assert (api.get("/clients"), api.get("/strategies")) == before


@pytest.mark.parametrize("method, path", [("POST", "/clients"), ("PATCH", "/clients/filed"), ("POST", "/strategies"),
                                          ("PATCH", "/strategies/fixed")])
def test_bodies_are_json(api, method, path):
    body = b'{"name": "x"}'
    for fields in ([], [("Content-Type", "text/plain")], [("Content-Type", "application/x-www-form-urlencoded")]):
        refusal(api.call(method, path, body, fields), 422, "unprocessable", "Content-Type")
    json_type = [("Content-Type", "application/json; charset=utf-8")]
    refusal(api.call(method, path, b"", json_type), 422)
    refusal(api.call(method, path, None, [*json_type, ("Content-Length", str((1 << 20) + 1))]), 413, "body_too_large")
    for text in (b"{", b"[]", b'"x"', b'{"name": "x"} x', b'{"name": "x", "name": "y"}', b"[" * 5000):
        assert api.call(method, path, text, json_type).status in (400, 409), text


# ---- revisions


def test_if_match(api):
    client = api.client()
    path, stale = f"/clients/{client['id']}", f'"{client["revision"]}"'
    now = api.patch(path, {"name": "one"}, [("If-Match", stale)])
    assert now["revision"] > client["revision"]
    for tag in (stale, '"999"', "W/" + stale, "nonsense", '""', f'{stale}, "999"'):
        refusal(api.call("PATCH", path, {"name": "two"}, [("If-Match", tag)]), 412, "precondition_failed")
        refusal(api.call("POST", path + "/rotate", fields=[("If-Match", tag)]), 412)
        refusal(api.call("DELETE", path, fields=[("If-Match", tag)]), 412)
    assert api.get(path)["name"] == "one"
    assert api.patch(path, {"name": "three"}, [("If-Match", f'{stale}, "{now["revision"]}"')])["name"] == "three"
    assert api.patch(path, {"name": "four"}, [("If-Match", "*")])["name"] == "four"
    refusal(api.call("PATCH", "/clients/nobody", {"name": "x"}, [("If-Match", '"1"')]), 404)
    strategy = api.strategy()
    refusal(api.call("PATCH", f"/strategies/{strategy['id']}", {"name": "x"}, [("If-Match", '"999"')]), 412)


def test_if_none_match(api):
    strategy = api.strategy()
    path, tag = f"/strategies/{strategy['id']}", f'"{strategy["revision"]}"'
    for asked in (tag, "W/" + tag, f'"0", {tag}'):
        response = api.call("GET", path, fields=[("If-None-Match", asked)])
        assert response.status == 304 and response.value("ETag") == tag and response.body == b""
    api.patch(path, {"name": "other"})
    assert api.call("GET", path, fields=[("If-None-Match", tag)]).json["name"] == "other"


# ---- strategies


def test_a_strategy_in_full(api):
    wanted = {
        "allowed_models": {"selected_all": False, "selected_providers": ["a"], "selected_models": [["b", "org/m2"]]},
        "auto_config": {"enabled": True, "model_name": "auto", "prioritized_models": [["a", "m"], ["b", "org/m2"]],
                        "available_models": [["a", "other"]]},
        "rate_limits": [{"limit_type": "cost", "value": 0.1, "time_window": "day", "enabled": True},
                        {"limit_type": "requests", "value": 7, "time_window": "minute", "enabled": False}],
        "fallback_on_other": True,
    }
    strategy = api.strategy("full", **wanted)
    path = f"/strategies/{strategy['id']}"
    assert {name: strategy[name] for name in wanted} == wanted
    assert b'"value":0.1,' in api.call("GET", path).body  # and no 0.1000000001
    assert strategy["parent"] is None and strategy["client_count"] == 0 and re.fullmatch(DATE, strategy["created_at"])

    patched = api.patch(path, {"auto_config": None, "rate_limits": [], "allowed_models": {"selected_all": True}})
    assert patched["auto_config"] is None and patched["rate_limits"] == [] and patched["allowed_models"]["selected_all"] is True
    assert patched["fallback_on_other"] is True and patched["name"] == "full"
    assert path[12:] in [one["id"] for one in api.data("/strategies")]
    assert [one["id"] for one in api.data("/strategies?name=full")] == [strategy["id"]]
    assert api.call("DELETE", path).json == {"id": strategy["id"], "deleted": True}
    refusal(api.call("PATCH", path, {"name": "x"}), 404, "strategy_not_found")


@pytest.mark.parametrize("body, param", [
    ({"rate_limits": [{"limit_type": "requests", "value": 0, "time_window": "day"}]}, "rate_limits"),
    ({"rate_limits": [{"limit_type": "wishes", "value": 1, "time_window": "day"}]}, "limit_type"),
    ({"rate_limits": [{"limit_type": "cost", "value": 1, "time_window": "year"}]}, "time_window"),
    ({"auto_config": {"prioritized_models": [["a", "m"]], "available_models": [["a", "m"]]}}, "auto_config"),
    ({"auto_config": {"prioritized_models": [["a"]]}}, "prioritized_models"),
    ({"allowed_models": {"selected_modles": []}}, "selected_modles"), ({"name": ""}, "name"), ({"parent": "nobody"}, "parent"),
])
def test_bad_strategies_are_refused(api, body, param):
    strategy = api.strategy()
    before = api.get("/strategies")
    refusal(api.call("PATCH", f"/strategies/{strategy['id']}", body), 400, param=param)
    refusal(api.call("POST", "/strategies", {"name": "another", **body}), 400, param=param)
    assert api.get("/strategies") == before


def test_strategies_in_use_stay(api):
    strategy = api.strategy()
    client = api.client("ann", strategy_id=strategy["id"])
    refusal(api.call("DELETE", f"/strategies/{strategy['id']}"), 409, "conflict")
    refusal(api.call("DELETE", "/strategies/default"), 409)
    api.patch(f"/clients/{client['id']}", {"strategy_id": "default"})
    assert api.call("DELETE", f"/strategies/{strategy['id']}").status == 200


def test_what_the_file_defines_is_read_only(api):
    for method, path, body in [("PATCH", "/clients/filed", {"name": "x"}), ("DELETE", "/clients/filed", None),
                               ("POST", "/clients/filed/rotate", None), ("PATCH", "/strategies/fixed", {"name": "x"}),
                               ("DELETE", "/strategies/fixed", None)]:
        refusal(api.call(method, path, body), 409, "managed_by_config")
    client = api.get("/clients/filed")
    assert client["managed_by_config"] is True and client["revision"] == 0 and client["key_hint"] is None
    assert client["created_at"] is None
    response = api.call("GET", "/strategies/fixed", fields=[("If-None-Match", '"0"')])
    assert response.status == 200 and response.json["managed_by_config"] is True  # it changes without a revision


def test_warnings_about_clients(api):
    client = api.client("ann", allowed_llm_providers=["nope", "A"])
    assert ["provider nope is not configured" in one for one in client["warnings"]] == [True]
    assert api.get(f"/clients/{client['id']}")["warnings"] == client["warnings"]
    assert [one["warnings"] for one in api.data("/clients?name=ann")] == [client["warnings"]]
    assert api.patch(f"/clients/{client['id']}", {"allowed_llm_providers": ["a"]})["warnings"] == []


def test_warnings(api):
    def warnings(**body):
        return api.patch(f"/strategies/{strategy['id']}", body)["warnings"]

    strategy = api.strategy()
    assert strategy["warnings"] == []
    assert ["No model is allowed" in one for one in warnings(allowed_models={"selected_all": False})] == [True]
    found = warnings(allowed_models={"selected_all": False, "selected_providers": ["a"]},
                     auto_config={"enabled": True, "prioritized_models": [["a", "m"], ["nobody", "x"]]})
    assert len(found) == 2 and "not allowed" in found[0] and "nobody is not configured" in found[1]
    found = warnings(auto_config={"enabled": True, "prioritized_models": [["a", "m"], ["a", "unheard-of"]]})
    assert len(found) == 2 and "unheard-of is unknown" in found[0] and "All prioritized models are on provider a" in found[1]
    found = warnings(auto_config={"enabled": True, "prioritized_models": []})
    assert len(found) == 1 and "no model is prioritized" in found[0]
    assert warnings(auto_config={"enabled": True, "prioritized_models": [["a", "m"]]}) == []


# ---- limits, providers, models


def test_limits(api):
    strategy = api.strategy(rate_limits=[{"limit_type": "requests", "value": 3, "time_window": "hour"},
                                         {"limit_type": "total_tokens", "value": 100000, "time_window": "day"},
                                         {"limit_type": "cost", "value": 1.5, "time_window": "day"}])
    client = api.client("ann", strategy_id=strategy["id"])
    limits = api.data(f"/limits?client={client['id']}")
    assert limits == api.data(f"/limits?strategy={strategy['id']}")
    assert [(one["limit_type"], one["time_window"], one["value"], one["used"], one["remaining"], one["reset_seconds"])
            for one in limits] == [("requests", "hour", 3, 0, 3, 0), ("total_tokens", "day", 100000, 0, 100000, 0),
                                   ("cost", "day", 1.5, 0, 1.5, 0)]
    assert all(one["strategy_id"] == strategy["id"] and one["enabled"] and one["reserved"] == 0 for one in limits)

    assert complete(api, client["key"]).status == 200  # 7 tokens in, 5 out
    requests, tokens, cost = eventually(lambda: (found := api.data(f"/limits?client={client['id']}"))[1]["used"] and found,
                                        "the request is counted")
    assert (requests["used"], requests["remaining"]) == (1, 2) and 0 < requests["reset_seconds"] <= 3700
    assert (tokens["used"], tokens["remaining"]) == (12, 99988)
    assert cost["used"] == 0.0000132 and cost["remaining"] == 1.4999868
    assert {one["strategy_id"] for one in api.data("/limits")} == {strategy["id"]}
    refusal(api.call("GET", "/limits?strategy=nobody"), 404, "strategy_not_found")
    refusal(api.call("GET", "/limits?client=nobody"), 404, "client_not_found")
    refusal(api.call("GET", f"/limits?client={client['id']}&strategy={strategy['id']}"), 400, param="client")


def test_providers_and_models(pool):
    a, b = pool.upstreams("a", "b")
    api = Api(pool.start(a.provider(models=["m", "org/n"], weight=3, max_concurrent=5, headers={"X-Secret": "canary"}),
                         b.provider(models=["m"], fallback_only=True), **configured()))
    first, second = api.data("/providers")
    assert (first["name"], first["type"], first["weight"], first["max_concurrent"], first["models"]) == ("a", "openai", 3, 5, 2)
    assert first["healthy"] is True and first["breaker"] == "closed" and second["fallback_only"] is True
    text = api.call("GET", "/providers").text
    assert "canary" not in text and "key-of" not in text and str(a.url) not in text
    models = {(one["provider"], one["id"]): one for one in api.data("/models")}
    assert set(models) == {("a", "m"), ("a", "org/n"), ("b", "m")}
    assert (models["a", "m"]["input_per_million"], models["a", "m"]["output_per_million"]) == (0.1, 2.5)
    assert models["a", "org/n"]["input_per_million"] is None
    assert b'"input_per_million":0.1,' in api.call("GET", "/models").body


# ---- usage


@pytest.fixture
def used(pool):
    """Two clients, three requests: ann's two (one after a failure of provider a), bob's failed one."""
    a = pool.upstream("a", in_turn(answer, fail(500), fail(500)))
    b = pool.upstream("b", in_turn(answer, fail(500)))
    api = Api(pool.start(a.provider(models=["m"]), b.provider(models=["m"]), **configured(),
                         routing={"strategy": "failover", "circuit_breaker": {"failures": 1000}}))
    api.ann, api.bob = api.client("ann"), api.client("bob")
    for client, name, status in [(api.ann, "first", 200), (api.ann, "second", 200), (api.bob, "third", None)]:
        response = ask(api.gateway, fields=[("X-API-Key", client["key"]), ("X-Request-ID", name)])
        assert response.status == status or (status is None and response.status >= 500), response
    eventually(lambda: len(api.data("/requests")) == 3, "the requests are in the list")
    return api


def usage(api, scope="global", id=None, more=""):
    return api.get(f"/usage?scope={scope}" + (f"&id={id}" if id else "") + more)


def test_usage_in_five_tiers(used):
    everything = usage(used)
    total = everything["total"]
    assert everything["scope"] == "global" and everything["id"] is None and everything["grain"] == "minute"
    assert (total["requests"], total["ok"], total["failed"], total["cancelled"], total["aborted"]) == (3, 2, 1, 0, 0)
    assert (total["input_tokens"], total["output_tokens"]) == (14, 10)
    assert total["cost"] == 0.0000264
    assert total["latency_ms"]["avg"] > 0 and total["latency_ms"]["p99"] >= total["latency_ms"]["p50"] >= 0
    assert sum(point["requests"] for point in everything["data"]) == 3
    assert 1435 <= len(everything["data"]) <= 1445  # a day of minutes, empty ones too
    ats = [point["at"] for point in everything["data"]]
    assert ats == sorted(set(ats)) and "at" not in total
    empty = next(point for point in everything["data"] if not point["requests"])
    assert empty["latency_ms"] == {"avg": None, "p50": None, "p95": None, "p99": None} and empty["cost"] == 0

    assert usage(used, "client", used.ann["id"])["total"]["requests"] == 2
    assert usage(used, "client", used.bob["id"])["total"]["failed"] == 1
    assert usage(used, "strategy", used.ann["strategy_id"])["total"]["ok"] == 2
    assert usage(used, "provider", "b")["total"]["ok"] == 1
    assert usage(used, "model", "a/m")["total"]["ok"] == usage(used, "model", "b/m")["total"]["ok"] == 1
    assert usage(used, "client", "nobody")["total"]["requests"] == 0
    assert {used.ann["id"], used.bob["id"]} <= set(used.data("/usage/ids?scope=client"))
    assert {"a", "b"} >= set(used.data("/usage/ids?scope=provider")) >= {"b"}


def test_usage_ranges_and_grains(used):
    for more, grain, low, high in [("&range=hour", "minute", 59, 62), ("&range=week", "hour", 167, 170), ("&range=month", "day", 29, 32),
                                   ("&range=day&grain=hour", "hour", 23, 26), ("&range=hour&grain=day", "day", 1, 2)]:
        found = usage(used, more=more)
        assert found["grain"] == grain and low <= len(found["data"]) <= high, (more, len(found["data"]))
        assert found["total"]["requests"] == 3, more
    past = usage(used, more="&from=2025-01-01T00:00:00Z&to=2025-01-01T01:00:00%2B00:00")
    assert len(past["data"]) == 60 and past["total"]["requests"] == 0
    assert (past["data"][0]["at"], past["from"], past["to"]) == ("2025-01-01T00:00:00Z", "2025-01-01T00:00:00Z",
                                                                 "2025-01-01T01:00:00Z")
    assert usage(used, more="&from=1735689600&to=1735693200")["data"] == past["data"]


@pytest.mark.parametrize("query, param", [
    ("scope=world", "scope"), ("scope=client", "id"), ("scope=global&id=x", "id"), ("from=yesterday", "from"), ("to=2025-02-30", "to"),
    ("range=year", "range"), ("range=day&from=2025-01-01", "range"), ("range=day&to=2025-01-01", "range"), ("grain=second", "grain"),
    ("from=2025-01-02&to=2025-01-01", "from"), ("from=2000-01-01&to=2025-01-01&grain=minute", "grain"),
])
def test_bad_usage_questions(api, query, param):
    refusal(api.call("GET", f"/usage?{query}"), 400, "bad_request", param)


# ---- requests, audit, configuration


def test_requests(used):
    rows = used.data("/requests")
    assert [row["ended_at"] for row in rows] == sorted((row["ended_at"] for row in rows), reverse=True)
    by_id = {row["request_id"]: row for row in rows}
    first, second, third = (by_id[name] for name in ("first", "second", "third"))
    assert (first["client"], first["strategy"], first["endpoint"], first["stream"]) == (
        used.ann["id"], used.ann["strategy_id"], "chat", False)
    assert (first["model"], first["provider"], first["provider_model"]) == ("m", "a", "m")
    assert (first["outcome"], first["status"], first["estimated"]) == ("ok", 200, False)
    assert (first["input_tokens"], first["output_tokens"], first["cost"]) == (7, 5, 0.0000132)
    assert first["duration_ms"] > 0 and first["first_byte_ms"] > 0
    assert [(one["provider"], one["status"]) for one in second["attempts"]] == [("a", 500), ("b", 200)]
    assert second["attempt_count"] == 2 and second["attempts"][1]["outcome"] == "ok"
    assert third["outcome"] == "failed" and third["status"] >= 500
    assert used.get("/requests/second") == second
    refusal(used.call("GET", "/requests/nobody"), 404, "not_found")


def test_requests_are_filtered(used):
    def ids(query):
        return sorted(row["request_id"] for row in used.data(f"/requests?{query}"))

    assert ids(f"client={used.ann['id']}") == ["first", "second"]
    assert ids(f"strategy={used.bob['strategy_id']}") == ["third"]
    assert ids("provider=b&outcome=ok") == ["second"]
    assert ids("outcome=failed") == ["third"]
    assert ids("model=m&request_id=first") == ["first"]
    assert ids("model=other") == []
    seen, before = [], ""
    while before is not None:
        page = used.get(f"/requests?limit=1&before={before}")
        seen += [row["request_id"] for row in page["data"]]
        before = page["next"]
    assert seen == [row["request_id"] for row in used.data("/requests")] and len(set(seen)) == 3
    for query, param in [("outcome=open", "outcome"), ("limit=1001", "limit"), ("limit=0", "limit"), ("before=x", "before")]:
        refusal(used.call("GET", f"/requests?{query}"), 400, param=param)


def test_audit(api):
    client = api.client("ann")
    api.patch(f"/clients/{client['id']}", {"name": "Ann"})
    api.call("POST", f"/clients/{client['id']}/rotate")
    api.call("DELETE", f"/clients/{client['id']}")
    refusal(api.call("PATCH", "/clients/filed", {"name": "x"}), 409)  # changes nothing, so it is not there
    entries = [one for one in api.data("/audit") if one["action"].startswith("client.")]
    assert [one["action"] for one in entries] == ["client.delete", "client.rotate", "client.update", "client.create"]
    assert all(one["actor"] == "boss" and one["target"] == client["id"] for one in entries)
    assert entries[2]["detail"]["name"] == "Ann"
    page = api.get("/audit?limit=1")
    assert len(page["data"]) >= 1 and page["next"]
    older = api.data(f"/audit?before={page['next']}")
    assert page["data"] + older == api.data("/audit")
    assert client["key"].rpartition("_")[2] not in json.dumps(api.data("/audit"))


def test_config(api):
    response = api.call("GET", "/config")
    assert response.status == 200 and response.value("Content-Type").startswith("text/plain")
    assert "providers" in response.text and "base_url" in response.text
    for secret in (*PROVIDER_KEYS, hashed(ADMIN)[7:], hashed(CONFIG_CLIENT)[7:]):
        assert secret not in response.text


def test_nothing_tells_a_secret(used):
    """No answer of any route but the one that makes a key has one."""
    for path in ("/clients", "/strategies", "/providers", "/models", "/limits", "/usage", "/requests", "/audit", "/config"):
        text = used.call("GET", path).text
        for secret in (*PROVIDER_KEYS, used.ann["key"], used.bob["key"], ADMIN, CONFIG_CLIENT):
            assert secret not in text, path
    log = "\n".join(line for line in used.gateway.lines if line)
    assert used.ann["key"] not in log and ADMIN not in log


# ---- events


class Events:
    """A follower of the events."""

    def __init__(self, api, query=""):
        self.connection = api.gateway.connect()
        self.connection.request("GET", f"/admin/v1/events{query}", [("X-API-Key", ADMIN)], host="127.0.0.1")
        self.head = self.connection.read_head()
        assert self.head.status == 200, self.head
        assert self.head.value("Content-Type").startswith("text/event-stream")
        assert self.head.value("Cache-Control") == "no-store"

    def _line(self):
        size = int(self.connection.read_until(b"\r\n"), 16)
        data = self.connection.read_exactly(size)
        self.connection.read_exactly(2)
        return size, data

    def until(self, event_type):
        """Everything up to the first event of that type, as (type, line)."""
        found, text = [], b""
        while not found or found[-1][0] != event_type:
            size, data = self._line()
            assert size, f"the stream ended before {event_type}: {found}"
            text += data
            while b"\n\n" in text:
                one, _, text = text.partition(b"\n\n")
                if not one.startswith(b":"):
                    name, line = one.split(b"\n")
                    assert name.startswith(b"event: ") and line.startswith(b"data: ")
                    found.append((name[7:].decode(), json.loads(line[6:])))
        return found

    def ends(self):
        """Properly: with the last chunk."""
        while self._line()[0]:
            pass
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


def test_events(api):
    with Events(api) as events:
        client = api.client("ann")
        found = events.until("client_created")
        name, line = found[-1]
        assert line["event_type"] == name and line["client_id"] == client["id"] and line["level"] == "INFO"
        assert "request_end" not in [name for name, _ in found]
        assert client["key"] not in json.dumps(found)


def test_events_of_requests(api):
    with Events(api, "?requests=1") as all_of_them, Events(api, "?types=client_deleted,request_end") as some:
        api.client("ann")
        assert "client_created" in [name for name, _ in all_of_them.until("request_end")]
        assert {name for name, _ in some.until("request_end")} == {"request_end"}


def test_events_whatever_the_log_says(pool, upstream):
    """A quiet text log is no reason for a quiet feed."""
    gateway = pool.start(upstream, **configured(monitoring={"log_level": "ERROR"}),
                         arguments=("--listen", "127.0.0.1:0"), env={"HESTIA_LOG_LEVEL": None})
    api = Api(gateway)
    with Events(api, "?types=client_created") as events:
        api.client("ann")
        assert events.until("client_created")[-1][1]["name"] == "ann"
    assert not gateway.find_events("client_created")


def test_events_have_so_many_places(api):
    followers = [Events(api) for _ in range(32)]
    refusal(api.call("GET", "/events"), 503, "overloaded")
    followers.pop().connection.close()
    followers.append(eventually(lambda: try_events(api), "a place is free"))
    for one in followers:
        one.connection.close()


def try_events(api):
    try:
        return Events(api)
    except AssertionError:
        return None


def test_events_end_at_the_drain(api):
    with Events(api) as events:
        api.gateway.signal(15)
        assert events.ends()
    assert api.gateway.wait_exit() == 0


# ---- the document


def test_the_document_describes_it(api):
    document = api.gateway.get("/openapi.json", [("X-API-Key", ADMIN)]).json
    for path, methods in [("/clients", {"get", "post"}), ("/clients/{id}", {"get", "patch", "delete"}), ("/clients/{id}/rotate", {"post"}),
                          ("/strategies", {"get", "post"}), ("/strategies/{id}", {"get", "patch", "delete"}),
                          ("/strategies/{id}/clients", {"get"}), ("/limits", {"get"}), ("/providers", {"get"}), ("/models", {"get"}),
                          ("/usage", {"get"}), ("/usage/ids", {"get"}), ("/requests", {"get"}), ("/requests/{request_id}", {"get"}),
                          ("/config", {"get"}), ("/audit", {"get"}), ("/events", {"get"})]:
        described = document["paths"]["/admin/v1" + path]
        assert set(described) == methods, path
        for operation in described.values():
            names = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
            assert names == re.findall(r"\{(\w+)\}", path) and operation["security"]


# ---- docs/admin-api.md


def documented_examples():
    """(words of the command, keys of the answer that is shown with it or None), in the order of the page."""
    found, lines = [], []
    for line in (ROOT / "docs" / "admin-api.md").read_text().splitlines():
        if not line.startswith("    "):
            lines = []
            continue
        lines.append(line)
        text = "\n".join(lines).strip()
        if text.startswith("{"):
            words, _ = found[-1]
            found[-1] = (words, set(re.findall(r'"(\w+)":', text)))
            continue
        try:
            words = shlex.split(text)
        except ValueError:
            continue  # a quote is open: it goes on
        lines = []
        if words[0] == "api":
            found.append((words[1:], None))
    return found


def keys_of(value):
    """Every key of it, at any depth."""
    if isinstance(value, list):
        return set().union(*map(keys_of, value))
    return set(value).union(*map(keys_of, value.values())) if isinstance(value, dict) else set()


def run_example(api, words, ids):
    """What curl would do with them."""
    words = [string.Template(word).safe_substitute(ids) for word in words]
    method, path, body, fields = None, None, None, []
    rest = iter(words)
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            fields.append(tuple(next(rest).split(": ", 1)))
        elif word == "-d":
            body = next(rest).encode()
        elif word != "-N":
            path = word.removeprefix("/admin/v1")
    return api.call(method or ("POST" if body else "GET"), path, body, fields)


def test_the_examples_of_the_page_are_true(pool):
    """Each command in the order of the page, what deletes at the end; the answers have the keys that are shown."""
    local, openai = pool.upstream("local", fail(429)), pool.upstream("openai")
    api = Api(pool.start(local.provider(models=["llama3"]), openai.provider(models=["gpt-4o-mini"]), **configured()))
    examples = [one for one in documented_examples() if "-N" not in one[0]]
    assert len(examples) >= 20
    ids = {"HESTIA": "/admin/v1"}
    for words, shown in sorted(examples, key=lambda one: "DELETE" in one[0]):
        if "/limits?" in words[0]:
            complete(api, ids["KEY"], body=chat("localrouter/auto"))
            ids["REQUEST"] = eventually(lambda: api.data("/requests"), "the request is in the list")[0]["request_id"]
        response = run_example(api, words, ids)
        assert response.status < 300, (words, response)
        is_json = response.value("Content-Type") == "application/json"
        answered = response.json if is_json else {}
        if "key" in answered:
            ids.update(CLIENT=answered["id"], KEY=answered["key"])
        elif "allowed_models" in answered:
            ids["STRATEGY"] = answered["id"]
        assert shown is None or shown <= keys_of(answered), (words, shown - keys_of(answered))
    assert set(ids) == {"HESTIA", "CLIENT", "KEY", "STRATEGY", "REQUEST"}


def test_the_stream_of_the_page_has_its_events(api):
    path = next(words for words, _ in documented_examples() if "-N" in words)[1].removeprefix("$HESTIA/events")
    with Events(api, path) as events:
        api.client("ann")
        assert events.until("client_created")


def test_401_names_the_keys_that_open(pool, upstream):
    """Others reach this gateway, and it knows only clients: who runs it is told what is missing."""
    gateway = pool.start(upstream, clients=[{"id": "filed", "key": hashed(CONFIG_CLIENT)}], arguments=("--listen", "0.0.0.0:0"))
    for fields in ([], [("X-API-Key", "wrong")]):
        refused = gateway.request("GET", "/admin/v1/clients", fields, host="127.0.0.1")
        assert refused.status == 401 and "auth.admin_keys" in refused.json["error"]["message"], refused
    assert "auth." not in ask(gateway).json["error"]["message"]
