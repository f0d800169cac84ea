"""Providers that stand on a service of Hestia's own: started on demand, for completions only (issue "The pool" 1)."""

import threading

import pytest

from pool import CHAT, Stream, ask, chat, is_error_event, models, pool_config, providers, served
from waiting import eventually


@pytest.fixture
def model_server(tmp_path):
    """model_server(options…) → an entry for `services` that runs `hestia mock-llm` when a test lets it, and that test's lever."""

    def make(*options, gated=False, **more):
        fifo = tmp_path / "go"
        mock = ["${HESTIA}", "mock-llm", "--listen", "127.0.0.1:${PORT}", "--models", "m,mock-small", *map(str, options)]
        if gated:
            import os
            os.mkfifo(fifo)
            mock = ["sh", "-c", f'read go <"{fifo}"; exec "$@"', "sh", *mock]
        entry = {"command": mock, "base_url": "http://127.0.0.1:${PORT}", "health_url": "http://127.0.0.1:${PORT}/health", **more}
        return entry, lambda: fifo.write_text("go\n")

    return make


def on_service(**more):
    return {"name": "local", "service": "llm", **more}


def test_a_cold_service_is_started(pool, model_server):
    entry, _ = model_server("--tokens", 3)
    gateway = pool.start(on_service(), services={"llm": entry})
    assert gateway.status("llm")["state"] == "cold"
    response = ask(gateway, chat("mock-small"))
    assert served(response) == "local" and response.json["usage"]["completion_tokens"] == 3
    assert gateway.status("llm")["state"] == "hot"


def test_all_routes_of_it(pool, model_server):
    entry, _ = model_server()
    gateway = pool.start(on_service(), services={"llm": entry})
    assert served(ask(gateway, {"model": "m", "prompt": "x"}, path="/v1/completions")) == "local"
    assert served(ask(gateway, {"model": "m", "input": "x"}, path="/v1/embeddings")) == "local"
    with Stream(gateway) as stream:
        assert stream.rest()[-1] == b"data: [DONE]"


def test_its_start_does_not_count_as_request_time(pool, model_server):
    """It loads for longer than timeouts.request."""
    entry, _ = model_server("--load-time", "1500ms")
    gateway = pool.start(on_service(), services={"llm": entry}, timeouts={"request": 1, "first_byte": 1})
    response = ask(gateway, chat())
    assert served(response) == "local" and int(response.value("X-Hestia-Queue-Ms")) >= 1000


def test_one_start_for_many(pool, model_server):
    from pool import many
    entry, go = model_server(gated=True)
    gateway = pool.start(on_service(), services={"llm": entry})
    together = threading.Thread(target=lambda: results.extend(many(20, lambda _: ask(gateway, chat()), threads=20)))
    results = []
    together.start()
    gateway.wait_status("llm", "all wait", lambda status: status["queuePending"] == 20)
    go()
    together.join(60)
    assert [served(response) for response in results] == ["local"] * 20
    assert len(gateway.find_events("service_start", service_id="llm")) == 1


def test_comments_while_it_starts(pool, model_server):
    entry, go = model_server(gated=True)
    gateway = pool.start(on_service(), services={"llm": entry}, queue={"keepalive_seconds": 0.05})
    with Stream(gateway) as stream:
        assert stream.next() == b": waiting" and stream.next() == b": waiting"
        assert stream.response.status == 200 and stream.response.value("Content-Type").startswith("text/event-stream")
        go()
        events = [one for one in stream.rest() if one != b": waiting"]
        assert events[-1] == b"data: [DONE]" and not any(is_error_event(one) for one in events)


def test_a_plain_request_waits_silently(pool, model_server):
    entry, go = model_server(gated=True)
    gateway = pool.start(on_service(), services={"llm": entry}, queue={"keepalive_seconds": 0.05})
    with gateway.connect() as connection, Stream(gateway) as stream:
        connection.request("POST", CHAT, [("Content-Type", "application/json")], b'{"model":"m","messages":[]}')
        assert stream.next() == b": waiting" and stream.next() == b": waiting"
        go()
        response = connection.read_response()
        assert served(response) == "local" and response.json["object"] == "chat.completion"
        stream.rest()


def test_a_start_that_fails_goes_to_the_next(pool):
    b = pool.upstream("b", models=None)
    entry = {"command": ["sh", "-c", "exit 3"], "base_url": "http://127.0.0.1:${PORT}", "health_url": "http://127.0.0.1:${PORT}/health"}
    gateway = pool.start(on_service(), b, services={"llm": entry}, routing={"strategy": "failover"})
    response = ask(gateway, chat())
    assert served(response) == "b" and response.value("X-Hestia-Attempts") == "2"


def test_a_start_that_fails_alone(pool):
    entry = {"command": ["sh", "-c", "exit 3"], "base_url": "http://127.0.0.1:${PORT}", "health_url": "http://127.0.0.1:${PORT}/health"}
    gateway = pool.start(on_service(), services={"llm": entry})
    response = ask(gateway, chat())
    assert response.status == 503 and int(response.value("Retry-After")) >= 1 and "local" in response.json["error"]["message"]


def test_a_start_that_fails_after_comments(pool, tmp_path):
    import os
    os.mkfifo(tmp_path / "end")
    entry = {"command": ["sh", "-c", f'read x <"{tmp_path}/end"; exit 3'], "base_url": "http://127.0.0.1:${PORT}",
             "health_url": "http://127.0.0.1:${PORT}/health"}
    gateway = pool.start(on_service(), services={"llm": entry}, queue={"keepalive_seconds": 0.05})
    with Stream(gateway) as stream:
        assert stream.next() == b": waiting"
        (tmp_path / "end").write_text("x\n")
        left = [one for one in stream.rest() if one != b": waiting"]
    assert len(left) == 1 and is_error_event(left[0])["message"] and stream.response.complete


def test_who_leaves_while_it_starts_cancels_the_start(pool, model_server):
    entry, _ = model_server(gated=True)
    gateway = pool.start(on_service(), services={"llm": entry})
    connection = gateway.connect()
    connection.request("POST", CHAT, [("Content-Type", "application/json")], b'{"model":"m","messages":[]}')
    gateway.wait_state("llm", "starting")
    connection.close()
    gateway.wait_state("llm", "cold")


def test_checks_and_lists_do_not_wake_it(pool, model_server):
    a = pool.upstream("a")
    entry, _ = model_server()
    gateway = pool.start(on_service(), a, services={"llm": entry}, routing={"health_check": {"enabled": True, "interval": 0.05}})
    eventually(lambda: len(a.lists) >= 10, "the other one is checked")
    gateway.get("/v1/models")
    gateway.get("/v1/providers")
    assert gateway.status("llm")["state"] == "cold"
    assert not gateway.find_events("service_start")
    assert providers(gateway)["local"]["healthy"]


def test_its_models_are_listed_once_it_runs(pool, model_server):
    entry, _ = model_server("--models", "one,two")
    gateway = pool.start(on_service(), services={"llm": entry}, routing={"health_check": {"enabled": True, "interval": 0.1}})
    gateway.start("llm")
    eventually(lambda: sorted(models(gateway)) == ["one", "two"], "they are listed")


def test_configured_models_of_a_cold_service(pool, model_server):
    entry, _ = model_server()
    gateway = pool.start(on_service(models=["m"]), services={"llm": entry})
    assert models(gateway) == ["m"]
    assert ask(gateway, chat("other")).code == "model_not_found"
    assert gateway.status("llm")["state"] == "cold"
    assert served(ask(gateway, chat("m"))) == "local"


def test_it_needs_neither_key_nor_url(hestia, backend):
    gateway = hestia(pool_config(on_service(api_key="secret"), services={"llm": {"base_url": backend.url + "/prefix"}}))
    backend.handler = lambda peer, request: peer.respond(200, {"choices": []})
    assert served(ask(gateway)) == "local"
    call = next(request for request in backend.requests if request.method == "POST")
    assert call.target == "/prefix/v1/chat/completions" and call.value("Authorization") == "Bearer secret"


def test_without_key_no_authorization_is_sent(hestia, backend):
    gateway = hestia(pool_config(on_service(), services={"llm": {"base_url": backend.url}}))
    backend.handler = lambda peer, request: peer.respond(200, {"choices": []})
    assert ask(gateway, fields=[("Authorization", "Bearer dummy")]).status == 200
    assert next(request for request in backend.requests if request.method == "POST").values("Authorization") == []


def test_unknown_service(hestia, tmp_path):
    """A slip in the configuration is told."""
    from gateway import run_cli
    import json
    (tmp_path / "c.yml").write_text(json.dumps(pool_config({"name": "x", "service": "nobody"})))
    done = run_cli("validate-config", "c.yml", cwd=tmp_path)
    assert "nobody" in done.stdout + done.stderr


def test_it_is_not_stopped_under_a_stream(pool, model_server):
    """A completion counts as the service's activity."""
    entry, _ = model_server("--tokens", 60, "--tps", 40, idle_timeout_ms=1000)
    gateway = pool.start(on_service(), services={"llm": entry})
    with Stream(gateway) as stream:
        assert stream.rest()[-1] == b"data: [DONE]"
    gateway.wait_state("llm", "cold")
