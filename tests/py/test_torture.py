"""Two sides that misbehave at random at the same time, for a while: whatever happened, nothing stays behind, and no
client ever takes a truncated answer for a whole one. HESTIA_SEED chooses another sequence."""

import functools
import hashlib
import json
import os
import random
import re
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest

from backend import answer_ok
from gateway import SCALE
from waiting import DEADLINE, eventually
from wire import Closed, Connection

SEED = int(os.environ.get("HESTIA_SEED", "20250909"))
CLIENTS = 8
LEAST = 15  # seconds after which the clients of a half begin nothing new, however much is left

pause = threading.Event().wait


def pattern(seed, size):
    """Bytes of which no prefix is like another's whole."""
    block = hashlib.sha256(str(seed).encode()).digest()
    return (block * (size // 32 + 1))[:size]


def pieces(rng, data, most=9000):
    """The data cut at random."""
    at = 0
    while at < len(data):
        n = rng.choice([1, 2, 7, 100, 1460, rng.randint(1, most)])
        yield data[at:at + n]
        at += n


def chunked(rng, data):
    out = b""
    for piece in pieces(rng, data, 70000):
        extension = b";a=b" if rng.random() < 0.1 else b""
        out += b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
    return out + b"0\r\n\r\n"


def size_of(rng):
    return rng.choice([0, 1, 100, 5000, 65536, rng.randint(1, 300_000)])


# ---- the upstream


class Chaos:
    """Answers /x/{seed} as the seed says; most answers are right."""

    def __init__(self):
        self.answers = {name[7:]: getattr(self, name) for name in dir(self) if name.startswith("answer_")}

    reads_body = True

    def __call__(self, peer, request):
        seed = request.target.partition("?")[0].rpartition("/")[2]
        rng = random.Random(f"{SEED} upstream {seed}")
        kind = rng.choice(["whole"] * 6 + sorted(self.answers))
        self.answers[kind](peer, request, rng, seed)

    def body(self, peer, request):
        received = b"".join(peer.body_parts(request))
        size, seed = int(request.value("X-Size") or 0), request.value("X-Seed") or ""
        assert received == pattern(seed, size), f"a body of {size} bytes came as {len(received)} others"

    def head(self, rng, seed, size, framing, more=b""):
        head = b"HTTP/1.1 200 OK\r\nX-Seed: %s\r\nX-Size: %d\r\n" % (seed.encode(), size) + more
        return head + {"length": b"Content-Length: %d\r\n\r\n" % size, "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
                       "close": b"Connection: close\r\n\r\n"}[framing]

    def message(self, request, rng, seed, framings=("length", "chunked", "close"), more=b""):
        framing, size = rng.choice(framings), size_of(rng)
        body = pattern(seed, size)
        head = self.head(rng, seed, size, framing, more)
        if request.method == "HEAD":
            return framing, head, b""
        return framing, head, chunked(rng, body) if framing == "chunked" else body

    def write(self, peer, rng, data):
        for piece in pieces(rng, data, 60000):
            peer.send(piece)
            if rng.random() < 0.005:
                pause(0.002)

    def end(self, peer, rng):
        (peer.reset if rng.random() < 0.5 else peer.close)()

    def answer_whole(self, peer, request, rng, seed):
        self.body(peer, request)
        framing, head, body = self.message(request, rng, seed)
        self.write(peer, rng, head + body) if rng.random() < 0.2 else peer.send(head + body)
        if framing == "close":
            peer.close()

    def answer_interim(self, peer, request, rng, seed):
        interim = rng.choice([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
                              b"HTTP/1.1 102 Processing\r\nContent-Length: 3\r\n\r\n"]) * rng.randint(1, 3)
        framing, head, body = self.message(request, rng, seed, ("length", "chunked"))
        cut = rng.randint(0, len(interim + head))
        peer.send((interim + head)[:cut])
        self.body(peer, request)
        peer.send((interim + head)[cut:] + body)

    def answer_early(self, peer, request, rng, seed):
        framing, head, body = self.message(request, rng, seed, ("length", "chunked"))
        peer.send(head + body)
        if rng.random() < 0.5:
            self.body(peer, request)
        else:
            self.end(peer, rng)

    def answer_nothing(self, peer, request, rng, seed):
        if rng.random() < 0.5:
            self.body(peer, request)
        self.end(peer, rng)

    def answer_half_a_head(self, peer, request, rng, seed):
        framing, head, body = self.message(request, rng, seed)
        peer.send(head[:rng.randint(1, len(head) - 1)])
        self.end(peer, rng)

    def answer_half_a_body(self, peer, request, rng, seed):
        size = rng.randint(2, 200_000)
        framing = rng.choice(["length", "chunked"])
        body = pattern(seed, size)
        body = chunked(rng, body)[:-5] if framing == "chunked" else body
        more = b"Content-Type: text/event-stream\r\n" if rng.random() < 0.3 else b""
        if request.method == "HEAD":
            body = b"x"
        peer.send(self.head(rng, seed, size, framing, more) + body[:rng.randint(0, len(body) - 1)])
        self.end(peer, rng)

    def answer_garbage(self, peer, request, rng, seed):
        peer.send(rng.choice([b"\x15\x03\x01\x00\x02\x02\x46", b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/1.1 200\r\nA b: c\r\n\r\n",
                              b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", rng.randbytes(300)]))
        self.end(peer, rng)

    def answer_broken_chunks(self, peer, request, rng, seed):
        peer.send(self.head(rng, seed, 100, "chunked") + b"5\r\nabcde\r\n" * rng.randint(0, 3) + b"5\r\nabcdeXX")
        self.end(peer, rng)

    def answer_too_much(self, peer, request, rng, seed):
        self.body(peer, request)
        framing, head, body = self.message(request, rng, seed, ("length", "chunked"))
        peer.send(head + body + b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nexcess!")

    def answer_without_body(self, peer, request, rng, seed):
        self.body(peer, request)
        peer.send(rng.choice([b"HTTP/1.1 204 None\r\n\r\n", b"HTTP/1.1 304 Same\r\nContent-Length: 70\r\n\r\n"]))

    def answer_500(self, peer, request, rng, seed):
        if rng.random() < 0.7:
            self.body(peer, request)
        peer.respond(500, b"sorry")
        if not request.complete:
            peer.close()

    def answer_hang(self, peer, request, rng, seed):
        if rng.random() < 0.5:
            peer.send(self.head(rng, seed, 100_000, "length") + pattern(seed, rng.randint(0, 1000)))
        if rng.random() < 0.4:
            peer.is_closed()
        else:
            pause(rng.random() * 0.05)
        self.end(peer, rng)


# ---- the clients


class Client(Connection):
    """Remembers how its connection ended."""

    clean_end = reset_seen = False

    def send(self, data):
        try:
            super().send(data)
        except OSError:
            self.reset_seen = True  # told once: reading then sees an end like any other
            raise

    def fill(self):
        try:
            super().fill()
        except Closed as closed:
            self.clean_end = str(closed) == "end of file" and not self.reset_seen
            raise


class Tortures:
    def __init__(self, gateway, services, tls=None):
        self.gateway, self.services, self.tls = gateway, services, tls
        self.lock = threading.Lock()
        self.seen = {}
        self.errors = []

    def note(self, what):
        with self.lock:
            self.seen[what] = self.seen.get(what, 0) + 1

    def connect(self, rng):
        client = Client(self.gateway.port, tls=self.tls)
        if rng.random() < 0.2:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        return client

    def check(self, client, response, method, seed):
        """What looks complete is complete."""
        complete = client.clean_end if response.until_close else response.complete
        self.note(f"{response.status} {'complete' if complete else 'cut'}")
        assert response.status in (200, 204, 304, 400, 404, 408, 413, 422, 500, 502, 503, 504), response
        if not complete or response.status != 200 or method == "HEAD" or not response.values("X-Size"):
            return
        assert response.value("X-Seed") == str(seed), f"the answer to another request: {response}"
        expected = pattern(seed, int(response.value("X-Size")))
        assert response.body == expected, (f"{len(response.body)} bytes for {len(expected)} look complete: "
                                           f"{response.version} {response.fields}")

    def message(self, rng, seed):
        service = rng.choice(self.services)
        method = rng.choice(["GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE"])
        version = "HTTP/1.0" if rng.random() < 0.1 else "HTTP/1.1"
        fields = [("Host", "t"), ("X-Seed", seed)]
        body = b""
        if method in ("POST", "PUT"):
            size = size_of(rng)
            body = pattern(seed, size)
            fields.append(("X-Size", size))
            if version == "HTTP/1.1" and rng.random() < 0.5:
                fields.append(("Transfer-Encoding", "chunked"))
                body = chunked(rng, body)
            else:
                fields.append(("Content-Length", size))
            if version == "HTTP/1.1" and rng.random() < 0.2:
                fields.append(("Expect", "100-continue"))
        head = f"{method} /services/{service}/x/{seed} {version}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields) + "\r\n"
        return method, version, head.encode(), body

    def leave(self, client, rng):
        how = rng.choice(["close", "reset"] + ([] if self.tls else ["half_close"]))
        getattr(client, how)()
        self.note(f"left: {how}")
        if how == "half_close":
            client.sock.settimeout(DEADLINE)
            try:
                while True:
                    client.read_some()
            except Closed:
                pass

    # ---- what a client does with a connection; true: it may be used again

    def do_exchange(self, client, rng, seed):
        method, version, head, body = self.message(rng, seed)
        try:
            if rng.random() < 0.5:
                client.send(head + body)
            else:
                for piece in pieces(rng, head + body, 100_000):
                    client.send(piece)
        except OSError:
            pass  # refused before its end: the answer may be there all the same
        response = client.read_response(method)
        self.check(client, response, method, seed)
        closes = (response.value("Connection") or "").lower() == "close"
        return response.complete and version == "HTTP/1.1" and not closes and not response.until_close

    def do_slow_read(self, client, rng, seed):
        method, version, head, body = self.message(rng, seed)
        client.send(head + body)
        pause(rng.random() * 0.1)
        response = client.read_response(method, sink=None)
        self.check(client, response, method, seed)
        return False

    def do_leave_while_sending(self, client, rng, seed):
        method, version, head, body = self.message(rng, seed)
        client.send((head + body)[:rng.randint(0, len(head + body))])
        if rng.random() < 0.5:
            pause(rng.random() * 0.01)
        self.leave(client, rng)

    def do_leave_while_reading(self, client, rng, seed):
        method, version, head, body = self.message(rng, seed)
        client.send(head + body)
        wanted = rng.choice([0, 1, 50, 1000, 100_000])
        client.sock.settimeout(0.2)
        try:
            while wanted > 0 and (data := client.sock.recv(wanted)):
                wanted -= len(data)
        except TimeoutError:
            pass  # that was all
        self.leave(client, rng)

    def do_pipeline(self, client, rng, seed):
        seeds = [f"{seed}.{i}" for i in range(rng.randint(2, 5))]
        service = rng.choice(self.services)
        heads = b"".join(f"GET /services/{service}/x/{one} HTTP/1.1\r\nHost: t\r\n\r\n".encode() for one in seeds)
        cut = rng.randint(1, len(heads))
        client.send(heads[:cut])
        pause(rng.random() * 0.01)
        client.send(heads[cut:])
        for one in seeds:
            response = client.read_response()
            self.check(client, response, "GET", one)
        return True

    def do_garbage(self, client, rng, seed):
        client.send(rng.choice([rng.randbytes(rng.randint(1, 500)), b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzzz",
                                b"\r\n" * 5, b"GET /" + b"a" * 40000]))
        if rng.random() < 0.5:
            client.half_close() if not self.tls else None
            while True:
                client.read_some()

    def do_broken_chunks(self, client, rng, seed):
        service = rng.choice(self.services)
        client.send(f"POST /services/{service}/x/{seed} HTTP/1.1\r\nHost: t\r\nX-Size: 1\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n5\r\nab".encode())
        pause(rng.random() * 0.01)
        client.send(b"cdeX\r\nGET /services/calm/smuggled HTTP/1.1\r\nHost: t\r\n\r\n")
        while True:
            client.read_some()

    def do_dispatch(self, client, rng, seed):
        body = json.dumps({"serviceId": rng.choice(self.services), "method": rng.choice(["GET", "PUT", "HEAD"]),
                           "path": f"/x/{seed}"}).encode()
        client.request("POST", "/v1/requests", [("Content-Type", "application/json")], body)
        if rng.random() < 0.3:
            self.leave(client, rng)
            return False
        response = client.read_response()
        assert response.status == 200 and response.complete, response
        inner = response.json
        assert {"status", "headers", "body"} <= set(inner), response
        return True

    def do_api(self, client, rng, seed):
        client.request("GET", rng.choice(["/v1/services", "/health", "/metrics", "/v1/services/calm/logs", "/nowhere"]))
        response = client.read_response()
        assert response.complete, response
        return True

    def run_client(self, number, count, until):
        rng = random.Random(f"{SEED} client {number}")
        actions = [self.do_exchange] * 12 + [self.do_leave_while_sending, self.do_leave_while_reading] * 3 + [
            self.do_pipeline, self.do_pipeline, self.do_slow_read, self.do_garbage, self.do_broken_chunks, self.do_dispatch,
            self.do_dispatch, self.do_api]
        client = None
        for i in range(count):
            if time.monotonic() > until:
                break
            action = rng.choice(actions)
            again = False
            try:
                client = client or self.connect(rng)
                self.note(action.__name__)
                again = action(client, rng, f"{number}-{i}")
            except (Closed, OSError, ssl.SSLError):
                self.note("closed")
            except BaseException as error:
                self.errors.append(f"{action.__name__} {number}-{i} (seed {SEED}): {type(error).__name__} {error}")
            if not again and client:
                client.close()
                client = None
        if client:
            client.close()

    def run(self, count, first):
        until = time.monotonic() + LEAST * SCALE
        threads = [threading.Thread(target=self.run_client, args=(first + n, count, until), daemon=True)
                   for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LEAST * SCALE + 60)
            assert not thread.is_alive(), "a client hangs"


# ---- what goes on meanwhile


class Meanwhile:
    """Calls `act(n)` again and again in a thread of its own."""

    def __init__(self, act, every):
        self.act, self.every, self.stop, self.error = act, every, threading.Event(), None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        n = 0
        while not self.stop.wait(self.every):
            try:
                self.act(n)
            except BaseException as error:
                self.error = error
                return
            n += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(60)
        if self.error:
            raise self.error


def descriptors(gateway):
    return len(list(Path(f"/proc/{gateway.process.pid}/fd").iterdir()))


def resident_mib(gateway):
    text = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) >> 10


def connections(get):
    return int(re.search(r"^hestia_(?:client_)?connections\{?[^ ]* (\d+)", get("/metrics").text, re.M)[1])


@pytest.mark.threads
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_torture(hestia, backends, fake, authority, tmp_path, secure):
    chaos = Chaos()
    plain, other = backends(chaos), backends(chaos)
    encrypted = backends(chaos, tls=authority.server_context("upstream"))
    calm = backends(answer_ok)
    process = fake()
    short = {"first_byte_timeout_seconds": 1, "request_timeout_seconds": 3}
    trust = {"tls": {"ca": str(authority.ca)}}
    services = {
        "one": {"base_url": plain.url, **short},
        "again": {"base_url": other.url, "retry_count": 3, "retry_delay_ms": 1, **short},
        "fall": {"base_url": plain.url, "fallback_url": other.url, **short},
        "many": {"instances": [{"url": plain.url}, {"url": other.url}], "retry_count": 2, "retry_delay_ms": 1, **short},
        "few": {"base_url": plain.url, "max_concurrent": 2, **short},
        "secret": {"base_url": encrypted.url, **trust, **short},
        "process": process.config(stop_timeout_ms=200, **short),
        "calm": {"base_url": calm.url},
    }
    config = {"server": {"workers": 2, "limits": {"body": 1 << 20}, "timeouts": {"stream_idle": "1s", "head": "3s"}},
              "services": services}
    client_tls = None
    if secure:
        certificate, key = authority.issue("gateway")
        config["server"]["tls"] = {"cert": str(certificate), "key": str(key)}
        client_tls = authority.client_context()
        client_tls.wrap_socket = functools.partial(client_tls.wrap_socket, suppress_ragged_eofs=False)
    gateway = hestia(config, {"HESTIA_LOG_LEVEL": "INFO",
                              "ASAN_OPTIONS": "halt_on_error=1:exitcode=99:detect_leaks=1:quarantine_size_mb=8:"
                                              "detect_stack_use_after_return=0"})

    def ask(method, target):
        with Connection(gateway.port, tls=client_tls) as connection:
            connection.request(method, target, body=b"" if method == "POST" else None)
            return connection.read_response(method)

    def get(target):
        return ask("GET", target)

    def statuses():
        return {one["serviceId"]: one for one in get("/v1/services").json["services"]}

    assert get("/services/calm/").body == b"ok"
    before = descriptors(gateway)
    tortures = Tortures(gateway, [name for name in services if name != "calm"], client_tls)

    def reload(n):
        services["again"]["retry_count"] = 2 + n % 2
        services["few"]["max_concurrent"] = 2 + n % 3
        if n % 3 == 0:
            services["one"]["env"] = {"ROUND": str(n)}  # a new service in its place
        gateway.reload(config)

    def life(n):
        action = ["start", "stop?force=1", "start", "stop"][n % 4]
        ask("POST", f"/v1/services/{['process', 'one', 'many'][n % 3]}/{action}")

    count = 40 if secure else 90
    with Meanwhile(reload, 0.25), Meanwhile(life, 0.1):
        tortures.run(count, 0)
        eventually(lambda: connections(get) <= 1, "half-time: all connections have gone")
        half = resident_mib(gateway)
        tortures.run(count, CLIENTS)

    assert not tortures.errors, "\n".join(tortures.errors[:20])
    assert sum(tortures.seen.get(what, 0) for what in tortures.seen if what.startswith("do_")) >= 300, tortures.seen
    eventually(lambda: all(one["inFlight"] == 0 and one["queuePending"] == 0 for one in statuses().values()),
               "nothing is in flight, nobody waits")
    eventually(lambda: connections(get) <= 1, "all connections have gone")
    assert resident_mib(gateway) < half + 64, f"{half} MiB at half-time, {resident_mib(gateway)} now"
    if statuses()["process"]["state"] != "cold":
        ask("POST", "/v1/services/process/stop")
        eventually(lambda: statuses()["process"]["state"] == "cold", "the process has ended")
    for backend in (plain, other, encrypted):
        backend.close()
    eventually(lambda: descriptors(gateway) <= before + 1, f"its descriptors are closed: {before} before")
    assert get("/services/calm/").body == b"ok" and "/smuggled" not in calm.paths()
