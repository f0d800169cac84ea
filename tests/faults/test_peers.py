"""Sides that misbehave, stage by stage: upstreams that refuse, hang, reset and trickle; clients that send or read slower
than anybody should; signals at bad moments; services that are no help. Good clients notice nothing."""

import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from backend import answer_ok
from gateway import SANITIZER_REPORTS, SCALE, config_text, environment, find_binary
from pool import FIRST, SSE, Stream, ask, chat
from waiting import DEADLINE, eventually
from wire import Closed

pause = threading.Event().wait
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = HEAD + b"0123456789"

# ---- upstreams

STAGES = {  # what it sends before it fails
    "nothing": b"", "a_byte": b"H", "half_a_line": WHOLE[:12], "half_a_head": WHOLE[:40], "head_but_the_last": HEAD[:-1], "head": HEAD,
    "half_a_body": HEAD + b"01234", "body_but_one": WHOLE[:-1], "chunked_head": CHUNKED, "chunk_size": CHUNKED + b"a", "half_a_chunk":
    CHUNKED + b"a\r\n01234", "chunk": CHUNKED + b"a\r\n0123456789\r\n", "last_chunk": CHUNKED + b"a\r\n0123456789\r\n0\r\n",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
}


def failing(sent, how):
    def handler(peer, request):
        peer.send(sent)
        if how == "reset":
            peer.reset()
        elif how == "hang":
            peer.is_closed()
            peer.close()
        else:
            peer.close()

    return handler


@pytest.mark.parametrize("how", ["close", "reset", "hang"])
@pytest.mark.parametrize("stage", STAGES)
def test_upstream_fails_at_each_stage(hestia, backend, stage, how):
    """Before the first byte it is 502 or 504, afterwards the answer is cut; never does it look whole."""
    backend.handler = failing(STAGES[stage], how)
    gateway = hestia({"server": {"workers": 1, "timeouts": {"stream_idle": "1s"}},
                      "services": {"s": {"base_url": backend.url, "first_byte_timeout_seconds": 1, "request_timeout_seconds": 2}}})
    gateway.start("s")
    begun = time.monotonic()
    with gateway.connect() as connection:
        connection.request("POST", "/services/s/", body=b"x")
        try:
            response = connection.read_response("POST")
        except Closed:
            response = None
    assert time.monotonic() - begun < 10 * SCALE
    if response is not None and response.status == 200:
        assert not response.complete, response
    else:
        assert response is None or response.status in (502, 504), response
        assert response is not None or b"\r\n\r\n" in STAGES[stage], "an error before the first byte has an answer"
    assert gateway.status("s")["inFlight"] == 0
    backend.handler = answer_ok
    assert gateway.post("/services/s/", b"x").body == b"ok"


@pytest.mark.parametrize("how", ["close", "reset"])
def test_upstream_closes_as_the_next_request_comes(hestia, backend, how):
    """The race of every kept connection, two hundred times: a GET never fails, a POST never runs twice."""
    ran = []

    def answer(peer, request):
        ran.append(request.target)
        peer.respond(200, b"ok")
        if len(ran) % 3:
            (peer.reset if how == "reset" else peer.close)()

    backend.handler = answer
    gateway = hestia({"server": {"workers": 1}, "services": {"s": {"base_url": backend.url}}})
    gateway.start("s")
    posts = []
    with gateway.connect() as connection:
        for number in range(200):
            post = number % 4 == 3
            connection.request("POST" if post else "GET", f"/services/s/{number}", body=b"x" if post else None)
            status = connection.read_response().status
            assert status == 200 or (post and status == 502), f"{number}: {status}"
            posts += [number] if post else []
    for number in posts:
        assert ran.count(f"/{number}") <= 1, f"POST {number} ran {ran.count(f'/{number}')} times"


def test_upstream_that_trickles_its_head(hestia, backend):
    """One byte at a time is still an answer, as long as the whole comes in time."""

    def trickle(data, rest):
        def handler(peer, request):
            for byte in data:
                peer.send(bytes([byte]))
                pause(rest)

        return handler

    backend.handler = trickle(WHOLE, 0.002)
    gateway = hestia({"services": {"s": {"base_url": backend.url, "first_byte_timeout_seconds": 1, "request_timeout_seconds": 2},
                                   "patient": {"base_url": backend.url, "first_byte_timeout_seconds": 20}}})
    assert gateway.get("/services/patient/").body == b"0123456789"
    backend.handler = trickle(WHOLE, 0.2)
    with gateway.connect() as connection:
        connection.request("POST", "/services/s/", body=b"x")
        begun = time.monotonic()
        try:
            response = connection.read_response("POST")
            assert response.status in (502, 504) or not response.complete, "no byte resets the clock"
        except Closed:
            pass
        assert time.monotonic() - begun < 6 * SCALE


# ---- clients


@pytest.fixture
def crowded(hestia, backend):
    """A gateway with short deadlines, and a measure of how good clients fare: → the slowest of 200 requests."""
    gateway = hestia({"server": {"workers": 2, "timeouts": {"head": "2s", "keepalive": "5s", "stream_idle": "2s"}},
                      "services": {"s": {"base_url": backend.url}}}, env={"HESTIA_LOG_LEVEL": "WARNING"}, wait=True)
    gateway.start("s")

    def fares():
        times = []
        with gateway.connect() as connection:
            for _ in range(200):
                begun = time.monotonic()
                connection.request("GET", "/services/s/")
                assert connection.read_response().status == 200
                times.append(time.monotonic() - begun)
        return sorted(times)[197]

    return gateway, fares


def open_many(gateway, count, first):
    opened = []
    for _ in range(count):
        connection = gateway.connect()
        connection.send(first)
        opened.append(connection)
    return opened


def resident_kib(gateway):
    for line in open(f"/proc/{gateway.process.pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])


@pytest.mark.parametrize("first, drip", [
    pytest.param(b"GET /services/s/ HTTP/1.1\r\nHost: t\r\n", b"X-A: b\r\n", id="head"),
    pytest.param(b"GET /services/s/ HTTP/1.1\r\nHost: t\r\nX-Long: ", b"a", id="field"),
    pytest.param(b"GET /", b"a", id="target"),
    pytest.param(b"", b"\r\n", id="empty_lines"),
])
def test_slow_heads(crowded, first, drip):
    """Whoever drips is cut when the head's time is over, however steadily the drops come."""
    gateway, fares = crowded
    slow = open_many(gateway, 200, first)
    begun = time.monotonic()
    left, ends = list(slow), 0
    while left and time.monotonic() < begun + 15 * SCALE:
        for connection in list(left):
            try:
                connection.send(drip)
                connection.sock.settimeout(0.0001)
                if not connection.sock.recv(4096):
                    raise Closed("end")
                left.remove(connection)  # 408
                ends += 1
            except (BlockingIOError, TimeoutError, socket.timeout):
                pass
            except (Closed, OSError):
                left.remove(connection)
                ends += 1
        assert fares() < 0.5 * SCALE
    assert not left, f"{len(left)} still drip after {time.monotonic() - begun:.1f} s"
    for connection in slow:
        connection.close()


def test_slow_bodies(hestia, backend):
    """A body must come at a least rate; others are not held up by it."""
    gateway = hestia({"server": {"workers": 1, "timeouts": {"body_min_rate": 1000, "stream_idle": "1s"}},
                      "services": {"s": {"base_url": backend.url}}})
    gateway.start("s")
    slow = open_many(gateway, 50, b"POST /services/s/ HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n")
    left, begun = list(slow), time.monotonic()
    while left and time.monotonic() < begun + 60 * SCALE:
        for connection in list(left):
            try:
                connection.send(b"x")
                connection.sock.settimeout(0.0001)
                connection.sock.recv(4096)
                left.remove(connection)
            except (BlockingIOError, TimeoutError, socket.timeout):
                pass
            except OSError:
                left.remove(connection)
        assert gateway.get("/services/s/").status == 200
        pause(0.05)
    assert not left, f"{len(left)} still drip"
    for connection in slow:
        connection.close()
    eventually(lambda: gateway.status("s")["inFlight"] == 0, "all are forgotten")


def test_slow_readers(hestia, backend):
    """They cost no more memory than their buffers, and nobody else waits for them."""
    size = 4 << 20
    backend.on("/big", lambda peer, request: peer.respond(200, b"x" * size))
    gateway = hestia({"server": {"workers": 1}, "services": {"s": {"base_url": backend.url}}})
    gateway.start("s")
    assert gateway.get("/services/s/").status == 200
    before = resident_kib(gateway)
    slow = []
    for number in range(40):
        connection = gateway.connect()
        if number:
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.request("GET", "/services/s/big")
        slow.append(connection)
    eventually(lambda: gateway.status("s")["inFlight"] == 40, "all are under way")
    for _ in range(20):
        assert gateway.get("/services/s/").status == 200
    assert resident_kib(gateway) - before < 40 * 1024, f"{resident_kib(gateway) - before} KiB for 40 slow readers of {size >> 20} MiB"
    response = slow[0].read_response()
    assert response.complete and len(response.body) == size
    for connection in slow:
        connection.close()
    eventually(lambda: gateway.status("s")["inFlight"] == 0, "all are forgotten")


@pytest.mark.parametrize("streamed", [False, True])
def test_slow_reader_of_the_pool_is_cut_and_settled(hestia, pool, streamed):
    """Its provider's slot comes back when it leaves."""
    stop = threading.Event()

    def endless(peer, request):
        peer.begin_chunked(SSE)
        while not stop.is_set():
            peer.chunk(FIRST * 200)

    a = pool.upstream("a", handler=endless)
    gateway = pool.start(a.provider(max_concurrent=1))
    stream = Stream(gateway, chat(stream=True))
    stream.head()
    pause(0.2)  # until nothing fits any more
    stream.connection.reset()
    eventually(lambda: gateway.get("/v1/providers").json["providers"][0]["in_flight"] == 0, "its slot is free")
    stop.set()


# ---- half-close


@pytest.mark.parametrize("when", ["after_the_head", "after_the_request", "while_it_answers"])
def test_half_close_of_a_client(hestia, backend, when):
    """Its request is over or delivered, as abort_on_half_close says; the next client is served in any case."""
    go = threading.Event()

    def answer(peer, request):
        peer.begin_chunked()
        peer.chunk(b"one")
        go.wait(DEADLINE)
        peer.chunk(b"two")
        peer.send(b"0\r\n\r\n")

    backend.on("/x", answer)
    gateway = hestia({"server": {"abort_on_half_close": False}, "services": {"s": {"base_url": backend.url}}})
    gateway.start("s")
    with gateway.connect() as connection:
        if when == "after_the_head":
            connection.send(b"POST /services/s/x HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab")
            connection.half_close()
            with pytest.raises(Closed):
                while True:
                    connection.read_some()
        else:
            connection.request("GET", "/services/s/x")
            if when == "while_it_answers":
                connection.read_until(b"one")
            connection.half_close()
            go.set()
            rest = b""
            with pytest.raises(Closed):
                while True:
                    rest += connection.read_some()
            assert rest.endswith(b"0\r\n\r\n") and b"two" in rest, rest
    go.set()
    eventually(lambda: gateway.status("s")["inFlight"] == 0, "nothing is left")
    assert gateway.get("/services/s/").status == 200


# ---- signals


def begin(folder, config):
    folder.mkdir()
    (folder / "c.yml").write_text(config_text(config))
    return subprocess.Popen([find_binary(), "serve", "-c", folder / "c.yml", "--listen", f"unix:{folder}/socket"], cwd=folder,
                            env=environment(folder, {}), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(folder / "stderr", "wb"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signal_during_the_start(tmp_path, number):
    """At any moment: it ends by that signal before it can do better, cleanly afterwards; or it goes on (SIGHUP)."""
    config = {"services": {"s": {"base_url": "http://127.0.0.1:9"}}, "server": {"drain_seconds": 1}}
    for step in range(20):
        folder = tmp_path / f"{step}"
        process = begin(folder, config)
        pause(step * 0.012)
        process.send_signal(number)
        if number == signal.SIGHUP:
            pause(0.1)
            process.send_signal(signal.SIGTERM)
        code = process.wait(20 * SCALE)
        report = (folder / "stderr").read_text()
        assert code in (0, -number, -signal.SIGTERM), f"after {step * 12} ms: exit code {code}: {report}"
        for word in SANITIZER_REPORTS:
            assert word not in report, report
    folder = tmp_path / "started"
    process = begin(folder, config)
    eventually((folder / "socket").exists, "it has got as far as listening")
    process.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)
    assert process.wait(20 * SCALE) == 0, "cleanly after the start"


def test_sigterm_while_services_start(hestia, fake):
    services = [fake("--never-listen") for _ in range(5)]
    gateway = hestia({"services": {f"f{n}": one.config() for n, one in enumerate(services)}})
    waiting = [gateway.connect() for _ in services]
    for n, connection in enumerate(waiting):
        connection.request("GET", f"/services/f{n}/")
    for one in services:
        one.wait_starts(1)
    gateway.signal(signal.SIGTERM)
    for connection in waiting:
        assert connection.read_response().status == 503
        connection.close()
    assert gateway.wait_exit() == 0


def test_sighup_storm_under_requests(hestia, backend):
    """Reload after reload, good and bad: no request fails, and the last one that was good is in force."""
    config = {"server": {"workers": 2}, "services": {"s": {"base_url": backend.url}}}
    gateway = hestia(config)
    gateway.start("s")
    failures, stop = [], threading.Event()

    def client():
        with gateway.connect() as connection:
            while not stop.is_set():
                connection.request("GET", "/services/s/")
                if connection.read_response().status != 200:
                    failures.append(1)

    clients = [threading.Thread(target=client, daemon=True) for _ in range(4)]
    for one in clients:
        one.start()
    for n in range(60):
        config["services"][f"t{n % 5}"] = {"base_url": backend.url, "retry_count": n % 3}
        gateway.write_config("services: [" if n % 4 == 3 else config)
        gateway.signal(signal.SIGHUP)
    config["services"]["last"] = {"base_url": backend.url}
    gateway.reload(config)
    stop.set()
    for one in clients:
        one.join(DEADLINE)
    assert not failures and not any(one.is_alive() for one in clients)
    eventually(lambda: gateway.get("/v1/services/last/status").status == 200, "the last is in force")


# ---- services


@pytest.mark.parametrize("options, config", [
    pytest.param(["--ignore-term", "--escapee", "--grandchild", "--flood", "2000"], {"stop_timeout_ms": 300}, id="all_at_once"),
    pytest.param(["--never-listen", "--ignore-term", "--flood", "500"], {"stop_timeout_ms": 300, "start_timeout_seconds": 2}, id="deaf_and_stubborn"),
    pytest.param(["--exit", "0"], {}, id="gone_at_once"),
    pytest.param(["--exit", "1", "--flood", "500", "--escapee"], {}, id="gone_in_a_flood"),
])
def test_services_that_are_no_help(hestia, fake, backend, options, config):
    """Beside it another service is served as ever; at the end nothing of it is left (the fixture looks)."""
    service = fake(*options)
    gateway = hestia({"services": {"f": service.config(**config), "s": {"base_url": backend.url}}})
    gateway.start("s")
    with gateway.connect() as connection:
        connection.request("GET", "/services/f/x")
        for _ in range(50):
            assert gateway.get("/services/s/").status == 200
        response = connection.read_response()
    assert response.status in (200, 503, 504), response
    gateway.post("/v1/services/f/stop?force=1")
    eventually(lambda: gateway.status("f")["state"] in ("cold", "failed", "backing_off"), "it has ended")


# ---- the real thing


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("attack", [["-H"], ["-B"], ["-X", "-w", "1", "-y", "10", "-n", "5", "-z", "5"]], ids=["heads", "bodies", "readers"])
def test_slowhttptest(crowded, backend, attack):
    """4000 slow connections of Debian's slowhttptest for 20 s; good clients go on."""
    program = shutil.which("slowhttptest")
    assert program, "Debian's slowhttptest is not installed (tools/packages)"
    gateway, fares = crowded
    backend.handler = lambda peer, request: peer.respond(200, b"x" * 100_000)
    process = subprocess.Popen([program, *attack, "-c", "4000", "-r", "400", "-i", "1", "-l", "20", "-p", "2",
                                "-u", f"{gateway.url}/services/s/"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    worst = []
    while process.poll() is None:
        worst.append(fares())
    assert sorted(worst)[len(worst) // 2] < 1 * SCALE, worst
    eventually(lambda: gateway.status("s")["inFlight"] == 0, "all are forgotten", seconds=60)
