"""The life of services: held requests, starts, failures, idleness, stopping, children (details.md 2, 3, 11)."""

import json
import os
import shlex
import signal
import sys
import threading
import time

import pytest

from backend import answer_websocket_echo, deaf_listener, raw
from fakes import Together
from gateway import children_of, has_ended, metric
from pool import closed_url
from waiting import eventually, opened
from wire import Closed

HTML = [("Accept", "text/html,application/xhtml+xml")]


def one(config, **server):
    return {"server": server, "services": {"f": config}}


def queue(gateway, connection, target, number, method="GET", fields=(), body=None):
    """Sends a request and waits until it is the number-th in the queue of `f`."""
    connection.request(method, target, fields, body)
    gateway.wait_status("f", f"{number} waiting", lambda status: status["queuePending"] == number)


# ---- held requests


@pytest.mark.threads
def test_request_to_a_cold_service_is_held_and_served(hestia, fake):
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config()))
    assert gateway.status("f")["state"] == "cold"
    with gateway.connect() as connection:
        queue(gateway, connection, "/services/f/x?y", 1)
        status = gateway.status("f")
        assert (status["state"], status["readiness"]) == ("starting", "not_ready")
        service.wait_starts(1)
        assert service.requests == []
        service.allow("ready")
        response = connection.read_response()
    assert (response.status, response.body) == (200, b"fake /x?y")
    status = gateway.status("f")
    assert (status["state"], status["readiness"], status["queuePending"]) == ("hot", "ready", 0)
    gateway.wait_event("service_start", service_id="f")
    gateway.wait_event("service_ready", service_id="f")
    gateway.wait_event("request_queued", service_id="f")


@pytest.mark.threads
@pytest.mark.parametrize("clients", [40, pytest.param(300, marks=pytest.mark.long)])
def test_one_start_for_many_requests(hestia, fake, clients):
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config(queue_size=500)))
    together = Together()
    for number in range(clients):
        together.call(gateway.get, f"/services/f/{number}")
    gateway.wait_status("f", "all wait", lambda status: status["queuePending"] == clients)
    service.allow("ready")
    assert [response.body for response in together.join()] == [f"fake /{n}".encode() for n in range(clients)]
    assert service.starts == 1
    assert len(gateway.find_events("service_start", service_id="f")) == 1


@pytest.mark.threads
def test_queue_is_left_in_order_of_arrival(hestia, fake):
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config(max_concurrent=1), workers=3))
    connections = [gateway.connect() for _ in range(12)]
    for number, connection in enumerate(connections):
        queue(gateway, connection, f"/services/f/{number}", number + 1, fields=[("X-Request-ID", f"n{number}")])
    service.allow("ready")
    for connection in connections:
        assert connection.read_response().status == 200
        connection.close()
    assert service.requests == [f"/{number}" for number in range(12)]
    gateway.wait_event("request_dequeued", count=12, service_id="f")
    left = [event["request_id"] for event in gateway.find_events("request_dequeued", service_id="f")]
    assert left == [f"n{number}" for number in range(12)]


def test_held_body_is_passed_in_full(hestia, fake):
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config()))
    body = bytes(range(256)) * 4096
    together = Together()
    together.call(gateway.post, "/services/f/echo", body)
    gateway.wait_status("f", "it waits", lambda status: status["queuePending"] == 1)
    service.allow("ready")
    assert together.join()[0].body == body


def test_expect_waits_for_readiness(hestia, fake):
    """100 Continue is for when somebody can take the body."""
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config()))
    with gateway.connect() as connection:
        connection.send(b"POST /services/f/ HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        gateway.wait_status("f", "it waits", lambda status: status["queuePending"] == 1)
        assert connection.pending == b""
        service.allow("ready")
        assert connection.read_head().status == 100
        connection.send(b"hello")
        assert connection.read_response().body == b"hello"


def test_websocket_wakes_too(hestia, backend):
    ready = threading.Event()

    def health(peer, request):
        peer.respond(200 if ready.is_set() else 503)

    backend.on("/health", health).on("/ws", answer_websocket_echo)
    gateway = hestia(one({"base_url": backend.url, "health_url": backend.url + "/health"}))
    together = Together()

    def client():
        with gateway.connect() as connection:
            assert connection.upgrade("/services/f/ws").status == 101
            connection.send_frame(1, b"awake")
            return connection.read_frame()

    together.call(client)
    gateway.wait_status("f", "it waits", lambda status: status["queuePending"] == 1)
    ready.set()
    assert together.join() == [(1, b"awake")]


def test_queue_full(hestia, fake):
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config(queue_size=2)))
    with gateway.connect() as first, gateway.connect() as second:
        queue(gateway, first, "/services/f/1", 1)
        queue(gateway, second, "/services/f/2", 2)
        response = gateway.get("/services/f/3")
        assert response.status == 503 and response.code == "queue_full"
        assert int(response.value("Retry-After")) >= 1
        assert response.value("X-Hestia-Error-Source") == "gateway"
        service.allow("ready")
        assert first.read_response().status == second.read_response().status == 200
    assert sorted(service.requests) == ["/1", "/2"]


def test_queue_timeout_cancels_a_start_nobody_needs(hestia, fake):
    service = fake("--ready-when", "never")
    gateway = hestia(one(service.config(request_timeout_seconds=5)))
    response = gateway.get("/services/f/")
    assert response.status == 503 and response.code == "queue_timeout"
    assert response.value("Retry-After")
    pid = service.wait_starts(1)
    status = gateway.wait_state("f", "cold")
    assert status["lastError"].startswith("Request timeout waiting for service startup") and status["retryAt"] is None
    eventually(lambda: has_ended(pid), "the start was cancelled")
    gateway.wait_event("queue_timeout", service_id="f")


def test_queue_timeout_says_why_the_service_is_not_ready(hestia, fake):
    """The last answer of the health check, and what the service printed last."""
    service = fake("--ready-when", "never", "--say", "loading layer 7")
    gateway = hestia(one(service.config(request_timeout_seconds=1)))
    gateway.post("/v1/services/f/start")
    gateway.wait_event("service_log", service_id="f", message="loading layer 7")
    gateway.wait_event("health_check_failed", metadata=lambda data: "503" in data["error"])
    response = gateway.get("/services/f/")
    assert response.status == 503 and response.code == "queue_timeout"
    message = response.json["error"]["message"]
    assert message.startswith("Request timeout waiting for service startup: ")
    assert "answered 503 (loading)" in message and "loading layer 7" in message
    gateway.post("/v1/services/f/stop?force=1")


def test_queue_timeout_of_a_hot_service_is_about_its_slots(hestia, backend):
    gate = threading.Event()

    def answer(peer, request):
        opened(gate)
        peer.respond(200, b"ok")

    gateway = hestia(one({"base_url": backend.url, "max_concurrent": 1, "request_timeout_seconds": 1}))
    gateway.start("f")
    backend.handler = answer
    together = Together()
    together.call(gateway.get, "/services/f/first")
    gateway.wait_status("f", "the slot is taken", lambda status: status["inFlight"] == 1)
    response = gateway.get("/services/f/second")
    assert response.status == 503 and response.code == "queue_timeout"
    message = response.json["error"]["message"]
    assert "slot" in message and "startup" not in message
    gate.set()
    assert together.join()[0].status == 200


@pytest.mark.threads
@pytest.mark.parametrize("leave", ["close", "reset", "half_close"])
def test_last_client_that_leaves_cancels_the_start(hestia, fake, leave):
    service = fake("--ready-when", "never")
    gateway = hestia(one(service.config()))
    connection = gateway.connect()
    queue(gateway, connection, "/services/f/", 1)
    pid = service.wait_starts(1)
    getattr(connection, leave)()
    gateway.wait_state("f", "cold")
    assert gateway.status("f")["queuePending"] == 0
    eventually(lambda: has_ended(pid), "the process ended")
    connection.close()


def test_client_that_leaves_is_forgotten(hestia, fake):
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config()))
    with gateway.connect() as stays:
        leaves = gateway.connect()
        queue(gateway, leaves, "/services/f/leaves", 1)
        queue(gateway, stays, "/services/f/stays", 2)
        leaves.reset()
        gateway.wait_status("f", "one waits", lambda status: status["queuePending"] == 1)
        service.allow("ready")
        assert stays.read_response().body == b"fake /stays"
    assert service.starts == 1
    assert service.requests == ["/stays"]


def test_loading_is_not_ready(hestia, fake):
    """A port that listens, and a 503 from /health, are not readiness."""
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config()))
    with gateway.connect() as connection:
        queue(gateway, connection, "/services/f/", 1)
        service.wait_line("listening")
        eventually(lambda: len(service.lines("requests")) >= 5, "health was asked a few times")
        assert set(service.lines("requests")) == {"/health"}
        assert gateway.status("f")["state"] == "starting"
        service.allow("ready")
        assert connection.read_response().status == 200


def test_readiness_by_warm_up(hestia, backend):
    gateway = hestia({"services": {"w": {"base_url": backend.url, "warmup_ms": 400}}})
    before = time.monotonic()
    assert gateway.get("/services/w/").status == 200
    assert time.monotonic() - before >= 0.4
    assert backend.paths() == ["/"]


def test_readiness_by_connecting(hestia, fake):
    service = fake("--listen-when", "listen.fifo")
    config = service.config()
    del config["health_url"]
    gateway = hestia(one(config))
    with gateway.connect() as connection:
        queue(gateway, connection, "/services/f/", 1)
        service.open_fifo("listen.fifo")
        assert connection.read_response().status == 200
    assert service.lines("requests") == ["/"]


def test_external_service_is_waited_for(hestia, backend):
    ready = threading.Event()
    backend.on("/health", lambda peer, request: peer.respond(204 if ready.is_set() else 500))
    gateway = hestia(one({"base_url": backend.url, "health_url": backend.url + "/health"}))
    with gateway.connect() as connection:
        queue(gateway, connection, "/services/f/x", 1)
        ready.set()
        assert connection.read_response().body == b"ok"


# ---- starts that fail


@pytest.mark.threads
def test_failed_start_answers_every_waiter_with_the_reason(hestia, fake):
    service = fake("--say", "model file is corrupt", "--complain", "giving up now", "--exit", 3)
    gateway = hestia(one(service.config()))
    response = gateway.get("/services/f/")
    assert response.status == 503 and response.code == "service_start_failed"
    assert response.value("X-Hestia-Error-Source") == "service"
    assert int(response.value("Retry-After")) >= 1
    message = response.json["error"]["message"]
    assert "3" in message and "model file is corrupt" in message and "giving up now" in message
    status = gateway.status("f")
    assert status["state"] == "cold" and status["lastError"] and status["retryAt"]
    gateway.wait_event("service_error", service_id="f")


def test_all_waiters_hear_of_the_failure_at_once(hestia, fake):
    service = fake("--ready-when", "never")
    gateway = hestia(one(service.config()))
    together = Together()
    for number in range(10):
        together.call(gateway.get, f"/services/f/{number}")
    gateway.wait_status("f", "all wait", lambda status: status["queuePending"] == 10)
    os.kill(service.wait_starts(1), signal.SIGKILL)
    responses = together.join()
    assert {response.status for response in responses} == {503}
    assert {response.code for response in responses} == {"service_start_failed"}
    assert service.starts == 1


def test_back_off(hestia, fake):
    service = fake("--exit", 1)
    gateway = hestia(one(service.config()))
    assert gateway.get("/services/f/").code == "service_start_failed"
    response = gateway.get("/services/f/")
    assert response.status == 503 and response.code == "service_backing_off"
    assert response.value("X-Hestia-Error-Source") == "service"
    assert int(response.value("Retry-After")) >= 1
    assert service.starts == 1
    # An explicit start tries at once.
    assert gateway.post("/v1/services/f/start").status == 202
    service.wait_starts(2)
    # The pause ends by itself.
    eventually(lambda: gateway.get("/services/f/").status == 503 and service.starts >= 3, "another try")


@pytest.mark.parametrize("command, word", [
    (["/nowhere/to/be/found"], "/nowhere/to/be/found"),
    (["/etc/passwd"], "/etc/passwd"),
    ("no-such-program --with arguments", "no-such-program"),
])
def test_program_that_cannot_be_run(hestia, command, word):
    gateway = hestia(one({"command": command, "base_url": "http://127.0.0.1:${PORT}"}))
    response = gateway.get("/services/f/")
    assert response.status == 503 and response.code == "service_start_failed"
    assert word in response.json["error"]["message"]


def test_workdir_that_is_not_there(hestia, fake):
    gateway = hestia(one(fake().config(workdir="missing-folder")))
    response = gateway.get("/services/f/")
    assert response.status == 503 and response.code == "service_start_failed"
    message = response.json["error"]["message"]
    assert f"chdir to {gateway.folder}/missing-folder failed: No such file or directory" in message


def test_start_deadline(hestia, fake):
    service = fake("--never-listen", "--say", "still compiling")
    gateway = hestia(one(service.config(start_timeout_seconds=5)))
    response = gateway.get("/services/f/")
    assert response.status == 503 and response.code == "service_start_timeout"
    assert response.value("X-Hestia-Error-Source") == "service"
    assert "still compiling" in response.json["error"]["message"]
    pid = service.pids[0]
    eventually(lambda: has_ended(pid), "the process ended")
    gateway.wait_state("f", "cold")


def test_health_check_that_is_answered_with_interim_responses_only(hestia, backend):
    """Without end, as fast as they come: the control thread reads no more than a few."""
    def flood(peer, request):
        while True:
            peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    backend.handler = flood
    gateway = hestia(one({"base_url": backend.url, "health_url": backend.url + "/health"}))
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/")
        gateway.wait_event("health_check_failed", metadata=lambda data: "interim" in data["error"])


def test_start_deadline_of_an_external_service(hestia, backend):
    backend.on("/health", lambda peer, request: peer.respond(503))
    gateway = hestia(one({"base_url": backend.url, "health_url": backend.url + "/health", "start_timeout_seconds": 1}))
    response = gateway.get("/services/f/")
    assert response.status == 503 and response.code == "service_start_timeout"


@pytest.mark.parametrize("more", [
    {"semaphore_enabled": True, "semaphore_machine_id": "m"}, {"orchestrator": "docker"}, {"orchestrator": "kubernetes"},
    {"orchestrator": "systemd"}, {"orchestrator": "wake_on_lan"}, {"orchestrator": "semaphore"},
])
def test_orchestrators_to_come_answer_501(hestia, backend, more):
    backend.on("/health", lambda peer, request: peer.respond(503))
    gateway = hestia(one({"base_url": backend.url, "health_url": backend.url + "/health", **more}))
    response = gateway.get("/services/f/")
    assert response.status == 501 and response.code == "not_available"


def test_service_with_nothing_to_reach(hestia):
    gateway = hestia({"services": {"empty": {"idle_timeout_ms": 1000}}})
    response = gateway.get("/services/empty/")
    assert response.status == 503 and response.value("Retry-After")
    assert any(event["level"] == "WARNING" and "empty" in json.dumps(event) for event in gateway.events)


# ---- stopping


@pytest.mark.threads
def test_request_during_stopping_waits_and_restarts(hestia, fake):
    service = fake("--slow-stop", "stop.fifo")
    gateway = hestia(one(service.config(stop_timeout_ms=60000)))
    first = gateway.get("/services/f/pid").body
    response = gateway.post("/v1/services/f/stop")
    assert response.status == 202 and response.json["message"] == "Service stop initiated"
    gateway.wait_state("f", "stopping")
    with gateway.connect() as connection:
        queue(gateway, connection, "/services/f/pid", 1)
        assert gateway.status("f")["state"] == "stopping"
        assert service.starts == 1
        service.open_fifo("stop.fifo")
        second = connection.read_response()
    assert second.status == 200 and second.body != first
    assert service.starts == 2
    gateway.post("/v1/services/f/stop?force=1")
    service.open_fifo("stop.fifo")


@pytest.mark.threads
def test_idle_stop(hestia, fake):
    service = fake()
    gateway = hestia(one(service.config(idle_timeout_ms=300)))
    assert gateway.get("/services/f/").status == 200
    pid = service.pids[0]
    gateway.wait_state("f", "cold")
    eventually(lambda: has_ended(pid), "the process ended")
    gateway.wait_event("service_stop", service_id="f")
    change = gateway.wait_event("service_state_change", service_id="f",
                                metadata=lambda value: value and value.get("reason") == "idle_timeout")
    assert change["metadata"]["old_state"] == "hot"
    assert gateway.get("/services/f/").status == 200
    assert service.starts == 2


def come_and_go(gateway, name):
    """A whole life of a service that nobody uses; it may be hot for less than a look at its state takes."""
    lives = len(gateway.find_events("service_stop", service_id=name))
    assert gateway.post(f"/v1/services/{name}/start").status == 202
    gateway.wait_event("service_stop", count=lives + 1, service_id=name)
    gateway.wait_state(name, "cold")


@pytest.mark.threads
def test_no_idle_stop_under_an_open_stream(hestia, fake):
    """`clock` has the same idle time and nothing to do: when it has stopped, the stream's time would be up as well."""
    service, clock = fake(), fake()
    gateway = hestia({"services": {"f": service.config(idle_timeout_ms=400), "clock": clock.config(idle_timeout_ms=400)}})
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/stream")
        connection.read_until(b"data: 0\n\n")
        for _ in range(2):
            come_and_go(gateway, "clock")
        status = gateway.status("f")
        assert status["state"] == "hot" and status["inFlight"] == 1
        service.open_fifo("stream.fifo")
        connection.read_until(b"0\r\n\r\n")
    gateway.wait_state("f", "cold")


def test_no_idle_stop_under_a_websocket(hestia, backend, fake):
    clock = fake()
    backend.handler = answer_websocket_echo
    gateway = hestia({"services": {"f": {"base_url": backend.url, "idle_timeout_ms": 400}, "clock": clock.config(idle_timeout_ms=400)}})
    with gateway.connect() as connection:
        assert connection.upgrade("/services/f/").status == 101
        for _ in range(2):
            come_and_go(gateway, "clock")
        assert gateway.status("f")["state"] == "hot"
        connection.send_frame(1, b"still here")
        assert connection.read_frame() == (1, b"still here")
    gateway.wait_state("f", "cold")


def test_explicit_start_without_a_client(hestia, fake):
    """POST …/start is a claim of its own."""
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config()))
    assert gateway.post("/v1/services/f/start").json["message"] == "Service start initiated"
    service.wait_starts(1)
    assert gateway.post("/v1/services/f/start").status == 409
    service.allow("ready")
    gateway.wait_state("f", "hot")


def test_stop_waits_for_requests_unless_forced(hestia, fake):
    service = fake()
    gateway = hestia(one(service.config()))
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/hold")
        service.wait_requests(1)
        assert gateway.post("/v1/services/f/stop").status == 202
        assert not has_ended(service.pids[0])
        service.open_fifo("hold.fifo")
        assert connection.read_response().body == b"held"
    gateway.wait_state("f", "cold")
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/hold")
        service.wait_requests(2)
        assert gateway.post("/v1/services/f/stop?force=1").status == 202
        gateway.wait_state("f", "cold")
        assert not connection_completes(connection)
    assert gateway.post("/v1/services/f/stop").status == 409


def connection_completes(connection):
    try:
        response = connection.read_response()
        return response.status == 200 and response.complete
    except Closed:
        return False


@pytest.mark.threads
def test_sigterm_ignored_then_sigkill(hestia, fake):
    service = fake("--ignore-term")
    gateway = hestia(one(service.config(stop_timeout_ms=2000)))
    gateway.start("f")
    gateway.post("/v1/services/f/stop")
    pid = service.pids[0]
    eventually(lambda: has_ended(pid), "SIGKILL ended it")
    assert service.lines("terms") == [str(pid)]
    gateway.wait_state("f", "cold")


@pytest.mark.threads
def test_whole_group_ends(hestia, fake):
    service = fake("--grandchild")
    gateway = hestia(one(service.config(stop_timeout_ms=300)))
    gateway.start("f")
    grandchild = int(service.wait_line("grandchild"))
    gateway.post("/v1/services/f/stop")
    gateway.wait_state("f", "cold")
    eventually(lambda: has_ended(grandchild), "the grandchild ended")


@pytest.mark.threads
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_nothing_is_orphaned(hestia, fake, how):
    """Neither by SIGTERM nor by kill -9 of the gateway, not even what has a session of its own."""
    service = fake("--grandchild", "--escapee", "--ignore-term")
    gateway = hestia(one(service.config(stop_timeout_ms=300)))
    gateway.start("f")
    pids = [service.pids[0], int(service.wait_line("grandchild")), int(service.wait_line("escapee"))]
    assert not any(has_ended(pid) for pid in pids)
    getattr(gateway, how)()
    for pid in pids:
        eventually(lambda pid=pid: has_ended(pid), f"{pid} ended")


def test_no_zombies(hestia, fake):
    service = fake("--grandchild")
    gateway = hestia(one(service.config(stop_timeout_ms=200)))
    for _ in range(3):
        gateway.start("f")
        gateway.post("/v1/services/f/stop?force=1")
        gateway.wait_state("f", "cold")

    def family(pid):
        return [pid] + [below for child in children_of(pid) for below in family(child)]

    eventually(lambda: not [pid for pid in family(gateway.process.pid) if has_ended(pid)], "no zombies")


@pytest.mark.threads
def test_crash_is_noticed_and_survived(hestia, fake):
    service = fake()
    gateway = hestia(one(service.config()))
    gateway.start("f")
    assert gateway.get("/services/f/crash").status in (502, 503)
    status = gateway.wait_state("f", "cold")
    assert "3" in status["lastError"]
    gateway.wait_event("service_error", service_id="f")
    eventually(lambda: gateway.get("/services/f/").status == 200, "it was started again")
    assert service.starts == 2


def test_crash_while_idle_is_noticed_at_once(hestia, fake):
    service = fake()
    gateway = hestia(one(service.config()))
    gateway.start("f")
    os.kill(service.pids[0], signal.SIGKILL)
    status = gateway.wait_state("f", "cold")
    assert status["lastError"]


def test_loss_of_the_shepherd_is_told(hestia, fake):
    """What runs goes on; nothing can be started any more, which only a restart mends."""
    service = fake()
    gateway = hestia({"services": {"f": service.config(), "g": fake("--exit", 1).config()}})
    assert gateway.get("/ready").status == 200
    shepherd, = children_of(gateway.process.pid)
    gateway.start("f")
    os.kill(shepherd, signal.SIGKILL)
    assert "restart" in gateway.wait_event("shepherd_lost", level="ERROR")["message"]
    response = gateway.get("/ready")
    assert (response.status, response.code) == (503, "shepherd_lost") and "restart" in response.json["error"]["message"]
    assert gateway.get("/health").status == 200
    assert gateway.get("/services/f/x").body == b"fake /x"
    for _ in range(2):
        eventually(lambda: gateway.post("/v1/services/g/start").status == 202, "another try")
    assert "restart Hestia" in eventually(lambda: gateway.status("g")["lastError"], "why it does not start")
    assert len(gateway.find_events("shepherd_lost")) == 1


# ---- browsers and monitors


def test_waiting_page(hestia, fake):
    service = fake("--ready-when", "ready", "--say", "loading <script>alert(1)</script>")
    gateway = hestia(one(service.config()))
    response = gateway.get("/services/f/ui", HTML)
    assert response.status == 503
    assert response.value("Content-Type").startswith("text/html")
    assert response.value("Refresh") == "1" and response.value("Cache-Control") == "no-store"
    assert response.value("Retry-After")
    service.wait_starts(1)
    eventually(lambda: "loading" in gateway.get("/services/f/ui", HTML).text, "its last line of log")
    page = gateway.get("/services/f/ui", HTML).text
    assert "<script>alert" not in page and "starting" in page
    assert gateway.status("f")["queuePending"] == 0
    service.allow("ready")
    gateway.wait_state("f", "hot")
    assert gateway.get("/services/f/ui", HTML).body == b"fake /ui"
    assert service.starts == 1


def test_waiting_page_tells_of_a_failure_and_goes_on(hestia, fake):
    """A browser that met JSON there would refresh no more."""
    service = fake("--say", "no <b>such</b> model", "--exit", 3)
    gateway = hestia(one(service.config()))
    assert gateway.get("/services/f/ui", HTML).value("Refresh") == "1"
    gateway.wait_event("service_error", service_id="f")
    pages = []

    def tells():
        pages.append(gateway.get("/services/f/ui", HTML))
        return "exited with status 3" in pages[-1].text and "again in" in pages[-1].text

    eventually(tells, "a page of the back-off")
    eventually(lambda: tells() and service.starts >= 2, "the page has started it again")
    for page in pages:
        assert page.status == 503 and page.value("Refresh") == "1" and page.value("Cache-Control") == "no-store"
        assert page.value("Content-Type").startswith("text/html") and "<b>such" not in page.text
        assert int(page.value("Retry-After")) >= 1 and page.value("X-Hestia-Error-Source") == "service"
    assert eventually(lambda: gateway.get("/services/f/ui").code == "service_backing_off", "clients of the API get JSON")


def test_browser_meets_the_fallback_of_a_service_that_fails(hestia, fake, backend):
    gateway = hestia(one(fake("--exit", 3).config(fallback_url=backend.url)))
    eventually(lambda: gateway.get("/services/f/ui", HTML).body == b"ok", "the fallback answers")


@pytest.mark.parametrize("fields, method, config", [
    ([("Accept", "application/json")], "GET", {}),
    ([("Accept", "*/*")], "GET", {}),
    ([], "GET", {}),
    ([*HTML, ("Sec-Fetch-Mode", "cors")], "GET", {}),
    (HTML, "POST", {}),
    (HTML, "GET", {"waiting_page": False}),
])
def test_others_are_held(hestia, fake, fields, method, config):
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config(**config)))
    with gateway.connect() as connection:
        queue(gateway, connection, "/services/f/x", 1, method=method, fields=fields)
        service.allow("ready")
        assert connection.read_response().status == 200


def test_navigation_gets_the_page(hestia, fake):
    gateway = hestia(one(fake("--ready-when", "never").config()))
    response = gateway.get("/services/f/", [*HTML, ("Sec-Fetch-Mode", "navigate")])
    assert response.status == 503 and response.value("Refresh") == "1"
    gateway.post("/v1/services/f/stop?force=1")


@pytest.mark.parametrize("method, path, fields", [
    ("GET", "/ping", []), ("GET", "/probe/deep", []), ("HEAD", "/x", []), ("GET", "/x", [("User-Agent", "Uptime-Kuma/1.0")]),
])
def test_monitors_do_not_wake(hestia, fake, method, path, fields):
    service = fake()
    gateway = hestia(one(service.config(wake_ignore={
        "paths": ["/ping", "/probe*"], "methods": ["HEAD"], "user_agents": ["uptime-kuma"]})))
    response = gateway.request(method, "/services/f" + path, fields)
    assert response.status == 503 and response.value("Retry-After")
    assert response.value("X-Hestia-Error-Source") == "service"
    if method != "HEAD":
        assert response.code == "service_cold"
    assert gateway.status("f")["state"] == "cold" and service.starts == 0
    gateway.start("f")
    assert gateway.request(method, "/services/f" + path, fields).status == 200


def test_monitor_while_starting_is_not_held(hestia, fake):
    service = fake("--ready-when", "ready")
    gateway = hestia(one(service.config(wake_ignore={"paths": ["/ping"]})))
    with gateway.connect() as connection:
        queue(gateway, connection, "/services/f/x", 1)
        assert gateway.get("/services/f/ping").status == 503
        service.allow("ready")
        assert connection.read_response().status == 200


# ---- adoption, retries, fallback, instances


@pytest.mark.threads
def test_running_service_is_adopted_and_never_killed(hestia, fake, backend, tmp_path):
    command = [sys.executable, "-c", f"open({str(tmp_path / 'was-started')!r}, 'w')"]
    gateway = hestia(one({"command": command, "base_url": backend.url, "health_url": backend.url + "/health"}))
    assert gateway.get("/services/f/x").body == b"ok"
    assert gateway.status("f")["state"] == "hot"
    assert gateway.post("/v1/services/f/stop").status == 202
    gateway.wait_state("f", "cold")
    assert not (tmp_path / "was-started").exists()
    assert backend.open


def test_a_service_that_never_answered_did_not_stop_to(hestia):
    gateway = hestia(one({"base_url": closed_url(), "warmup_ms": 1}))
    assert gateway.get("/services/f/").status == 503
    status = gateway.wait_status("f", "asked and found gone", lambda status: status["lastError"])
    assert status["lastError"].startswith("it does not answer: ")


def test_retry_count_is_the_number_of_attempts(hestia, backend):
    answers = iter([500, 502, 200])
    backend.handler = lambda peer, request: peer.respond(next(answers), b"x")
    gateway = hestia(one({"base_url": backend.url, "retry_count": 3, "retry_delay_ms": 10}))
    assert gateway.get("/services/f/").status == 200
    assert len(backend.requests) == 3
    gateway.wait_event("proxy_retry", count=2, service_id="f")


@pytest.mark.parametrize("rest", [{"retry_count": 2, "retry_delay_ms": 1}, {"fallback_url": True}], ids=["retry", "fallback"])
def test_failed_attempts_are_not_overhead(hestia, backend, rest):
    slow = 1.0

    def handler(peer, request):
        first = len(backend.requests) == 1
        if first:
            time.sleep(slow)
        peer.respond(500 if first else 200, b"x")

    backend.handler = handler
    gateway = hestia(one({"base_url": backend.url, **{key: backend.url if key == "fallback_url" else rest[key] for key in rest}}))
    assert gateway.get("/services/f/").status == 200 and len(backend.requests) == 2
    eventually(lambda: metric(gateway, "hestia_overhead_seconds_count", service="f") == 1, "it is counted")
    assert 0 < metric(gateway, "hestia_overhead_seconds_sum", service="f") < slow


def test_without_retry_count_a_5xx_passes(hestia, backend):
    backend.handler = lambda peer, request: peer.respond(500, b"theirs")
    gateway = hestia(one({"base_url": backend.url}))
    response = gateway.get("/services/f/")
    assert (response.status, response.body) == (500, b"theirs")
    assert len(backend.requests) == 1


@pytest.mark.parametrize("size, attempts", [(1000, 2), (60 << 10, 2), (200 << 10, 1)])
def test_post_is_retried_while_its_body_can_be_replayed(hestia, backend, size, attempts):
    backend.handler = lambda peer, request: peer.respond(500, b"x")
    gateway = hestia(one({"base_url": backend.url, "retry_count": 2}))
    assert gateway.post("/services/f/", b"x" * size).status == 500
    assert [len(request.body) for request in backend.requests] == [size] * attempts


def test_4xx_is_not_retried(hestia, backend):
    backend.handler = lambda peer, request: peer.respond(404, b"x")
    gateway = hestia(one({"base_url": backend.url, "retry_count": 3}))
    assert gateway.get("/services/f/").status == 404
    assert len(backend.requests) == 1


def test_nothing_is_retried_after_the_first_byte(hestia, backend):
    backend.handler = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    gateway = hestia(one({"base_url": backend.url, "retry_count": 3, "fallback_url": backend.url}))
    assert not gateway.get("/services/f/").complete
    assert len(backend.requests) == 1


def test_fallback_after_a_final_5xx(hestia, backend, backends):
    backup = backends(lambda peer, request: peer.respond(200, b"from the backup"))
    backend.handler = lambda peer, request: peer.respond(503, b"broken")
    gateway = hestia(one({"base_url": backend.url, "retry_count": 2, "fallback_url": backup.url + "/alt"}))
    response = gateway.post("/services/f/x?y", b"body")
    assert response.body == b"from the backup"
    assert len(backend.requests) == 2
    assert (backup.last.target, backup.last.body) == ("/alt/x?y", b"body")
    gateway.wait_event("proxy_fallback", service_id="f")


def test_fallback_when_the_primary_is_gone(hestia, backend, backends):
    backup = backends()
    gateway = hestia(one({"base_url": backend.url, "fallback_url": backup.url}))
    assert gateway.get("/services/f/").body == b"ok"
    assert backup.requests == []
    backend.close()
    assert gateway.get("/services/f/").body == b"ok"
    assert len(backup.requests) == 1
    backup.close()
    response = gateway.get("/services/f/")
    assert response.status == 503 and response.code == "upstream_unreachable"
    gateway.wait_event("proxy_terminal_error", service_id="f")


@pytest.mark.parametrize("health", [None, 500])
def test_external_service_that_is_down_falls_back_at_once(hestia, backend, backends, health):
    backup = backends(lambda peer, request: peer.respond(200, b"backup"))
    backend.on("/health", lambda peer, request: peer.respond(500))
    url = backend.url
    if health is None:
        backend.close()
    gateway = hestia(one({"base_url": url, "health_url": url + "/health", "fallback_url": backup.url}))
    assert gateway.get("/services/f/x").body == b"backup"
    assert backup.paths() == ["/x"]


def test_fallback_answer_is_final(hestia, backend, backends):
    backup = backends(lambda peer, request: peer.respond(500, b"also broken"))
    backend.handler = lambda peer, request: peer.respond(500, b"broken")
    gateway = hestia(one({"base_url": backend.url, "retry_count": 2, "fallback_url": backup.url}))
    assert gateway.get("/services/f/").body == b"also broken"
    assert len(backup.requests) == 1


def test_instances_by_weight(hestia, backends):
    named = [backends(lambda peer, request, name=name: peer.respond(200, name)) for name in (b"a", b"b", b"c")]
    gateway = hestia(one({"instances": [{"url": named[0].url, "weight": 3}, {"url": named[1].url, "weight": 2}, {"url": named[2].url}]},
                         workers=1))
    gateway.start("f")
    seen = b"".join(gateway.get("/services/f/").body for _ in range(12))
    assert (seen.count(b"a"), seen.count(b"b"), seen.count(b"c")) == (6, 4, 2)
    assert seen[:6].count(b"a") == 3, "smooth, not in blocks"
    assert b"aaa" not in seen


def test_equal_instances_take_turns(hestia, backends):
    named = [backends(lambda peer, request, name=name: peer.respond(200, name)) for name in (b"a", b"b", b"c")]
    gateway = hestia(one({"instances": [{"url": one_.url} for one_ in named]}, workers=1))
    gateway.start("f")
    seen = [gateway.get("/services/f/").body for _ in range(6)]
    assert seen == [b"a", b"b", b"c"] * 2


def test_dead_instance_is_left_out(hestia, backends):
    alive, dead = backends(), backends()
    gateway = hestia(one({"instances": [{"url": dead.url}, {"url": alive.url}], "retry_count": 2}))
    gateway.start("f")
    dead.close()
    for number in range(6):
        assert gateway.post(f"/services/f/{number}", b"body").body == b"ok"
    assert alive.paths() == [f"/{number}" for number in range(6)]


def test_readiness_asks_the_instances_and_not_base_url(hestia, backends):
    """One instance that answers is enough; base_url is what the instances stand in for."""
    dead, alive = backends(), backends()
    dead.close()
    gateway = hestia(one({"base_url": dead.url, "instances": [{"url": dead.url}, {"url": alive.url}], "retry_count": 2,
                          "retry_delay_ms": 1}))
    assert gateway.get("/services/f/x").body == b"ok"


def test_instance_that_does_not_answer_at_all_hides_no_other(hestia, backend):
    with deaf_listener() as port:
        gateway = hestia(one({"instances": [{"url": f"http://127.0.0.1:{port}"}, {"url": backend.url}]}))
        gateway.start("f")


def test_max_concurrent(hestia, backend):
    gate, lock, now, most = threading.Event(), threading.Lock(), [0], [0]

    def answer(peer, request):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        opened(gate)
        with lock:
            now[0] -= 1
        peer.respond(200, b"ok")

    gateway = hestia(one({"base_url": backend.url, "max_concurrent": 3}))
    gateway.start("f")
    backend.handler = answer
    together = Together()
    for number in range(10):
        together.call(gateway.get, f"/services/f/{number}")
    gateway.wait_status("f", "seven wait", lambda status: (status["inFlight"], status["queuePending"]) == (3, 7))
    gate.set()
    assert [response.status for response in together.join()] == [200] * 10
    assert most[0] == 3


# ---- processes


def test_port_is_given_whatever_the_environment_says(hestia, fake):
    service = fake()
    config = service.config(env={"LISTEN_AT": "127.0.0.1:${PORT}", "OWN": "value"})
    gateway = hestia(one(config), env={"PORT": "1"})
    environment = gateway.get("/services/f/env").json
    port = service.lines("listening")[0]
    assert environment["PORT"] == port != "1"
    assert environment["LISTEN_AT"] == f"127.0.0.1:{port}" and environment["OWN"] == "value"
    assert gateway.get("/services/f/arguments").json[2] == port


def test_environment_of_a_child_is_a_list_of_allowed_names(hestia, fake):
    given = {"SECRET_TOKEN": "canary", "HESTIA_CONFIG_PATH": None, "AWS_SECRET_ACCESS_KEY": "canary", "CUDA_VISIBLE_DEVICES": "0",
             "HF_HOME": "/models", "WANTED": "yes", "LD_LIBRARY_PATH": "/lib/x", "TMPDIR": "/tmp"}
    gateway = hestia(one(fake().config(env_inherit=["WANTED", "ABSENT"])), env=given)
    environment = gateway.get("/services/f/env").json
    assert environment["CUDA_VISIBLE_DEVICES"] == "0" and environment["HF_HOME"] == "/models"
    assert environment["WANTED"] == "yes" and environment["LD_LIBRARY_PATH"].startswith("/lib/x")
    assert "canary" not in json.dumps(environment)
    # LC_CTYPE is Python's own doing.
    assert set(environment) - {"LC_CTYPE"} == {
        "PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HF_HOME", "WANTED", "PORT"}


def test_relative_paths_start_at_the_config(hestia, fake, tmp_path):
    (tmp_path / "below").mkdir()
    gateway = hestia(one(fake().config(workdir="below")))
    assert gateway.get("/services/f/cwd").text == str(tmp_path / "below")


def quoted(word):
    """As a command in one text wants it: a checkout may lie in a folder with any name."""
    return word if "${" in word else shlex.quote(word)


def test_command_as_text_has_no_shell(hestia, fake):
    service = fake()
    words = [*service.config()["command"], "--say", "$HOME;`x`|y"]
    text = " ".join(map(quoted, words))
    gateway = hestia(one(service.config(command=text)))
    assert gateway.get("/services/f/arguments").json[-1] == "$HOME;`x`|y"


def test_shell_on_demand(hestia, fake):
    service = fake()
    text = "exec " + " ".join(map(quoted, service.config()["command"])) + " --say \"$GREETING $((1+1))\""
    gateway = hestia(one(service.config(command=text, shell=True, env={"GREETING": "hello"})))
    assert gateway.get("/services/f/arguments").json[-1] == "hello 2"


def test_hestia_is_its_own_binary(hestia):
    gateway = hestia(one({"command": ["${HESTIA}", "mock-llm", "--listen", "127.0.0.1:${PORT}"],
                          "base_url": "http://127.0.0.1:${PORT}", "health_url": "http://127.0.0.1:${PORT}/health"}))
    assert "models" in gateway.get("/services/f/api/tags").json


def test_flood_of_output_is_bounded(hestia, fake):
    service = fake("--flood", 20 << 10)
    gateway = hestia(one(service.config()), env={"HESTIA_LOG_LEVEL": "WARNING"})
    assert gateway.get("/services/f/").status == 200
    kept = gateway.get("/v1/services/f/logs")
    assert kept.status == 200 and 0 < len(kept.body) <= 2 << 20


# ---- their output


def test_logs(hestia, fake):
    service = fake("--say", "first line", "--complain", "second line")
    gateway = hestia(one(service.config()))
    gateway.start("f")
    gateway.get("/services/f/say?third")
    eventually(lambda: "third" in gateway.get("/v1/services/f/logs").text, "the third line")
    response = gateway.get("/v1/services/f/logs")
    assert response.value("Content-Type").startswith("text/plain")
    lines = response.text.splitlines()
    assert any("first line" in line for line in lines) and any("second line" in line for line in lines)
    tail = gateway.get("/v1/services/f/logs?tail=1").text.splitlines()
    assert len(tail) == 1 and "third" in tail[0]
    assert "third" in gateway.get("/v1/services/f/logs?tail=1000").text
    assert gateway.get("/v1/services/f/logs?tail=x").status in (400, 422)
    assert gateway.get("/v1/services/nobody/logs").status == 404
    assert any("first line" in json.dumps(event) for event in gateway.events), "in Hestia's own log, too"


@pytest.mark.threads
def test_logs_follow(hestia, fake):
    service = fake("--say", "first line")
    gateway = hestia(one(service.config()))
    gateway.start("f")
    with gateway.connect() as connection:
        connection.request("GET", "/v1/services/f/logs?follow=1")
        head = connection.read_head()
        assert head.status == 200 and head.value("Content-Type").startswith("text/event-stream")

        def next_event():
            while True:
                line = connection.read_until(b"\n")
                if line.startswith(b"data:"):
                    return json.loads(line[5:])

        first = next_event()
        assert set(first) == {"offset", "timestamp", "line"} and first["line"] == "first line"
        assert first["timestamp"].endswith("Z")
        gateway.get("/services/f/say?later")
        event = next_event()
        assert event["line"] == "later" and event["offset"] > first["offset"]


def test_logs_outlive_the_process(hestia, fake):
    service = fake("--say", "last words", "--exit", 1)
    gateway = hestia(one(service.config()))
    gateway.get("/services/f/")
    assert "last words" in gateway.get("/v1/services/f/logs").text
