#!/usr/bin/env python3
"""Churn for minutes, then: is everything back where it was? tests/soak/soak.py [--minutes 10] [--binary build/hestia]

Rounds of churn (connects, cancels, streams, cold starts, crashes, reloads, clients made and deleted, providers that
fail, limits that refuse) with a quiet moment after each. What a quiet gateway holds must not depend on how many rounds
there were: descriptors, threads, connections, children as after the warm-up, memory without a slope, the journal
bounded. Prints the slopes, writes docs/results/soak.md (--no-report: does not), exits 1 when something grew."""

import argparse
import datetime
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "py"))

from backend import Backend, answer_ok  # noqa: E402
from books import Admin, client, limit  # noqa: E402
from fakes import Fake  # noqa: E402
from pool import CHAT, EMBEDDINGS, FIRST, SECOND, SSE, Stream, Upstream, answer, chat, fail, pool_config  # noqa: E402
from waiting import eventually  # noqa: E402
from wire import Closed, Connection  # noqa: E402

# The heap of a quiet gateway may rise this much per minute, by a line through its quiet moments (second half).
# Allocators keep odd pages, and the book of clients that are gone keeps a line for each (their revisions go on).
HEAP_KIB_PER_MINUTE = 512
HEAP_KIB_ANY_RUN = 6144  # a short run has no line worth its name: the last quiet moment against the first
JOURNAL_SEGMENT = 4 << 20
pause = threading.Event().wait


# ---- upstreams


def flaky(seed):
    """One in four requests goes wrong, each time otherwise."""
    rng, lock = random.Random(seed), threading.Lock()
    wrong = [fail(503), fail(500, "boom"), fail(429, fields=[("Retry-After", "1")]), fail(400, "too long", code="context_length_exceeded"),
             lambda peer, request: peer.close(), lambda peer, request: peer.reset(), half_a_stream, half_a_head]

    def handler(peer, request):
        with lock:
            choice = rng.choice(wrong) if rng.random() < 0.25 else answer
        choice(peer, request)

    return handler


def half_a_stream(peer, request):
    peer.begin_chunked(SSE)
    peer.chunk(FIRST)
    peer.reset()


def half_a_head(peer, request):
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    peer.close()


def long_stream(peer, request):
    """Until the client leaves, or a while."""
    if b'"stream": true' not in request.body:
        return answer(peer, request)
    peer.begin_chunked(SSE)
    for _ in range(40):
        peer.chunk(SECOND)
        pause(0.01)
    peer.send(b"0\r\n\r\n")


# ---- churn: each act is one small thing that somebody does


class Churn:
    def __init__(self, gateway, config, plain):
        self.gateway, self.config, self.plain = gateway, config, plain
        self.lock, self.counts, self.errors = threading.Lock(), {}, []
        self.stop, self.turn = threading.Event(), 0
        self.reload_lock = threading.Lock()

    def note(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def key(self, name):
        return [("Authorization", f"Bearer key-of-{name}")]

    def expect(self, response, *statuses):
        self.note(f"status {response.status}")
        assert response.status in statuses, response
        return response

    def ask(self, connection, name, body, path=CHAT):
        connection.request("POST", path, [("Content-Type", "application/json"), *self.key(name)], json.dumps(body).encode())
        return connection.read_response("POST")

    def act_proxy(self, rng):
        with self.gateway.connect() as connection:
            for number in range(rng.randint(1, 30)):
                connection.request("GET", f"/services/plain/{number}")
                self.expect(connection.read_response(), 200)

    def act_upload(self, rng):
        with self.gateway.connect() as connection:
            connection.request("POST", "/services/plain/up", body=b"x" * rng.randint(0, 300_000))
            self.expect(connection.read_response("POST"), 200)

    def act_leave(self, rng):
        with self.gateway.connect() as connection:
            connection.send(b"POST /services/plain/ HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nabc"[:rng.randint(0, 80)])
            getattr(connection, rng.choice(["close", "reset", "half_close"]))()

    def act_complete(self, rng):
        with self.gateway.connect() as connection:
            for _ in range(rng.randint(1, 10)):
                self.expect(self.ask(connection, "ann", chat("m")), 200, 400, 429, 500, 502, 503)

    def act_embed(self, rng):
        with self.gateway.connect() as connection:
            self.expect(self.ask(connection, "ann", {"model": "m", "input": "x"}, EMBEDDINGS), 200, 400, 429, 500, 502, 503)

    def act_route(self, rng):
        with self.gateway.connect() as connection:
            self.expect(self.ask(connection, "ann", chat("hestia/auto", stream=rng.random() < 0.5)), 200, 400, 429, 500, 502, 503)

    def act_stream(self, rng):
        with Stream(self.gateway, chat(rng.choice(["m", "long"]), stream=True), self.key("ann")) as stream:
            if stream.head().status != 200:
                self.note(f"status {stream.head().status}")
                return
            events = rng.choice([0, 1, 3, 1000])  # cancelled after so many, or read whole
            for _ in range(events):
                if stream.next() is None:
                    break
            self.note("cancelled" if not stream.ended else "streamed")
            if not stream.ended and rng.random() < 0.5:
                stream.connection.reset()

    def act_limited(self, rng):
        with self.gateway.connect() as connection:
            for _ in range(5):
                self.expect(self.ask(connection, "poor", chat("m")), 200, 400, 429, 500, 502, 503)

    def act_stranger(self, rng):
        with self.gateway.connect() as connection:
            self.expect(self.ask(connection, "nobody", chat("m")), 401)

    def act_cold(self, rng):
        name = rng.choice(["one", "two"])
        with self.gateway.connect() as connection:
            connection.request("GET", f"/services/{name}/{rng.choice(['x', 'x', 'crash'])}")
            if rng.random() < 0.2:
                return  # leaves the queue
            self.expect(connection.read_response(), 200, 502, 503, 504)
        if rng.random() < 0.7:
            self.gateway.post(f"/v1/services/{name}/stop?force={rng.randint(0, 1)}")

    def act_read(self, rng):
        for target in ("/metrics", "/v1/metrics", "/v1/services", "/v1/providers", "/v1/models", "/openapi.json", "/health"):
            self.expect(self.gateway.request("GET", target, self.key("ann")), 200)

    def act_admin(self, rng):
        admin = Admin(self.gateway)
        with self.lock:
            self.turn += 1
            name = f"c{self.turn}"
        made = admin.create_client(name)
        with self.gateway.connect() as connection:
            connection.request("POST", CHAT, [("Content-Type", "application/json"), ("Authorization", f"Bearer {made['key']}")],
                               json.dumps(chat("m")).encode())
            self.expect(connection.read_response("POST"), 200, 400, 429, 500, 502, 503)
        if rng.random() < 0.5:
            self.expect(admin.call("POST", f"/clients/{made['id']}/rotate"), 200, 201)
        admin.requests()
        admin.usage()
        self.expect(admin.call("DELETE", f"/clients/{made['id']}"), 200, 204)

    def act_reload(self, rng):
        with self.reload_lock:
            config = json.loads(json.dumps(self.config))
            config["services"]["plain"]["retry_count"] = rng.randint(0, 3)
            if rng.random() < 0.5:
                config["services"]["more"] = {"base_url": self.plain.url}
                config["clients"].append(client("more"))
                config["strategies"].append({"id": "more", "rate_limits": [limit("requests", rng.randint(1, 9))]})
            if rng.random() < 0.3:
                config["providers"].pop()
            self.gateway.write_config("services: [" if rng.random() < 0.1 else config)
            self.gateway.signal(signal.SIGHUP)
            pause(0.2)

    ACTS = (["proxy"] * 4 + ["complete"] * 4 + ["stream"] * 5 + ["route"] * 3 + ["limited", "leave", "upload", "embed", "stranger", "cold",
                                                                                "cold", "read", "admin", "reload"])

    def run(self, seed):
        rng = random.Random(seed)
        while not self.stop.is_set():
            act = rng.choice(self.ACTS)
            try:
                getattr(self, f"act_{act}")(rng)
                self.note(act)
            except (Closed, OSError):
                self.note("closed")
            except BaseException as error:
                with self.lock:
                    self.errors.append(f"{act}: {type(error).__name__}: {str(error)[:500]}")
            pause(rng.random() * 0.03)

    def round(self, seconds, clients, number):
        self.stop.clear()
        threads = [threading.Thread(target=self.run, args=(f"{number} {n}",), daemon=True) for n in range(clients)]
        for thread in threads:
            thread.start()
        pause(seconds)
        self.stop.set()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"


# ---- what it holds


def descriptors(pid):
    """{sockets, journal, other}"""
    found = {"sockets": 0, "journal": 0, "other": 0}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        found["sockets" if target.startswith("socket:") else "journal" if ".seg" in target else "other"] += 1
    return found


def status_value(pid, key):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith(key + ":"):
            return int(line.split()[1])
    raise KeyError(key)


def descendants(pid):
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found, left = 0, [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += len(children)
        left += children
    return found


def metrics(gateway):
    sums = {}
    for line in gateway.get("/metrics").body.decode().splitlines():
        if line and line[0] != "#":
            name, _, value = line.partition(" # ")[0].rpartition(" ")
            name = name.partition("{")[0]
            sums[name] = sums.get(name, 0) + float(value)
    return sums


def sample(gateway):
    pid, numbers = gateway.process.pid, metrics(gateway)
    fds = descriptors(pid)
    for _ in range(5):  # our own connection ends a moment after we have closed it
        pause(0.01)
        fds = min(fds, descriptors(pid), key=lambda one: one["sockets"])
    return {"at": time.monotonic(), "fds": sum(fds.values()), **fds, "threads": status_value(pid, "Threads"), "rss": status_value(pid, "VmRSS"),
            "anonymous": status_value(pid, "RssAnon"), "connections": int(numbers["hestia_connections"]), "in_flight": int(numbers.get("hestia_inflight", 0) + numbers.get("hestia_provider_inflight", 0)),
            "queued": int(numbers.get("hestia_queue_depth", 0)), "pending": int(numbers.get("hestia_journal_pending", 0)),
            "journal_mib": int(numbers.get("hestia_journal_bytes", 0)) >> 20, "children": descendants(pid),
            "requests": int(numbers.get("hestia_requests_received_total", 0))}


def quiet(gateway, churn, backends, names):
    """The configuration as at first, services cold, upstream connections closed, everything settled. → a sample"""
    for name in names:
        gateway.post(f"/v1/services/{name}/stop?force=1")
    gateway.write_config(churn.config)
    gateway.signal(signal.SIGHUP)

    def settled():
        for name in names:
            if gateway.status(name)["state"] not in ("cold", "failed"):
                gateway.post(f"/v1/services/{name}/stop?force=1")
        for backend in backends:
            backend.drop_idle()
        now = sample(gateway)
        calm = (now["connections"] <= 1 and now["in_flight"] == 0 and now["queued"] == 0 and now["pending"] == 0
                and [one["serviceId"] for one in gateway.get("/v1/services").json["services"]].count("more") == 0)
        return calm and now

    eventually(settled, "it has settled", seconds=60)
    last = None
    for _ in range(100):  # sockets of what was closed last go a moment later
        now = settled()
        if now and last and all(now[key] == last[key] for key in ("sockets", "other", "threads", "children")):
            return now
        last = now
        pause(0.1)
    raise AssertionError(f"it does not settle: {last}")


class Quiet:
    """A Backend whose connections can be ended when nothing is under way."""

    def drop_idle(self):
        with self.changed:
            peers, self.peers = self.peers, []
        for peer in peers:
            try:
                peer.sock.shutdown(2)
            except OSError:
                pass


class QuietBackend(Quiet, Backend):
    def forget(self):
        del self.requests[:]


class QuietUpstream(Quiet, Upstream):
    def forget(self):
        del self.requests[:]


def slope(points):
    """Per minute, by least squares."""
    n = len(points)
    if n < 2:
        return 0.0
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return 60 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


# ---- the run


def begin(folder, binary):
    os.environ["HESTIA_BIN"] = str(binary)
    from gateway import Gateway

    plain = QuietBackend(answer_ok)
    a, b, c = QuietUpstream("a"), QuietUpstream("b", handler=flaky(1)), QuietUpstream("c", handler=long_stream, models=("m", "long"))
    fakes = []
    for name in ("one", "two"):
        (folder / name).mkdir()
        fakes.append(Fake(folder / name))
    auto = {"enabled": True, "prioritized_models": [["b", "m"], ["a", "m"]]}
    config = {**pool_config(a.provider(models=["m"]), b.provider(models=["m"]), c.provider(models=["m", "long"]), routing={"strategy": "round_robin"}),
              "server": {"workers": 2, "drain_seconds": 5},
              "storage": {"path": str(folder / "books" / "books.db")},
              "services": {"plain": {"base_url": plain.url},
                           **{name: fake.config(stop_timeout_ms=500, idle_timeout_ms=2000) for name, fake in zip(("one", "two"), fakes)}},
              "clients": [client("ann", strategy_id="s"), client("poor", strategy_id="poor")],
              "strategies": [{"id": "s", "auto_config": auto}, {"id": "poor", "rate_limits": [limit("requests", 20), limit("total_tokens", 10_000)]}]}
    gateway = Gateway(folder, config, {"HESTIA_LOG_LEVEL": "ERROR", "ASAN_OPTIONS": "halt_on_error=1:exitcode=99:detect_leaks=1:quarantine_size_mb=8:"
                                       "detect_stack_use_after_return=0"})
    return gateway, config, plain, [plain, a, b, c]


def churn_minutes(gateway, churn, backends, minutes, clients):
    """→ quiet samples, one per round, the first after the warm-up"""
    total = minutes * 60
    warm_up = max(8, min(60, total * 0.2))
    length = max(4, min(20, (total - warm_up) / 12))
    names = ["one", "two"]
    begun, number, found = time.monotonic(), 0, []
    churn.round(warm_up, clients, number)
    found.append(quiet(gateway, churn, backends, names))
    while time.monotonic() - begun < total:
        number += 1
        for backend in backends:
            backend.forget()
        churn.round(length, clients, number)
        found.append(quiet(gateway, churn, backends, names))
        now = found[-1]
        print(f"{time.monotonic() - begun:6.0f} s  {now['requests']:>8} requests  heap {now['anonymous']:>6} rss {now['rss']:>6} KiB  fds {now['fds']} threads {now['threads']} "
              f"children {now['children']} journal {now['journal_mib']} MiB", flush=True)
    return found


def judge(samples, sanitized, workers=2):
    """[(what, first, last, slope per minute, tolerance, verdict)]"""
    first, rows = samples[0], []
    for key in ("sockets", "other", "threads", "children", "connections", "in_flight", "queued"):
        same = all(one[key] == first[key] for one in samples)
        rows.append((key, first[key], samples[-1][key], slope([(one["at"], one[key]) for one in samples]), "equal at every quiet moment", same))
    # One segment in use and two ready for each worker, and one that is being stored.
    journal = max(one["journal_mib"] for one in samples)
    bound = workers * 4 * JOURNAL_SEGMENT >> 20
    rows.append(("journal_mib", first["journal_mib"], samples[-1]["journal_mib"], slope([(one["at"], one["journal_mib"]) for one in samples]),
                 f"never above {bound}", journal <= bound))
    rows.append(memory(samples, sanitized))
    first, last = samples[0]["rss"], samples[-1]["rss"]
    rows.append(("rss_kib", first, last, slope([(one["at"], one["rss"]) for one in samples]),
                 "with the journal's mapped files, which fill up to their bound; not judged", True))
    return rows


def memory(samples, sanitized):
    """The heap, as what is neither a file nor shared. It is warm when pools and caches have had their turn: the second half
    of the quiet moments has the slope that counts."""
    first, last = samples[0]["anonymous"], samples[-1]["anonymous"]
    late = samples[len(samples) // 2:]
    rise = slope([(one["at"], one["anonymous"]) for one in late])
    if sanitized:
        return ("heap_kib", first, last, rise, "not judged: the sanitizer keeps freed memory; it looks for leaks at the end", True)
    if (samples[-1]["at"] - samples[0]["at"]) / 60 < 4:
        return ("heap_kib", first, last, rise, f"at most {HEAP_KIB_ANY_RUN} more", last - first <= HEAP_KIB_ANY_RUN)
    return ("heap_kib", first, last, rise, f"slope of the second half at most {HEAP_KIB_PER_MINUTE}", rise <= HEAP_KIB_PER_MINUTE)


def machine():
    model = next((line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    system = next((line.partition("=")[2].strip().strip('"') for line in open("/etc/os-release") if line.startswith("PRETTY_NAME")), "")
    return f"{model}, {os.cpu_count()} processors, {system}, Linux {platform.release()}"


def page(options, rows, churn, samples, version):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    done = ", ".join(f"{name} {churn.counts[name]}" for name in sorted(churn.counts))
    minutes = (samples[-1]["at"] - samples[0]["at"]) / 60
    requests = samples[-1]["requests"] - samples[0]["requests"]
    return "\n".join([
        "# Soak", "", "Churn for minutes with a quiet moment after each round; made by `tests/soak/soak.py`. What a quiet gateway holds must not",
        "depend on how much has happened before.", "",
        f"- Date: {datetime.date.today()}", f"- Version: {version}, commit {commit or 'none'}", f"- Machine: {machine()}",
        f"- Command: `tests/soak/soak.py --minutes {options.minutes:g} --clients {options.clients}`",
        f"- Between the first quiet moment and the last: {minutes:.1f} minutes, {requests} requests, {len(samples) - 1} rounds", "",
        "| quantity | after the warm-up | at the end | slope per minute | tolerance | |", "|---|---:|---:|---:|---|---|",
        *(f"| {name} | {first} | {last} | {rise:+.2f} | {tolerance} | {'ok' if good else '**grew**'} |" for name, first, last, rise, tolerance, good in rows),
        "", f"What happened: {done}.", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--binary", type=Path, default=ROOT / "build" / "hestia")
    parser.add_argument("--no-report", action="store_true", help="leave docs/results/soak.md alone")
    options = parser.parse_args()
    binary = options.binary.resolve()
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    sanitized = b"__asan_init" in binary.read_bytes()
    with tempfile.TemporaryDirectory(prefix="hestia-soak-") as folder:
        gateway, config, plain, backends = begin(Path(folder), binary)
        try:
            gateway.listen
            churn = Churn(gateway, config, plain)
            samples = churn_minutes(gateway, churn, backends, options.minutes, options.clients)
            gateway.stop()
        finally:
            if gateway.process.poll() is None:
                gateway.process.kill()
                gateway.process.wait()
            if gateway.process.returncode != 0:
                print(gateway.stderr[-5000:])
        errors = churn.errors + [str(error) for backend in backends for error in backend.errors]
    rows = judge(samples, sanitized)
    text = page(options, rows, churn, samples, version)
    print(text)
    for error in errors[:20]:
        print(error)
    if not options.no_report:
        (ROOT / "docs" / "results").mkdir(exist_ok=True)
        (ROOT / "docs" / "results" / "soak.md").write_text(text)
    return 1 if errors or not all(row[-1] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
