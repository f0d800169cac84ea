"""Approaches: how a request asks for one, and what the others answer in this version (issue "The pool" 5; contract 1.4, 1.5, 1.7)."""

import json

import pytest

from gateway import run_cli
from pool import COMPLETIONS, ask, chat, pool_config, served, Stream
from ports import unused_port

BUILT = ["none", "proxy"]
KNOWN = ["bon", "moa", "self_consistency", "cot_reflection", "re2", "rto", "leap", "plansearch", "pvg", "mcts", "rstar", "majority_voting",
         "genselect", "deepthink", "cepo", "mars", "spl", "memory", "longcepo", "compact", "readurls", "web_search", "deep_research", "mcp",
         "privacy", "json", "router", "executecode", "coc", "z3", "cot_decoding", "entropy_decoding", "thinkdeeper", "autothink",
         "deepconf"]


@pytest.fixture
def one(pool):
    """A provider that takes any model, and the gateway over it."""
    a = pool.upstream("a", models=None)
    return pool.start(a), a


def model_sent(a):
    return json.loads(a.last.body)["model"]


# ---- in the model


@pytest.mark.parametrize("model, sent", [
    ("gpt-4", "gpt-4"), ("openai/gpt-4o", "openai/gpt-4o"), ("proxy-gpt-4", "gpt-4"), ("none-gpt-4", "gpt-4"),
    ("proxy-gpt-3.5-turbo", "gpt-3.5-turbo"),
    ("proxy-proxy-gpt-4", "gpt-4"), ("gpt-4-moa", "gpt-4-moa"), ("gpt-proxy-4", "gpt-proxy-4"), ("proxyless-model", "proxyless-model"),
    ("moadel-1", "moadel-1"), ("PROXY-gpt-4", "PROXY-gpt-4"), ("none-moa-gpt", "moa-gpt"), ("proxy-org/gpt-4", "org/gpt-4"),
])
def test_prefixes(one, model, sent):
    gateway, a = one
    response = ask(gateway, chat(model))
    assert served(response) == "a" and model_sent(a) == sent
    assert response.value("X-Hestia-Model") == sent


@pytest.mark.parametrize("slug", KNOWN)
def test_known_slugs_are_501_by_name(one, slug):
    gateway, a = one
    response = ask(gateway, chat(f"{slug}-gpt-4"))
    assert response.status == 501 and response.code == "not_available"
    assert slug in response.json["error"]["message"]
    assert a.calls == []


@pytest.mark.parametrize("model, named", [
    ("bon&proxy-gpt-4", ["bon"]), ("proxy&bon-gpt-4", ["bon"]), ("bon|moa|re2-gpt-4", ["bon", "moa", "re2"]),
    ("bon&moa|re2-gpt-4", ["bon", "moa", "re2"]),
    ("proxy-moa-gpt-4", ["moa"]), ("proxy-bon&moa-gpt-4", ["bon", "moa"]), ("re2-gpt-4-moa", ["re2"]), ("proxy|moa-gpt-4", ["moa"]),
])
def test_expressions(one, model, named):
    gateway, a = one
    response = ask(gateway, chat(model))
    assert response.status == 501 and response.code == "not_available"
    assert any(slug in response.json["error"]["message"] for slug in named)
    assert a.calls == []


@pytest.mark.parametrize("model", ["foo&bar-gpt-4", "moa&foo-gpt-4", "foo|moa-gpt-4", "proxy&foo-gpt-4", "none&re2-x",
                         "re2|none-x", "moa&-gpt-4", "&moa-gpt-4", "moa||re2-gpt-4", "gpt_4&x", "gpt|4o"])
def test_wrong_expressions(one, model):
    gateway, a = one
    response = ask(gateway, chat(model))
    assert response.status == 400, response
    assert response.json["error"]["param"] == "model" and response.json["error"]["type"] == "invalid_request_error"
    assert a.calls == []


def test_a_listed_model_wins_over_a_slug(pool):
    a = pool.upstream("a")
    gateway = pool.start(a.provider(models=["moa-large", "none-such", "x&y-z"]))
    for model in ("moa-large", "none-such", "x&y-z"):
        assert served(ask(gateway, chat(model))) == "a" and model_sent(a) == model
    assert served(ask(gateway, chat("proxy-moa-large"))) == "a" and model_sent(a) == "moa-large"
    assert ask(gateway, chat("moa-other")).status == 501


def test_a_mapped_model_wins_over_a_slug(pool):
    a = pool.upstream("a", models=None)
    gateway = pool.start(a.provider(model_map={"moa-large": "real"}))
    assert served(ask(gateway, chat("moa-large"))) == "a" and model_sent(a) == "real"


def test_on_the_other_routes(one):
    gateway, a = one
    assert served(ask(gateway, {"model": "proxy-m", "prompt": "x"}, path=COMPLETIONS)) == "a" and model_sent(a) == "m"
    assert ask(gateway, {"model": "moa-m", "prompt": "x"}, path=COMPLETIONS).status == 501


def test_a_stream_is_refused_by_its_status(one):
    gateway, a = one
    response = ask(gateway, chat("moa-m", stream=True))
    assert response.status == 501 and response.value("Content-Type").startswith("application/json")


# ---- in the body


def field(value, name="hulumanage_approach", nested=False):
    return {"extra_body": {name: value}} if nested else {name: value}


@pytest.mark.parametrize("nested", [False, True], ids=["top", "extra_body"])
@pytest.mark.parametrize("slug", BUILT)
def test_field(one, slug, nested):
    gateway, a = one
    assert served(ask(gateway, chat("gpt-4", **field(slug, nested=nested)))) == "a"
    assert json.loads(a.last.body) == chat("gpt-4")


@pytest.mark.parametrize("nested", [False, True], ids=["top", "extra_body"])
def test_field_with_what_is_not_built(one, nested):
    gateway, a = one
    response = ask(gateway, chat("gpt-4", **field("moa", nested=nested)))
    assert response.status == 501 and "moa" in response.json["error"]["message"]
    assert a.calls == []


@pytest.mark.parametrize("nested", [False, True], ids=["top", "extra_body"])
@pytest.mark.parametrize("value", ["nonsense", "foo&moa", "Moa", "moa "])
def test_field_with_nonsense(one, value, nested):
    gateway, a = one
    response = ask(gateway, chat("gpt-4", **field(value, nested=nested)))
    if value == "moa ":
        assert response.status in (400, 501)
    else:
        assert response.status == 400 and response.json["error"]["param"] == "hulumanage_approach"
    assert a.calls == []


@pytest.mark.parametrize("value", [5, ["proxy"], {"a": 1}, True])
def test_field_that_is_no_text(one, value):
    gateway, a = one
    response = ask(gateway, chat("gpt-4", **field(value)))
    assert response.status == 400 and response.json["error"]["param"] == "hulumanage_approach"
    assert a.calls == []


def test_the_top_level_wins(one):
    gateway, a = one
    assert ask(gateway, chat("gpt-4", **field("moa"), **field("proxy", nested=True))).status == 501
    assert served(ask(gateway, chat("gpt-4", **field("proxy"), **field("moa", nested=True)))) == "a"
    assert json.loads(a.last.body) == chat("gpt-4")


@pytest.mark.parametrize("nested", [False, True], ids=["top", "extra_body"])
@pytest.mark.parametrize("name", ["proxy_wrap", "wrapped_approach", "wrap"])
def test_wrapping(one, name, nested):
    """The seed's Method 4."""
    gateway, a = one
    fields = {"hulumanage_approach": "proxy", name: "moa"}
    response = ask(gateway, chat("gpt-4", **({"extra_body": fields} if nested else fields)))
    assert response.status == 501 and "moa" in response.json["error"]["message"]
    response = ask(gateway, chat("gpt-4", **{**fields, name: "nonsense"}))
    assert response.status == 400
    assert a.calls == []


def test_a_private_field_is_no_private_field_elsewhere(one):
    gateway, a = one
    body = chat("gpt-4", metadata={"hulumanage_approach": "moa", "proxy_wrap": "moa"})
    assert served(ask(gateway, body)) == "a" and json.loads(a.last.body) == body


# ---- on the command line


@pytest.fixture
def started(pool):
    """started(arguments, env) → gateway, a."""

    def start(*arguments, env=None):
        a = pool.upstream("a", models=None)
        return pool.start(a, arguments=("--listen", "127.0.0.1:0", *arguments), env=env), a

    return start


def test_approach_proxy(started):
    gateway, a = started("--approach", "proxy")
    for model in ("gpt-4", "proxy-gpt-4"):
        assert served(ask(gateway, chat(model))) == "a" and model_sent(a) == "gpt-4"
    assert ask(gateway, chat("moa-gpt-4")).status == 501
    with Stream(gateway) as stream:
        assert stream.rest()[-1] == b"data: [DONE]"


@pytest.mark.parametrize("how", ["flag", "HULUMANAGE_APPROACH", "hulumanage_approach"])
def test_approach_of_the_server(started, how):
    gateway, a = started(*(["--approach", "moa"] if how == "flag" else []), env=None if how == "flag" else {how: "moa"})
    response = ask(gateway, chat("gpt-4"))
    assert response.status == 501 and "moa" in response.json["error"]["message"]
    assert served(ask(gateway, chat("gpt-4", hulumanage_approach="none"))) == "a"


def test_unknown_approach_of_the_server(tmp_path):
    (tmp_path / "c.yml").write_text("{}")
    done = run_cli("serve", "-c", "c.yml", "--listen", "127.0.0.1:0", "--approach", "nonsense", cwd=tmp_path)
    assert done.returncode == 2 and "nonsense" in done.stderr


def test_port(pool):
    a, port = pool.upstream("a", models=None), unused_port()
    gateway = pool.start(a, arguments=("--approach", "proxy", "--port", port))
    assert gateway.listen == [f"127.0.0.1:{port}"]
    assert served(ask(gateway)) == "a"


@pytest.mark.parametrize("name", ["HULUMANAGE_LOG_LEVEL", "hulumanage_LOG_LEVEL"])
def test_log_level(started, name):
    gateway, a = started(env={name: "DEBUG", "HESTIA_LOG_LEVEL": None})
    ask(gateway)
    gateway.wait_event("request_start")


def test_home_configuration(pool, tmp_path):
    """`~/.hulumanage/proxy_config.yaml` is read when nothing else is given."""
    a = pool.upstream("a", models=None)
    (tmp_path / ".hulumanage").mkdir()
    (tmp_path / ".hulumanage" / "proxy_config.yaml").write_text(json.dumps(pool_config(a)))
    gateway = pool.hestia(None, arguments=("--approach", "proxy", "--listen", "127.0.0.1:0"))
    assert served(ask(gateway, chat("gpt-4"))) == "a"
