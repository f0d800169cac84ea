"""Hestia's own routes: shapes, errors, dispatcher, metrics, documents (details.md 1, 5, 6; the contract's sections 1, 6)."""

import json
import re
import subprocess

import pytest

from gateway import metric
from waiting import eventually

STATUS_KEYS = {"serviceId", "state", "machineId", "readiness", "queuePending", "automation", "idleMs", "inFlight",
               "stateAgeMs", "lastError", "retryAt"}


@pytest.fixture
def api(hestia, backend):
    gateway = hestia({"services": {"s": {"base_url": backend.url}, "t": {"base_url": backend.url}}})
    return gateway


# ---- health


@pytest.mark.parametrize("path", ["/health", "/ready", "/livez", "/healthz", "/readyz"])
def test_health(api, path):
    response = api.get(path)
    assert response.status == 200 and response.json["status"] == "ok"
    assert response.value("Content-Type") == "application/json"
    head = api.request("HEAD", path)
    assert head.status == 200 and head.body == b"" and head.value("Content-Length") == response.value("Content-Length")


def test_responses_of_our_own_have_a_date(api):
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", api.get("/health").value("Date"))


# ---- services


def test_status_shape(api):
    response = api.get("/v1/services/s/status")
    assert response.status == 200 and response.value("Content-Type") == "application/json"
    status = response.json
    assert set(status) >= STATUS_KEYS
    assert (status["serviceId"], status["state"], status["machineId"], status["readiness"]) == ("s", "cold", "local", "not_ready")
    assert (status["queuePending"], status["inFlight"], status["lastError"]) == (0, 0, None)
    assert status["automation"] == {"enabled": False}
    assert status["stateAgeMs"] >= 0 and status["idleMs"] >= 0


def test_list_of_services(api):
    listed = api.get("/v1/services").json
    assert [status["serviceId"] for status in listed["services"]] == ["s", "t"]
    assert all(set(status) >= STATUS_KEYS for status in listed["services"])


def test_strategies_of_services(hestia, backend):
    """As the quickstart asks for them: the services that have instances or name a strategy."""
    instances = [{"url": backend.url, "region": "eu"}, {"url": backend.url + "/b", "weight": 3}]
    gateway = hestia({"services": {"s": {"base_url": backend.url}, "pool": {"strategy": "load_balancer", "instances": instances}}})
    assert gateway.get("/v1/strategies").json == {
        "loaded_strategies": {},
        "service_configurations": {"pool": {"strategy": "load_balancer", "base_url": None, "instances": [
            {"url": backend.url, "weight": 1, "region": "eu"}, {"url": backend.url + "/b", "weight": 3}]}}}


def test_start_and_stop(api):
    response = api.post("/v1/services/s/start", b"ignored")
    assert response.status == 202 and response.json["message"] == "Service start initiated"
    api.wait_state("s", "hot")
    response = api.post("/v1/services/s/start")
    assert response.status == 409 and response.json["message"] == "Service is already running"
    response = api.post("/v1/services/s/stop")
    assert response.status == 202 and response.json["message"] == "Service stop initiated"
    api.wait_state("s", "cold")
    response = api.post("/v1/services/s/stop")
    assert response.status == 409 and response.json["message"] == "Service is not running"
    assert response.json["error"]["message"]


def test_start_of_a_starting_service(hestia, fake):
    service = fake("--ready-when", "ready")
    gateway = hestia({"services": {"f": service.config()}})
    assert gateway.post("/v1/services/f/start").status == 202
    response = gateway.post("/v1/services/f/start")
    assert response.status == 409 and response.json["message"] == "Service is already starting"
    service.allow("ready")
    gateway.wait_state("f", "hot")


@pytest.mark.parametrize("method, path", [
    ("GET", "/v1/services/nobody/status"), ("POST", "/v1/services/nobody/start"), ("POST", "/v1/services/nobody/stop"),
    ("GET", "/v1/services/nobody/logs"), ("GET", "/v1/services/nobody/metrics"), ("GET", "/services/nobody/"),
    ("GET", "/v1/services/nobody"), ("GET", "/nothing"), ("GET", "/"), ("GET", "/v1"), ("GET", "/v1/services/s/nothing"),
])
def test_404_is_json(api, method, path):
    response = api.request(method, path)
    assert response.status == 404
    assert response.value("Content-Type") == "application/json"
    error = response.json["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    assert error["code"] == ("service_not_found" if "nobody" in path and path != "/v1/services/nobody" else error["code"])
    assert response.value("X-Hestia-Error-Source") == "gateway"
    assert response.value("X-Request-ID")


@pytest.mark.parametrize("method, path, allowed", [
    ("POST", "/v1/services", "GET"), ("DELETE", "/health", "GET"), ("GET", "/v1/services/s/start", "POST"),
    ("GET", "/v1/services/s/stop", "POST"), ("GET", "/v1/requests", "POST"), ("POST", "/metrics", "GET"),
    ("PUT", "/v1/services/s/status", "GET"),
])
def test_405_names_what_is_allowed(api, method, path, allowed):
    response = api.request(method, path)
    assert response.status == 405 and response.code == "method_not_allowed"
    assert allowed in [word.strip() for word in response.value("Allow").split(",")]


def test_service_by_the_name_of_a_route(hestia, backend):
    """No path is excluded by what it happens to contain."""
    gateway = hestia({"services": {"metrics": {"base_url": backend.url}, "s": {"base_url": backend.url}}})
    assert gateway.get("/services/metrics/health").body == b"ok"
    response = gateway.get("/services/s/metrics", [("X-Request-ID", "kept")])
    assert response.body == b"ok" and response.value("X-Request-ID") == "kept"
    assert gateway.wait_event("request_end", request_id="kept")["status_code"] == 200


# ---- dispatcher


def dispatch(gateway, **request):
    response = gateway.post("/v1/requests", request)
    assert response.status == 200, response
    assert set(response.json) == {"status", "headers", "body"}
    return response.json


def test_dispatcher_passes_json(api, backend):
    backend.handler = lambda peer, request: peer.respond(201, {"response": "Hi"}, [("X-Theirs", "1"), ("Connection", "keep-alive")])
    result = dispatch(api, serviceId="s", method="post", path="/api/generate?x=1", body={"model": "llama3", "n": 1.50},
                      headers={"X-Mine": "2"})
    assert result["status"] == 201 and result["body"] == {"response": "Hi"}
    assert result["headers"]["content-type"] == "application/json" and result["headers"]["x-theirs"] == "1"
    assert "connection" not in result["headers"] and result["headers"]["content-length"] == "18"
    request = backend.last
    assert request.line == "POST /api/generate?x=1 HTTP/1.1"
    assert json.loads(request.body) == {"model": "llama3", "n": 1.5}
    assert request.value("Content-Type") == "application/json" and request.value("X-Mine") == "2"


@pytest.mark.parametrize("body, sent", [
    ("plain text", b"plain text"), ({"a": [1, None, True]}, b'{"a":[1,null,true]}'), ([1, "x"], b'[1,"x"]'), (42, b"42"),
    (True, b"true"), ("", b""), ("caf\u00e9 \u2028 \U0001f600", "caf\u00e9 \u2028 \U0001f600".encode()),
])
def test_dispatcher_bodies(api, backend, body, sent):
    dispatch(api, serviceId="s", method="PUT", path="x", body=body)
    assert backend.last.target == "/x"
    got = backend.last.body
    assert got == sent or json.loads(got) == json.loads(sent)


def test_dispatcher_text_answer(api, backend):
    backend.handler = lambda peer, request: peer.respond(200, "caf\u00e9".encode(), [("Content-Type", "text/plain")])
    assert dispatch(api, serviceId="s", method="GET", path="/")["body"] == "caf\u00e9"


@pytest.mark.parametrize("answer", [b"", b"{broken", b"\xff\xfe"])
def test_dispatcher_answer_that_is_not_what_it_says(api, backend, answer):
    backend.handler = lambda peer, request: peer.respond(200, answer, [("Content-Type", "application/json")])
    result = dispatch(api, serviceId="s", method="GET", path="/")
    assert result["status"] == 200 and (result["body"] is None or isinstance(result["body"], str))


def test_dispatcher_keeps_upstream_errors(api, backend):
    backend.handler = lambda peer, request: peer.respond(404, {"their": "error"})
    assert dispatch(api, serviceId="s", method="GET", path="/")["status"] == 404


def test_dispatcher_names_no_header_twice(api, backend):
    """An object has each name once, whatever the upstream repeats."""
    backend.handler = lambda peer, request: peer.respond(200, b"", [("X-Twice", "a"), ("x-twice", "b")])
    response = api.post("/v1/requests", {"serviceId": "s", "method": "GET", "path": "/"})
    names = []
    json.loads(response.body, object_pairs_hook=lambda pairs: names.append([name for name, _ in pairs]) or dict(pairs))
    assert all(len(set(each)) == len(each) for each in names), names
    assert response.json["headers"]["x-twice"] == "a, b"


def test_dispatcher_synonym(api):
    assert dispatch(api, service_id="s", method="GET", path="/", unknown="ignored")["status"] == 200


def test_dispatcher_wakes(hestia, fake):
    gateway = hestia({"services": {"f": fake().config()}})
    assert dispatch(gateway, serviceId="f", method="GET", path="/x")["body"] == "fake /x"


def test_dispatcher_failure_is_inside(hestia, fake, backend):
    gateway = hestia({"services": {"f": fake("--exit", 1).config(), "s": {"base_url": backend.url}}})
    result = dispatch(gateway, serviceId="f", method="GET", path="/")
    assert result["status"] == 503 and isinstance(result["body"]["error"], str)
    gateway.start("s")
    backend.close()
    result = dispatch(gateway, serviceId="s", method="GET", path="/")
    assert result["status"] == 503 and isinstance(result["body"]["error"], str)


def test_dispatcher_remembers_whom_it_asked(hestia, backend, backends):
    """The log line names the service and what came of it, and the service's metrics count it."""
    backup = backends(lambda peer, request: peer.respond(200, b"ok"))
    gateway = hestia({"services": {"s": {"base_url": backend.url, "retry_count": 2, "retry_delay_ms": 1},
                                   "safe": {"base_url": backend.url, "fallback_url": backup.url}}})
    for service in ("s", "safe"):
        gateway.start(service)
    backend.handler = lambda peer, request: peer.respond(500, b"x")
    assert dispatch(gateway, serviceId="s", method="GET", path="/")["status"] == 500
    line = gateway.wait_event("request_end", path="/v1/requests", service_id="s")
    assert (line["status_code"], line["upstream_status"], line["metadata"]["attempts"]) == (200, 500, 2) and "error" not in line
    assert dispatch(gateway, serviceId="safe", method="GET", path="/")["status"] == 200
    gateway.wait_event("request_end", path="/v1/requests", service_id="safe", upstream_status=200)
    backend.handler = lambda peer, request: peer.close()
    assert dispatch(gateway, serviceId="s", method="GET", path="/")["status"] == 503
    line = gateway.wait_event("request_end", count=2, path="/v1/requests", service_id="s")
    assert line["status_code"] == 200 and line["metadata"]["attempts"] == 2
    assert backend.url in line["error"] and "upstream_status" not in line
    eventually(lambda: metric(gateway, "hestia_requests_total", service="dispatcher", code="200") == 3, "they are counted")
    assert metric(gateway, "hestia_proxy_requests_total", service="s", method="GET") == 2
    assert metric(gateway, "hestia_upstream_duration_seconds_count", service="s", code="500") == 1
    assert metric(gateway, "hestia_proxy_errors_total", service="s", error="upstream_unreachable", method="GET") == 1
    assert metric(gateway, "hestia_attempts_total", service="s", reason="base_url") == 2
    assert metric(gateway, "hestia_attempts_total", service="s", reason="retry") == 2
    assert metric(gateway, "hestia_fallbacks_total", service="safe", reason="failed") == 1
    assert metric(gateway, "hestia_routing_decisions_total", service="safe", reason="fallback") == 1


def test_dispatcher_unknown_service(api):
    response = api.post("/v1/requests", {"serviceId": "nobody", "method": "GET", "path": "/"})
    assert response.status == 404 and response.code == "service_not_found"


@pytest.mark.parametrize("body", [
    b"", b"not json", b"[]", b"null", b"{}", b'{"serviceId":"s"}', b'{"serviceId":"s","method":"GET"}',
    b'{"serviceId":1,"method":"GET","path":"/"}', b'{"serviceId":"s","method":1,"path":"/"}',
    b'{"serviceId":"s","method":"GET","path":[]}', b'{"serviceId":"s","method":"GET","path":"/","headers":{"a":1}}',
    b'{"serviceId":"s","method":"GET","path":"/","headers":[]}', b'{"serviceId":"s","method":"GET","path":"/"',
])
def test_dispatcher_refuses(api, backend, body):
    response = api.post("/v1/requests", body, [("Content-Type", "application/json")])
    assert response.status == 422, response
    assert response.json["error"]["message"]
    assert backend.requests == []


@pytest.mark.parametrize("request_", [
    {"path": "/x\r\nX-Evil: 1"}, {"path": "/x y"}, {"path": "/../../x"}, {"path": "/x#f"}, {"method": "GET\r\nX-Evil: 1"},
    {"headers": {"X-A": "1\r\nX-Evil: 1"}}, {"headers": {"X-A\r\nX-Evil": "1"}}, {"headers": {"X A": "1"}},
    {"headers": {"": "1"}}, {"headers": {"X-A": "a\0b"}},
])
def test_dispatcher_cannot_split(api, backend, request_):
    """Nothing in its JSON becomes more than it is: not a request line, not a field."""
    response = api.post("/v1/requests", {"serviceId": "s", "method": "GET", "path": "/", **request_})
    assert response.status in (400, 422) or (response.status == 200 and response.json["status"] in (400, 501)), response
    assert not [request for request in backend.requests if b"evil" in request.head.lower()]


def test_dispatcher_framing_fields_are_ours(api, backend):
    dispatch(api, serviceId="s", method="POST", path="/", body="hello", headers={
        "Content-Length": "3", "Transfer-Encoding": "chunked", "Host": "evil", "Connection": "X-Gone", "X-Gone": "1", "X-Kept": "1"})
    request = backend.last
    assert request.body == b"hello" and request.complete
    assert request.value("Host") == f"127.0.0.1:{backend.port}"


@pytest.mark.parametrize("path", ["http://127.0.0.1:1/x", "//127.0.0.1:1/x"])
def test_dispatcher_cannot_name_another_host(api, backend, path):
    response = api.post("/v1/requests", {"serviceId": "s", "method": "GET", "path": path})
    assert response.status in (200, 400, 422)
    assert all(request.value("Host") == f"127.0.0.1:{backend.port}" for request in backend.requests)
    if response.status == 200:
        assert response.json["status"] in (200, 400)


# ---- metrics


def test_metrics_json(api, backend):
    for _ in range(3):
        api.get("/services/s/some/long/path")
    api.get("/v1/services/s/status")
    status = "responses_total[method=GET,path=/v1/services/{serviceId}/status,status=200]"
    metrics = eventually(lambda: settled(api, status), "everything is counted")
    assert set(metrics) >= {"counters", "gauges", "timers", "histograms", "services"}
    assert metrics["counters"]["requests_total[method=GET,path=/v1/services/{serviceId}/status]"]["count"] >= 1
    assert any(key.startswith("request_duration_ms[method=GET") for key in metrics["timers"])
    service = metrics["services"]["s"]
    assert set(service) >= {"counters", "timers", "gauges"}
    starts = {key: value for key, value in service["counters"].items() if key.startswith("requests_total[")}
    assert sum(value["count"] for value in starts.values()) == 3
    assert all("long" not in key for key in service["counters"]), "no path of a client becomes a label"
    for value in starts.values():
        assert value["timestamp"].endswith("Z")
    timer = next(iter(service["timers"].values()))
    assert set(timer) >= {"count", "avg_ms", "min_ms", "max_ms"}
    assert timer["min_ms"] <= timer["avg_ms"] <= timer["max_ms"]


def settled(gateway, status):
    """The metrics, once the answers of three requests to `s`, and of one for its status, are counted."""
    metrics = gateway.get("/v1/metrics").json
    counters = metrics["services"].get("s", {}).get("counters", {})
    proxied = sum(value["count"] for key, value in counters.items() if key.startswith("responses_total[") and "status=200" in key)
    return metrics if proxied >= 3 and status in metrics["counters"] else None


def test_service_metrics(api):
    api.get("/services/s/x")
    metrics = api.get("/v1/services/s/metrics")
    assert metrics.status == 200 and set(metrics.json) >= {"counters", "timers", "gauges"}
    assert any(key.startswith("service_starts_total") for key in metrics.json["counters"])


def prometheus(gateway):
    response = gateway.get("/metrics")
    assert response.status == 200 and response.value("Content-Type").startswith("text/plain; version=0.0.4")
    return response.text


@pytest.mark.threads
def test_prometheus(api, backend):
    for status in (200, 404, 500):
        backend.handler = lambda peer, request, status=status: peer.respond(status, b"x")
        api.get("/services/s/some/path")
    api.get("/nothing")
    api.get("/services/nobody/x")
    text = eventually(lambda: (text := prometheus(api)) and text.count("hestia_requests_total{") >= 4 and text, "they are counted")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and not checked.stdout and not checked.stderr, checked.stdout + checked.stderr
    for name in ("hestia_requests_total", "hestia_request_duration_seconds", "hestia_service_state", "hestia_inflight",
                 "hestia_queue_depth", "hestia_service_starts_total", "process_resident_memory_bytes"):
        assert re.search(rf"^{name}(_bucket|_count|)[ {{]", text, re.M), name
    assert re.search(r'^hestia_service_state\{[^}]*service="s"[^}]*state="hot"[^}]*\} 1$', text, re.M)
    assert re.search(r'^hestia_service_state\{[^}]*service="t"[^}]*state="cold"[^}]*\} 1$', text, re.M)
    assert "some/path" not in text


def test_labels_stay_few(api):
    """Names that a client chooses never become labels."""
    for number in range(50):
        api.get(f"/services/unknown{number}/x")
        api.get(f"/random{number}")
    assert "unknown4" not in prometheus(api) and "random4" not in prometheus(api)
    assert "unknown4" not in json.dumps(api.get("/v1/metrics").json)


# ---- documents


def test_openapi(api):
    document = api.get("/openapi.json").json
    assert document["openapi"].startswith("3.")
    assert document["info"]["title"] and document["info"]["version"]
    paths = document["paths"]
    for path, method in [("/v1/requests", "post"), ("/v1/services", "get"), ("/v1/services/{serviceId}/status", "get"),
                         ("/v1/services/{serviceId}/start", "post"), ("/v1/services/{serviceId}/stop", "post"),
                         ("/v1/services/{serviceId}/logs", "get"), ("/v1/services/{serviceId}/metrics", "get"),
                         ("/v1/metrics", "get"), ("/metrics", "get"), ("/health", "get"), ("/ready", "get")]:
        operation = paths[path][method]
        assert operation["responses"]
    assert any(path.startswith("/services/{serviceId}") for path in paths)
    text = json.dumps(document)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', text):
        node = document
        for part in reference.split("/"):
            node = node[part]


# ---- log


def test_log_lines(api, backend):
    api.get("/services/s/logged?token=canary", [("X-Request-ID", "logged-1"), ("Authorization", "Bearer canary"), ("Cookie", "canary")])
    end = api.wait_event("request_end", request_id="logged-1")
    assert (end["method"], end["status_code"], end["service_id"], end["level"]) == ("GET", 200, "s", "INFO")
    assert end["path"].startswith("/services/s/logged") and end["duration_ms"] >= 0
    for event_type in ("request_start", "proxy_start", "proxy_end"):
        assert api.wait_event(event_type, request_id="logged-1")["level"] == "DEBUG"
    for event in api.events:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", event["timestamp"]), event
        assert {"level", "event_type", "message"} <= set(event)
    everything = "\n".join(line for line in api.lines if line)
    assert "canary" not in everything
    assert all(json.loads(line) for line in everything.splitlines())


def test_bodies_are_never_logged(api, backend):
    backend.handler = lambda peer, request: peer.respond(500, b"canary-answer")
    api.post("/services/s/x", b"canary-question")
    api.wait_event("request_end", service_id="s")
    assert "canary" not in "\n".join(line for line in api.lines if line)


def test_log_cannot_be_forged(api):
    api.get("/services/s/%22%7D%1b%5b31m%e2%80%ae", [("User-Agent", 'x","level":"FORGED'), ("X-Request-ID", "forge")])
    event = api.wait_event("request_end", request_id="forge")
    assert event["level"] == "INFO"
    assert all("\x1b" not in line and "\u202e" not in line for line in api.lines if line)


def test_log_level(hestia, backend):
    config = {"services": {"s": {"base_url": backend.url}}}
    quiet = hestia(config, env={"HESTIA_LOG_LEVEL": "INFO"})
    quiet.get("/services/s/", [("X-Request-ID", "quiet")])
    quiet.wait_event("request_end", request_id="quiet")
    assert not quiet.find_events("request_start") and not quiet.find_events("proxy_start")


def test_text_log(hestia, backend):
    gateway = hestia({"services": {"s": {"base_url": backend.url}}}, wait=False,
                     arguments=("--listen", "127.0.0.1:0", "--log-format", "text"))
    line = eventually(lambda: next((line for line in gateway.lines if line and "gateway_start" in line), None), "it starts")
    assert not line.startswith("{") and "INFO" in line


def test_text_log_quotes_as_people_do(hestia):
    """Messages without JSON's backslashes; a line is still one event."""
    gateway = hestia({"providers": [{"name": "primary", "base_url": "http://127.0.0.1:1/v1", "api_key": "${NOT_SET_ANYWHERE}"}]},
                     wait=False, arguments=("--listen", "127.0.0.1:0", "--log-format", "text"))
    line = eventually(lambda: next((line for line in gateway.lines if line and "NOT_SET_ANYWHERE" in line), None), "it warns")
    assert 'the provider "primary" is disabled' in line.partition(" {")[0]
