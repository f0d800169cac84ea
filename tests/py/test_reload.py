"""Changes while it runs, and its end: reload without a dropped request, drain, signals (details.md 4, 11; http.md 5)."""

import os
import re
import shutil
import signal
import threading

import pytest

from backend import answer_websocket_echo
from fakes import Together
from gateway import has_ended
from waiting import eventually, opened
from wire import Closed


def two(backend, **more):
    return {"services": {"a": {"base_url": backend.url, **more}, "b": {"base_url": backend.url}}}


@pytest.mark.threads
@pytest.mark.parametrize("how", ["signal", "file"])
def test_reload(hestia, backend, backends, how):
    other = backends(lambda peer, request: peer.respond(200, b"other"))
    gateway = hestia(two(backend))
    assert gateway.get("/services/a/").body == b"ok"
    fresh = {"services": {"a": {"base_url": other.url}, "new": {"base_url": other.url}}}
    if how == "signal":
        gateway.reload(fresh)
    else:
        gateway.write_config(fresh)
    eventually(lambda: gateway.get("/services/new/").body == b"other", "the new service is there")
    gateway.wait_event("config_reloaded")  # with every worker
    assert gateway.get("/services/a/").body == b"other"
    assert gateway.get("/services/b/").status == 404


def test_file_written_in_place_is_noticed(hestia, backend):
    gateway = hestia('{"services": {}}')
    gateway.config_path.write_text('{"services": {"late": {"base_url": "%s"}}}' % backend.url)
    eventually(lambda: gateway.get("/services/late/").status == 200, "the new service is there")


def test_symbolic_link_that_is_turned_is_noticed(hestia, backend, tmp_path):
    """As Kubernetes mounts its config maps."""
    (tmp_path / "v1").mkdir()
    (tmp_path / "v2").mkdir()
    (tmp_path / "v1" / "c.yml").write_text("services: {}\n")
    (tmp_path / "v2" / "c.yml").write_text('{"services": {"late": {"base_url": "%s"}}}' % backend.url)
    os.symlink("v1", tmp_path / "now")
    gateway = hestia(arguments=("--listen", "127.0.0.1:0", "-c", tmp_path / "now" / "c.yml"))
    os.symlink("v2", tmp_path / "next")
    os.replace(tmp_path / "next", tmp_path / "now")
    eventually(lambda: gateway.get("/services/late/").status == 200, "the new service is there")


@pytest.mark.parametrize("bad", ["services: {a: {base_ur: x}}\n", "{{{", "server: {default_service: ghost}\n", "auth: {api_keys: [plain]}\n"])
def test_bad_edit_keeps_the_old_config_and_says_why(hestia, backend, bad):
    gateway = hestia(two(backend))
    gateway.reload(bad, result="failed")
    assert gateway.get("/services/a/").body == b"ok"
    assert gateway.reloads("failed")[-1]["level"] == "ERROR"
    assert gateway.wait_event("config_error", where=lambda where: "hestia_config.yml:" in where)["level"] == "ERROR"
    gateway.reload({"services": {"good": {"base_url": backend.url}}})
    assert gateway.get("/services/good/").body == b"ok"


@pytest.mark.parametrize("broken", [
    {"server": {"tls": {"cert": "nowhere.pem", "key": "nowhere.pem"}}},
    {"pricing": {"import": "nowhere.json"}},
    {"providers": [{"name": "p", "base_url": "https://127.0.0.1:1/v1", "api_key": "k", "tls": {"ca": "nowhere.pem"}}]},
], ids=["certificate", "prices", "authority"])
def test_what_fails_only_when_it_is_put_to_use_changes_nothing_either(hestia, fake, broken):
    """The service that the same edit changes goes on as it was: same process, same settings, still the one that is asked."""
    service = fake()
    providers = [{"name": "old", "base_url": "http://127.0.0.1:1/v1", "api_key": "k", "models": ["m"]}]
    gateway = hestia({"services": {"f": service.config()}, "providers": providers})
    gateway.start("f")
    gateway.reload({"services": {"f": service.config(env={"NEW": "1"})}, "providers": providers, **broken}, result="failed")
    assert gateway.status("f")["state"] == "hot"
    page = gateway.get("/services/f/env", [("Accept", "text/html")])
    assert page.status == 200 and "NEW" not in page.json
    assert service.starts == 1 and not has_ended(service.pids[0])


def test_a_reload_takes_a_renewed_certificate(hestia, authority, tmp_path):
    """Of the same file and of another; who is connected stays."""

    def config(name):
        return {"server": {"tls": {"cert": f"{name}.pem", "key": f"{name}.key"}}}

    def install(issued, name):
        for made, suffix in zip(authority.issue(issued), ("pem", "key")):
            shutil.copy(made, tmp_path / f"{name}.{suffix}")

    def shown():
        with gateway.connect(tls=authority.client_context()) as connection:
            return dict(part[0] for part in connection.sock.getpeercert()["subject"])["commonName"]

    install("first", "used")
    gateway = hestia(config("used"))
    assert shown() == "first"
    with gateway.connect(tls=authority.client_context()) as old:
        install("renewed", "used")
        gateway.reload(config("used"))
        assert shown() == "renewed"
        install("another", "other")
        gateway.reload(config("other"))
        assert shown() == "another"
        old.request("GET", "/health")
        assert old.read_response().status == 200
    assert not gateway.find_events("config_restart_needed")


def test_tls_by_a_reload(hestia, backend, authority):
    """The upstream hears of each connection what it is, whatever new ones are."""
    cert, key = authority.issue("late")
    services = {"services": {"s": {"base_url": backend.url}}}
    gateway = hestia(services)
    with gateway.connect() as plain:
        plain.request("GET", "/services/s/")
        assert plain.read_response().status == 200
        gateway.reload({**services, "server": {"tls": {"cert": str(cert), "key": str(key)}}})
        plain.request("GET", "/services/s/")
        assert plain.read_response().status == 200
    with gateway.connect(tls=authority.client_context()) as secure:
        secure.request("GET", "/services/s/")
        assert secure.read_response().status == 200
    assert [request.value("X-Forwarded-Proto") for request in backend.requests] == ["http", "http", "https"]


def test_reload_of_the_same_changes_nothing(hestia, fake):
    service = fake()
    config = {"services": {"f": service.config()}}
    gateway = hestia(config)
    gateway.start("f")
    gateway.reload({**config, "server": {"drain_seconds": 5}})
    assert gateway.status("f")["state"] == "hot" and service.starts == 1


@pytest.mark.threads
def test_only_what_changed_is_restarted(hestia, fake):
    same, changed, live = fake(), fake(), fake()
    services = {"same": same.config(), "changed": changed.config(), "live": live.config()}
    gateway = hestia({"services": services})
    for name in services:
        gateway.start(name)
    gateway.reload({"services": {**services, "changed": changed.config(env={"NEW": "1"}), "live": live.config(retry_count=4)}})
    eventually(lambda: has_ended(changed.pids[0]), "the old process of the changed one ended")
    assert gateway.get("/services/changed/env").json["NEW"] == "1"
    assert gateway.get("/services/same/").status == gateway.get("/services/live/").status == 200
    assert (same.starts, changed.starts, live.starts) == (1, 2, 1)


def test_removed_service_ends(hestia, fake):
    service = fake()
    gateway = hestia({"services": {"f": service.config()}})
    gateway.start("f")
    gateway.reload({"services": {}})
    eventually(lambda: has_ended(service.pids[0]), "its process ended")
    assert gateway.get("/services/f/").status == 404


def test_who_follows_the_log_of_a_removed_service_comes_to_its_end(hestia, fake):
    service = fake("--say", "first line")
    gateway = hestia({"services": {"f": service.config()}})
    gateway.start("f")
    with gateway.connect() as connection:
        connection.request("GET", "/v1/services/f/logs?follow=1")
        connection.read_until(b"data: ")
        gateway.reload({"services": {}})
        connection.read_until(b"\n0\r\n\r\n")


@pytest.mark.threads
def test_stream_survives_the_reload_of_its_service(hestia, fake):
    service = fake()
    gateway = hestia({"services": {"f": service.config()}})
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/stream")
        connection.read_until(b"data: 0\n\n")
        gateway.reload({"services": {"f": service.config(env={"NEW": "1"})}})
        assert not has_ended(service.pids[0])
        service.open_fifo("stream.fifo")
        connection.read_until(b"data: 2\n\n")
        connection.read_until(b"0\r\n\r\n")
    eventually(lambda: has_ended(service.pids[0]), "the old process ended after it")
    assert gateway.get("/services/f/env").json["NEW"] == "1"


def test_queue_survives_a_reload(hestia, fake):
    service = fake("--ready-when", "ready")
    config = service.config()
    gateway = hestia({"services": {"f": config}})
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/x")
        gateway.wait_status("f", "it waits", lambda status: status["queuePending"] == 1)
        gateway.reload({"services": {"f": config, "g": config}})
        service.allow("ready")
        assert connection.read_response().body == b"fake /x"
    assert service.starts == 1


@pytest.mark.threads
@pytest.mark.parametrize("reloads", [20, pytest.param(200, marks=pytest.mark.long)])
def test_no_request_fails_under_reloads(hestia, backend, reloads):
    gateway = hestia({**two(backend), "server": {"workers": 2}})
    over = threading.Event()
    counts = []

    def client(service):
        served, keep = 0, False
        while not over.is_set() or served == 0:
            if not keep:
                connection = gateway.connect()
            connection.request("POST", f"/services/{service}/x", body=b"y" * 1000)
            response = connection.read_response()
            assert response.status == 200 and response.body == b"ok", response
            served += 1
            keep = (response.value("Connection") or "").lower() != "close"
        connection.close()
        counts.append(served)

    together = Together()
    for number in range(4):
        together.call(client, "ab"[number % 2])
    try:
        for number in range(reloads):
            gateway.reload(two(backend, retry_count=1 + number % 2, queue_size=50 + number))
    finally:
        over.set()
    together.join()
    assert len(counts) == 4 and all(counts)


def test_reload_counts_in_the_metrics(hestia, backend):
    gateway = hestia(two(backend))
    gateway.reload(two(backend, retry_count=2))
    gateway.reload("nonsense: 1\n", result="failed")

    def told():  # the change of the file may be noticed besides the signal
        return [int(count) for count in re.findall(r'hestia_config_reloads_total{result="ok"} (\d+)', gateway.get("/metrics").text)]

    eventually(lambda: told() == [len(gateway.reloads())], "as many as were made")
    text = gateway.get("/metrics").text
    assert "hestia_config_last_reload_timestamp_seconds" in text


# ---- the end


@pytest.mark.threads
def test_drain_lets_open_requests_finish(hestia, backend):
    came, go = threading.Event(), threading.Event()

    def answer(peer, request):
        peer.begin_chunked()
        peer.chunk(b"begin ")
        came.set()
        opened(go)
        peer.chunk(b"end")
        peer.send(b"0\r\n\r\n")

    gateway = hestia({**two(backend), "server": {"drain_seconds": 60}})
    gateway.start("a")
    gateway.start("b")
    backend.handler = answer
    with gateway.connect() as busy, gateway.connect() as idle:
        idle.request("GET", "/health")
        assert idle.read_response().status == 200
        busy.request("GET", "/services/a/")
        opened(came)
        gateway.signal(signal.SIGTERM)
        eventually(lambda: gateway.get("/ready").status == 503, "not ready any more")
        assert idle.is_closed()
        assert gateway.get("/health").json == {"status": "ok"}
        refused = gateway.get("/services/b/")
        assert refused.status == 503 and refused.code == "draining"
        assert refused.value("Connection").lower() == "close" and refused.value("Retry-After")
        go.set()
        response = busy.read_response()
        assert response.complete and response.body == b"begin end"
    assert gateway.wait_exit() == 0
    gateway.wait_event("gateway_stop")


@pytest.mark.threads
def test_drain_deadline_cuts_but_never_cleanly(hestia, backend):
    def answer(peer, request):
        peer.begin_chunked([("Content-Type", "text/event-stream")])
        peer.chunk(b"data: begin\n\n")
        peer.is_closed()

    backend.handler = answer
    gateway = hestia({**two(backend), "server": {"drain_seconds": 1}})
    with gateway.connect() as connection:
        connection.request("GET", "/services/a/")
        connection.read_until(b"begin\n\n")
        gateway.signal(signal.SIGTERM)
        rest = b""
        try:
            while True:
                rest += connection.read_some()
        except Closed:
            pass
        assert b"0\r\n\r\n" not in rest
        assert b"event: error" in rest
    assert gateway.wait_exit() == 0


@pytest.mark.threads
def test_drain_says_goodbye_to_websockets(hestia, backend):
    backend.handler = answer_websocket_echo
    gateway = hestia({**two(backend), "server": {"drain_seconds": 2}})
    with gateway.connect() as connection:
        assert connection.upgrade("/services/a/ws").status == 101
        connection.send_frame(1, b"hello")
        assert connection.read_frame() == (1, b"hello")
        gateway.signal(signal.SIGTERM)
        opcode, payload = connection.read_frame()
        assert opcode == 8 and payload[:2] == (1001).to_bytes(2, "big")
    assert gateway.wait_exit() == 0


def test_drain_fails_the_queue(hestia, fake):
    service = fake("--ready-when", "never")
    gateway = hestia({"services": {"f": service.config()}})
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/")
        gateway.wait_status("f", "it waits", lambda status: status["queuePending"] == 1)
        gateway.signal(signal.SIGTERM)
        response = connection.read_response()
        assert response.status == 503 and response.code == "draining"
    assert gateway.wait_exit() == 0


@pytest.mark.threads
def test_children_end_with_it(hestia, fake):
    services = [fake("--grandchild") for _ in range(3)]
    gateway = hestia({"services": {f"f{number}": service.config(stop_timeout_ms=500) for number, service in enumerate(services)}})
    for number in range(3):
        gateway.start(f"f{number}")
    grandchildren = [int(service.wait_line("grandchild")) for service in services]
    gateway.stop()
    for pid in [*grandchildren, *(service.pids[0] for service in services)]:
        eventually(lambda pid=pid: has_ended(pid), f"{pid} ended")


@pytest.mark.threads
def test_second_sigterm_ends_at_once(hestia, backend, fake):
    service = fake("--ignore-term")
    backend.handler = lambda peer, request: (peer.begin_chunked(), peer.chunk(b"begin"), peer.is_closed())
    gateway = hestia({**two(backend), "server": {"drain_seconds": 600},
                      "services": {"a": {"base_url": backend.url}, "f": service.config(stop_timeout_ms=600000)}})
    gateway.start("f")
    with gateway.connect() as connection:
        connection.request("GET", "/services/a/")
        connection.read_until(b"begin")
        gateway.signal(signal.SIGTERM)
        eventually(lambda: gateway.get("/ready").status == 503, "it drains")
        gateway.signal(signal.SIGTERM)
        gateway.expected_exit = gateway.wait_exit()
        assert gateway.expected_exit in (0, 1), "not by a signal"
    eventually(lambda: has_ended(service.pids[0]), "its child ended")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_quiet_end(hestia, number):
    gateway = hestia({})
    gateway.signal(number)
    assert gateway.wait_exit() == 0
    gateway.wait_event("gateway_stop")


@pytest.mark.threads
def test_storm_of_signals(hestia, backend):
    gateway = hestia(two(backend))
    for number in [signal.SIGHUP, signal.SIGPIPE, signal.SIGWINCH, signal.SIGCHLD] * 25:
        gateway.signal(number)
    assert gateway.get("/services/a/").body == b"ok"


def test_sighup_during_drain_changes_nothing(hestia, backend):
    backend.handler = lambda peer, request: (peer.begin_chunked(), peer.chunk(b"begin"), peer.is_closed())
    gateway = hestia({**two(backend), "server": {"drain_seconds": 1}})
    with gateway.connect() as connection:
        connection.request("GET", "/services/a/")
        connection.read_until(b"begin")
        gateway.signal(signal.SIGTERM)
        gateway.signal(signal.SIGHUP)
        assert gateway.wait_exit() == 0


def test_stopped_process_resumes_well(hestia, fake):
    """SIGSTOP for a while, then SIGCONT: nothing fails, nothing is stopped that was in use."""
    service = fake()
    gateway = hestia({"services": {"f": service.config(idle_timeout_ms=60000)}})
    gateway.start("f")
    gateway.signal(signal.SIGSTOP)
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/x")
        gateway.signal(signal.SIGCONT)
        assert connection.read_response().status == 200
    assert gateway.status("f")["state"] == "hot"
