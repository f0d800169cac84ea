"""Memory that runs out: the n-th allocation fails, for every n of a scenario, in a gateway that goes on living; and for
n after n from its very beginning. The client has its answer, an error or a closed connection; the next request is
served; nothing stays behind."""

import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend import answer_ok, answer_websocket_echo
from books import ADMIN, Admin, ask_as, ask_model, client, limit
from fault_page import FOREVER
from gateway import SANITIZER_REPORTS, config_text, environment, find_binary
from pool import CHAT, EMBEDDINGS, FIRST, SSE, Stream, ask, chat, fail, hang, is_error_event, pool_config
from waiting import SCALE, eventually
from wire import Closed, Connection

REFUSALS = (500, 502, 503)
SPARE = [f"spare{n}" for n in range(12)]  # a failed attempt may rest its provider for a while
AUTO = {"enabled": True, "prioritized_models": [["bad", "m"], ["good", "m"], *([name, "m"] for name in SPARE)]}
RELIEF = 0.3  # seconds without memory; what must not be given up (a revocation) waits for its return
MOST = 4000  # a scenario that needs more allocations than that never ends


class Rig:
    """A gateway with something of everything, and its upstreams."""

    def __init__(self, hestia, pool, faults, fake):
        self.faults = faults
        # What is wrong with the request is no reason to leave the provider alone for a while.
        self.bad = pool.upstream("bad", handler=fail(400, "too long", code="context_length_exceeded"), models=("broken",))
        self.good = pool.upstream("good", models=("m", "n"))
        self.plain = pool.upstream("plain", handler=answer_ok)
        self.process = fake()
        self.config = {
            **pool_config(self.bad.provider(models=["broken", "m"]), self.good.provider(models=["m", "n"]),
                          *({**self.good.provider(models=["m"]), "name": name} for name in SPARE),
                          routing={"health_check": {"enabled": False}, "circuit_breaker": {"failures": 1000000}}),
            "server": {"workers": 1, "drain_seconds": 5},
            "services": {"s": {"base_url": self.plain.url}, "process": self.process.config(stop_timeout_ms=5000)},
            "clients": [client("ann", strategy_id="own"), client("poor", strategy_id="poor")],
            "strategies": [{"id": "own", "auto_config": AUTO, "rate_limits": [limit("requests", 1_000_000)]},
                           {"id": "poor", "rate_limits": [limit("requests", 1, "day")]}],
        }
        self.gateway = hestia(self.config, env={**faults.env, "HESTIA_LOG_LEVEL": "INFO"})
        self.gateway.start("s")
        self.admin = Admin(self.gateway)
        self.turn = 0
        self.kept = []

    def connections(self):
        return int(self.gateway.get("/metrics").body.split(b"\nhestia_connections ")[1].split()[0])


# ---- scenarios: → Response


def proxied(rig):
    return rig.gateway.get("/services/s/x?y=z")


def uploaded(rig):
    with rig.gateway.connect() as connection:
        connection.request("POST", "/services/s/", [("Transfer-Encoding", "chunked")])
        connection.send(b"5\r\nhello\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n")
        return connection.read_response("POST")


def websocket(rig):
    rig.plain.on("/ws", answer_websocket_echo)
    with rig.gateway.connect() as connection:
        connection.request("GET", "/services/s/ws", [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                                                     ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
        response = connection.read_head()
        if response.status != 101:
            connection.read_body(response)
        response.complete = True
        return response


def dispatched(rig):
    response = rig.gateway.post("/v1/requests", {"serviceId": "s", "method": "POST", "path": "/x", "body": {"a": [1, 2, 3]}})
    if response.status == 200:
        assert response.json["status"] in (200, *REFUSALS), response
    return response


def completion(rig):
    return ask_as(rig.gateway, "ann", chat("n"))


def embedding(rig):
    return ask_as_path(rig, {"model": "n", "input": "x"}, EMBEDDINGS)


def ask_as_path(rig, body, path):
    return ask(rig.gateway, body, [("Authorization", "Bearer key-of-ann")], path)


def streamed(rig, model="n"):
    stream = Stream(rig.gateway, chat(model, stream=True), [("Authorization", "Bearer key-of-ann")])
    with stream:
        head = stream.head()
        if head.status != 200:
            stream.connection.read_body(head)
            return head
        events = stream.rest()
        errors = [one for one in events if is_error_event(one)]
        assert not head.complete or errors or b"data: [DONE]" in events, f"a stream without end looks whole: {events}"
        assert not errors or is_error_event(errors[0])["code"], errors
        head.complete = True  # or cut, which its client sees
        return head


def routed(rig):
    """What its first provider says may become the answer, when the second cannot be asked."""
    response = ask_model(rig.gateway, "localrouter/auto", [("Authorization", "Bearer key-of-ann")])
    response.expected = response.status == 400
    return response


def routed_stream(rig):
    response = streamed(rig, "localrouter/auto")
    response.expected = response.status == 400
    return response


def limited(rig):
    response = ask_as(rig.gateway, "poor", chat("n"))
    assert response.status in (200, 429, *REFUSALS), response
    response.expected = True
    return response


def created(rig):
    rig.turn += 1
    response = rig.admin.call("POST", "/clients", {"name": f"c{rig.turn}"})
    if response.status == 201:
        gone = rig.admin.call("DELETE", f"/clients/{response.json['id']}")
        return gone if gone.status in REFUSALS else response
    assert response.status in REFUSALS, response
    return response


def strategy_changed(rig):
    rig.turn += 1
    response = rig.admin.call("POST", "/strategies", {"name": f"s{rig.turn}", "rate_limits": [limit("total_tokens", 5)], "auto_config": AUTO})
    if response.status == 201:
        gone = rig.admin.call("DELETE", f"/strategies/{response.json['id']}")
        return gone if gone.status in REFUSALS else response
    return response


def begin_and_hang(peer, request):
    peer.begin_chunked(SSE)
    peer.chunk(FIRST)
    hang(peer, request)


def kept(rig):
    """An exchange that goes on beside all earlier ones: what lies ready for the next one is used up."""
    rig.plain.on("/kept", begin_and_hang)
    connection = rig.gateway.connect()
    rig.kept.append(connection)
    connection.request("GET", "/services/s/kept")
    response = connection.read_head()
    if response.status != 200:
        connection.read_body(response)
    response.complete = True
    return response


def kept_stream(rig):
    rig.good.on(f"/v1{CHAT[3:]}", begin_and_hang)
    stream = Stream(rig.gateway, chat("n", stream=True), [("Authorization", "Bearer key-of-ann")])
    rig.kept.append(stream.connection)
    head = stream.head()
    if head.status != 200:
        stream.connection.read_body(head)
    head.complete = True
    return head


def reader(*targets):
    def read(rig):
        for target in targets:
            response = rig.gateway.request("GET", target, host="127.0.0.1")
            if response.status in REFUSALS:
                break
        return response

    return read


def reloaded(rig):
    """A new strategy, a new client, a changed service. Refused or done; never half of it."""
    gateway = rig.gateway
    rig.turn += 1
    more = {**rig.config, "clients": [*rig.config["clients"], client(f"more{rig.turn}")]}
    more["services"] = {**more["services"], f"t{rig.turn}": {"base_url": rig.plain.url}}
    count = len(gateway.reloads()) + len(gateway.reloads("failed"))
    gateway.write_config(more)
    gateway.signal(signal.SIGHUP)

    begun = time.monotonic()

    def ended():  # without memory it may be unable to say how
        said = len(gateway.reloads()) + len(gateway.reloads("failed")) > count
        return said or (rig.faults.failed("memory") and time.monotonic() > begun + 2 * RELIEF)

    eventually(ended, "the reload has an end")
    return proxied(rig)


def cold(rig):
    response = rig.gateway.get("/services/process/x")
    if response.status == 503 and response.code == "service_backing_off":
        rig.gateway.start("process")  # an explicit start tries at once
        response = rig.gateway.get("/services/process/x")
    rig.gateway.post("/v1/services/process/stop?force=1")
    return response


SCENARIOS = {
    "proxied": proxied, "uploaded": uploaded, "websocket": websocket, "dispatched": dispatched, "completion": completion,
    "embedding": embedding, "streamed": streamed, "routed": routed, "routed_stream": routed_stream, "limited": limited,
    "kept": kept, "kept_stream": kept_stream, "created": created, "strategy_changed": strategy_changed,
    "read_status": reader("/v1/services", "/v1/services/s/status", "/v1/metrics", "/metrics", "/v1/models", "/v1/providers"),
    "read_admin": reader(*(ADMIN + path for path in ("/clients", "/strategies", "/usage?scope=global&range=hour", "/requests?limit=10",
                                                     "/config", "/audit", "/models"))),
    "read_openapi": reader("/openapi.json"),
}


def attempt(rig, scenario):
    """What the client saw: a whole answer, an error, or nothing."""
    try:
        response = scenario(rig)
    except (Closed, ConnectionError):
        return "closed"
    assert response.complete, response
    if response.status in REFUSALS or (response.status == 400 and getattr(response, "expected", False)):
        return "refused"
    assert response.status < 400 or getattr(response, "expected", False), response
    return "served"


def every_failure(rig, scenario, step, count):
    """The scenario with its n-th allocation failing (or all from the n-th on), until it needs no n-th. → what was seen"""
    seen = {}
    for n in range(0, MOST, step):
        rig.faults.fail("memory", "ENOMEM", count, skip=n)
        relief = threading.Timer(RELIEF, rig.faults.let_go, ["memory"])
        relief.start()
        try:
            outcome = attempt(rig, scenario)
        except BaseException:
            print(f"allocation {n} of {scenario.__name__}")
            raise
        relief.cancel()
        failed = rig.faults.heal("memory")
        if not failed:
            assert outcome == "served", f"{outcome} without a failure"
            return seen
        seen[outcome] = seen.get(outcome, 0) + 1
        assert rig.gateway.process.poll() is None, f"it died at allocation {n}"
        assert attempt(rig, scenario) == "served", f"the next one after allocation {n} is not served"
    raise AssertionError("it allocates without end")


def is_quiet(rig):
    services = rig.gateway.get("/v1/services").json["services"]
    return (all(one["inFlight"] == 0 and one["queuePending"] == 0 for one in services) and rig.connections() <= 1
            and all(one["in_flight"] == 0 for one in rig.gateway.get("/v1/providers").json["providers"]))


@pytest.fixture
def rig(hestia, pool, faults, fake):
    made = Rig(hestia, pool, faults, fake)
    yield made
    faults.heal()
    for connection in made.kept:
        connection.close()
    eventually(lambda: is_quiet(made), "nothing is in flight")


@pytest.mark.parametrize("mode", ["once", "from_then_on"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_allocation(rig, record_property, name, mode):
    scenario = SCENARIOS[name]
    for _ in range(2):
        assert attempt(rig, scenario) == "served"
    seen = every_failure(rig, scenario, 1, 1 if mode == "once" else FOREVER)
    assert sum(seen.values()) > 0, "no allocation was made to fail"
    record_property("seen", seen)


@pytest.mark.parametrize("mode", ["once", "from_then_on"])
@pytest.mark.parametrize("name, step", [("reloaded", 37), ("cold", 7),
                                        pytest.param("reloaded", 1, marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
                                        pytest.param("cold", 1, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_allocations_of_the_slow_ones(rig, record_property, name, step, mode):
    scenario = {"reloaded": reloaded, "cold": cold}[name]
    assert attempt(rig, scenario) == "served"
    if name == "reloaded" and mode == "from_then_on":
        step *= 7  # each of them waits until memory is back
    record_property("seen", every_failure(rig, scenario, step, 1 if mode == "once" else FOREVER))


# ---- from the very beginning


def serves(folder):
    """It says so, unless that was the line without memory: then it answers."""
    if b"gateway_start" in (folder / "stdout").read_bytes():
        return True
    try:
        with Connection(None, unix=folder / "socket") as connection:
            connection.request("GET", "/health")
            return connection.read_response().status == 200
    except (Closed, OSError):
        return False


def start_with(folder, config, n):
    """Starts with HESTIA_OOM_AT=n, says "exit" or "serves", after one request and a clean end."""
    folder.mkdir()
    path = folder / "hestia_config.yml"
    path.write_text(config_text(config))
    with open(folder / "stderr", "wb") as stderr:
        process = subprocess.Popen([find_binary(), "serve", "-c", path, "--listen", f"unix:{folder}/socket"], cwd=folder,
                                   env=environment(folder, {"HESTIA_OOM_AT": n, "HESTIA_LOG_LEVEL": "INFO"}), stdin=subprocess.DEVNULL,
                                   stdout=open(folder / "stdout", "wb"), stderr=stderr)
    try:
        eventually(lambda: process.poll() is not None or serves(folder), f"a beginning (n = {n})")
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        code = process.wait(30 * SCALE)
    finally:
        process.kill()
        process.wait()
    report = (folder / "stderr").read_text(errors="replace")
    for word in SANITIZER_REPORTS:
        assert word not in report, f"n = {n}: {report}"
    assert code in (0, 1), f"n = {n}: exit code {code}: {report}"
    served = code == 0  # 1: one of the last steps failed, when a worker served already
    assert served or report.strip() or (folder / "stdout").stat().st_size, f"n = {n}: it ended without a word"
    return served


def starts(tmp_path, numbers):
    upstream = "http://127.0.0.1:9"
    config = {**pool_config({"name": "a", "base_url": upstream, "api_key": "k"}), "services": {"s": {"base_url": upstream}},
              "server": {"workers": 2}, "clients": [client("ann")], "strategies": [{"id": "own", "auto_config": {
                  "enabled": True, "prioritized_models": [["a", "m"]]}, "rate_limits": [limit("requests", 5)]}]}
    with ThreadPoolExecutor(min(4, os.cpu_count() + 1)) as runners:
        return list(runners.map(lambda n: start_with(tmp_path / f"n{n}", config, n), numbers))


def test_starts_sampled(tmp_path):
    """Dense at first, where each is another step of the start, then further and further apart."""
    numbers = [*range(1, 12)]
    while numbers[-1] < 30000:
        numbers.append(int(numbers[-1] * 1.25) + 1)
    served = starts(tmp_path, numbers)
    assert not served[0] and served[-1], served


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_starts(tmp_path):
    first, step = 1, 200
    while not all(starts(tmp_path, range(first, first + step))):
        first += step
